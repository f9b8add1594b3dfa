"""Checkpoints and metrics on the disk: whole or not there, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.train.runs import reaper
from videomae_cli.errors import MachineError
from videomae_cli.train.checkpoint import Checkpoint, Checkpoints
from videomae_cli.train.metrics import MetricsLog

GROUPS = {"model": {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}, "optimizer": {}}
STATE = {"best": {"score": 0.5, "step": 7}, "nothing": None}


def save(store: Checkpoints, step: int, **state: object) -> Path:
    return store.save(step, GROUPS, {**STATE, **state})


def latest(store: Checkpoints) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole one, and what was said."""
    said: list[str] = []
    return store.latest(said.append), said


# ---- what is saved ---------------------------------------------------------------------------------------------------


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "checkpoints")
    assert latest(store) == (None, [])
    path = save(store, 12)
    found, said = latest(store)
    assert found is not None
    assert (found.path, found.step, said) == (path, 12, [])
    assert found.state == {**STATE, "step": 12}
    tensors = found.tensors("model")
    assert tensors.keys() == {"a", "b"}
    assert all(torch.equal(tensors[name], tensor) for name, tensor in GROUPS["model"].items())
    assert found.tensors("optimizer") == {}
    assert [found.has(name) for name in ("model", "optimizer", "average")] == [True, True, False]
    assert sorted(os.listdir(path)) == ["complete.json", "model.safetensors", "optimizer.safetensors", "state.json"]
    assert os.listdir(store.folder) == ["step-00000012"]


def test_the_newest_is_used(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    for step in (9, 100, 20):
        save(store, step)
    found, _ = latest(store)
    assert found is not None
    assert found.step == 100


def test_old_ones_are_removed(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    for step in (1, 2, 3, 4, 5, 9):
        save(store, step)
    (tmp_path / ".partial-0123").mkdir()
    (tmp_path / "notes.txt").touch()
    store.prune(5, keep=2, spared=store.path(2))  # 9 was damaged: the run went on from an earlier one
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "step-00000002", "step-00000004", "step-00000005"]
    store.prune(5, keep=2, spared=None)
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "step-00000004", "step-00000005"]


# ---- damage ----------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of the weights": lambda path: flip(path / "model.safetensors"),
    "a bit of the state": lambda path: flip(path / "state.json"),
    "cut short": lambda path: os.truncate(path / "optimizer.safetensors", 7),
    "a file is missing": lambda path: (path / "model.safetensors").unlink(),
    "no marker": lambda path: (path / "complete.json").unlink(),
    "an empty marker": lambda path: (path / "complete.json").write_bytes(b""),
    "a marker without sums": lambda path: (path / "complete.json").write_text("{}"),
    "a marker of another kind": lambda path: (path / "complete.json").write_text('{"sha256": ["model.safetensors"]}'),
    "nothing but the folder": lambda path: [file.unlink() for file in path.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_passed_over(damage: str, tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    save(store, 1)
    newest = save(store, 2)
    DAMAGES[damage](newest)
    found, said = latest(store)
    assert found is not None
    assert found.step == 1
    assert len(said) == 1
    assert str(newest) in said[0]
    save(store, 2)  # takes its place
    found, said = latest(store)
    assert found is not None
    assert (found.step, said) == (2, [])


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


def test_killed_at_every_access(tmp_path: Path) -> None:
    """While the third is written and the first removed: the second or the third is whole, every time."""
    store = Checkpoints(tmp_path / "checkpoints")
    steps: list[int] = []
    while True:
        for step in (1, 2):
            save(store, step)
        pid = os.fork()
        if pid == 0:
            sys.addaudithook(reaper(str(store.folder), len(steps) + 1))
            save(store, 3)
            store.prune(3, keep=2, spared=None)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        found, said = latest(store)
        assert found is not None
        assert said == []
        assert torch.equal(found.tensors("model")["a"], GROUPS["model"]["a"])
        if code == 0:
            break
        assert code == -signal.SIGKILL
        steps.append(found.step)
        store.prune(2, keep=2, spared=None)
        assert (
            sorted(os.listdir(store.folder)) == ["step-00000001", "step-00000002"][2 - len(os.listdir(store.folder)) :]
        )
    assert steps == sorted(steps)
    assert steps.count(2) > 20
    assert steps.count(3) > 3
    assert sorted(os.listdir(store.folder)) == ["step-00000002", "step-00000003"]


# ---- a full disk (case 30) -------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_those_from_before(tmp_path: Path) -> None:
    """A real one, where the test may mount it."""
    tmp_path.joinpath("disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(tmp_path / "disk")]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        store = Checkpoints(tmp_path / "disk")
        save(store, 1)
        with pytest.raises(MachineError, match=r"step-00000002.*No space left on device") as caught:
            store.save(2, {**GROUPS, "large": {"x": torch.zeros(100_000)}}, STATE)
        assert "--resume" in caught.value.hint
        assert os.listdir(store.folder) == ["step-00000001"]
        found, _ = latest(store)
        assert found is not None
        assert found.step == 1
        with pytest.raises(MachineError, match="No space left on device"):
            MetricsLog(store.folder / "metrics.jsonl").write({"step": 1, "name": "x" * 100_000})
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)


# ---- metrics.jsonl ---------------------------------------------------------------------------------------------------


def test_metrics_are_cut_where_a_run_goes_on(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.rows() == []
    for step in range(1, 6):
        log.write({"step": step, "loss": step / 4})
    with log.path.open("a") as file:
        file.write('{"step": 6, "lo')  # killed here
    assert [row["step"] for row in log.rows()] == [1, 2, 3, 4, 5]
    log.cut_after(3)
    log.write({"step": 4, "loss": 9.0})
    rows = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert rows == [{"step": step, "loss": step / 4} for step in (1, 2, 3)] + [{"step": 4, "loss": 9.0}]
    log.cut_after(0)
    assert log.rows() == []


def test_metrics_are_json_whatever_the_loss_is(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write({"step": 1, "loss": float("nan"), "gradient_norm": float("inf")})
    assert log.path.read_text() == '{"step": 1, "loss": null, "gradient_norm": null}\n'


def test_what_others_may_read(tmp_path: Path) -> None:
    """Checkpoints and metrics have the permissions that the umask gives."""
    before = os.umask(0o022)
    try:
        path = save(Checkpoints(tmp_path), 1)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o644}
