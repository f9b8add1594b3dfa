"""What a file of records holds already, and who may write to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from videomae_cli.errors import MachineError, UsageError
from videomae_cli.inference.ledger import OutputLock, differences, file_mark, read_ledger

RUN = {"model": "a", "weights": "1", "views": "1x1", "stride": None, "strict": False, "shard": None, "num_inputs": 3}


def line(path: str, status: str = "ok", **more: object) -> bytes:
    return json.dumps({"path": path, "status": status, "file": None, "run": RUN, **more}).encode() + b"\n"


def test_the_records_that_are_left(tmp_path: Path) -> None:
    path, target = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(line("a") + line("b\udcff", "error") + line("c") + b'{"path": "torn')
    ledger = read_ledger(path)
    assert list(ledger.entries) == ["a", "b\udcff", "c"]
    assert (ledger.is_torn, ledger.run) == (True, RUN)
    ledger.write_without({"b\udcff"}, target)
    assert target.read_bytes() == line("a") + line("c")


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    ledger = read_ledger(tmp_path / "a.jsonl")
    assert (ledger.entries, ledger.run, ledger.is_torn) == ({}, None, False)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (line("a") + line("b") + line("a", "error"), "line 3 .* second record of 'a'"),
        (line("a") + line("b", run=RUN | {"views": "5x3"}), "line 2 .* another run .* views was 1x1, is 5x3"),
        (line("a") + line("b", run=None), "line 2 .* another run"),
    ],
)
def test_a_file_that_no_run_wrote(content: bytes, named: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(UsageError, match=named):
        read_ledger(tmp_path / "a.jsonl")


def test_a_run_that_went_on_with_more_inputs(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line("a") + line("b", run=RUN | {"num_inputs": 4, "model": "/elsewhere/a"}))
    ledger = read_ledger(tmp_path / "a.jsonl")
    assert ledger.run is not None
    assert ledger.run["num_inputs"] == 4


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"num_inputs": 9, "model": "b"}, []),
        ({"stride": 2}, ["stride was the default, is 2"]),
        ({"strict": True, "views": "5x3"}, ["views was 1x1, is 5x3", "strict was false, is true"]),
        ({"weights": "2", "model": "b"}, ["model was a (1), is b (2)"]),
        ({"window_seconds": 2.1}, ["window_seconds was the default, is 2.1"]),
        ({"shard": "1/2"}, ["shard was the default, is 1/2"]),
    ],
)
def test_differences(changed: dict[str, object], told: list[str]) -> None:
    assert differences(RUN, RUN | changed) == told
    assert (
        differences(RUN, RUN | changed, ignored=["stride", "strict", "views", "weights", "window_seconds", "shard"])
        == []
    )


def test_a_file_is_known_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    assert file_mark(str(path)) == {"size_bytes": 5, "mtime_ns": 1_700_000_000_123_456_789}
    for absent in (str(tmp_path), str(tmp_path / "nothing"), "zero\0byte"):
        assert file_mark(absent) is None


# A run that holds the lock, and a worker that it forked; both live until they are killed or told to end.
HOLDER = """
import os, sys
from pathlib import Path
from videomae_cli.inference.ledger import OutputLock
with OutputLock(Path(sys.argv[1])):
    if os.fork() == 0:
        sys.stdin.buffer.read()
        os._exit(0)
    print(os.getpid(), flush=True)
    sys.stdin.buffer.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Writes to tmp_path/out.csv, so it says."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out.csv")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_32_a_second_run_is_refused(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    output = tmp_path / "out.csv"
    for _ in range(2):
        with pytest.raises(MachineError, match=f"process {holder.pid} is writing to .*out.csv"), OutputLock(output):
            pass
    (tmp_path / "link.csv").symlink_to(output)
    with pytest.raises(MachineError, match="is writing to"), OutputLock(tmp_path / "link.csv"):
        pass


def test_33_the_lock_of_a_killed_run_is_taken_over(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    """Though a worker that it forked lives on."""
    holder.kill()
    holder.wait()
    assert (tmp_path / ".out.csv.lock").exists()
    with OutputLock(tmp_path / "out.csv") as lock:
        assert (tmp_path / ".out.csv.lock").read_text() == f"{os.getpid()}\n"
        assert not lock.warning
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_lock_is_warned_of(tmp_path: Path) -> None:
    """The name of the lock is longer than names may be, as an example of what can be in the way."""
    with OutputLock(tmp_path / f"{'x' * 245}.jsonl") as lock:
        assert "cannot be locked" in lock.warning
