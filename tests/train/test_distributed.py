"""Several processes of one machine, as torchrun starts them, train to the weights of one process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import Ended
from tests.models import relative_error
from tests.motion import write_motions
from videomae_cli.cli.app import app
from videomae_cli.cli.boundary import run

SETTINGS = {
    "model.image_size": 32,
    "model.num_frames": 4,
    "model.hidden_size": 24,
    "model.num_hidden_layers": 2,
    "model.num_attention_heads": 3,
    "model.intermediate_size": 40,
    "data.num_workers": 0,
    "data.stride": 2,
    "optim.precision": "float32",
    "optim.batch_size": 8,
    "optim.micro_batch": 2,
    "optim.lr": 0.03,
    "optim.eps": 1e-6,  # a gradient that is all rounding error moves no weight by a whole step
    "optim.epochs": 3,
    "optim.warmup_epochs": 1,
    "optim.ema": 0.9,
    "optim.clip_grad": 1.0,
    "run.device": "cpu",
    "run.log_steps": 1,
}
FINETUNE = {"model.drop_path": 0.3, "model.head_dropout": 0.2, "data.validation_fraction": 0.2, "views": "1x1"}
PRETRAIN = {
    "model.decoder_hidden_size": 20,
    "model.decoder_num_hidden_layers": 1,
    "model.decoder_num_attention_heads": 2,
    "model.decoder_intermediate_size": 28,
    "mask.ratio": 0.5,
    "data.repeats": 2,
    "data.validation_fraction": 0,
    "optim.micro_batch": 1,
}
LAST = "checkpoints/step-00000006"
KILLED_ONCE = """
import os, signal, sys, torch
from videomae_cli.cli.app import main

class Killed(torch.optim.AdamW):
    steps = 0
    def step(self, *arguments):
        super().step(*arguments)
        Killed.steps += 1
        if Killed.steps == 4 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)

torch.optim.AdamW = Killed
main()
"""

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 videos of 4 classes."""
    return write_motions(tmp_path_factory.mktemp("motions"), range(5))


@pytest.fixture(scope="module")
def alone(motions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of them, fine-tuning."""
    folder = tmp_path_factory.mktemp("alone")
    assert run(app, command("finetune", motions, folder)) == 0
    return folder


def command(kind: str, data: Path, output: Path, **changes: object) -> list[str]:
    settings = {**SETTINGS, **(FINETUNE if kind == "finetune" else PRETRAIN), **changes}
    return [kind, "--data", str(data), "-o", str(output), *overrides(settings)]


def overrides(settings: dict[str, object]) -> Iterator[str]:
    for name, value in settings.items():
        yield from ("--set", f"{name}={value}")


def torchrun(*arguments: str, program: tuple[str, ...] = ("-m", "videomae_cli"), max_restarts: int = 0) -> Ended:
    """Two processes on this machine."""
    options = ["--standalone", "--nproc-per-node", "2", "--max-restarts", str(max_restarts)]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, *program, *arguments],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


def assert_same_run(found: Path, wanted: Path) -> None:
    """Equal weights, averages and moments at the end and equal metrics, but for rounding; the same files."""
    for name in (f"{LAST}/model", f"{LAST}/average", f"{LAST}/optimizer", "model"):
        ours, theirs = (load_file(folder / f"{name}.safetensors") for folder in (found, wanted))
        assert ours.keys() == theirs.keys()
        for key, tensor in theirs.items():
            assert relative_error(ours[key], tensor) < 1e-5, (name, key)
    for name in ("step", "lr", "loss", "gradient_norm"):
        assert column(found, name) == pytest.approx(column(wanted, name), rel=1e-5), name
    assert column(found, "step") == [1, 2, 3, 4, 5, 6]
    assert files(found) == files(wanted)


def column(folder: Path, name: str) -> list[float]:
    """Of the lines of metrics.jsonl about training."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if "loss" in row]


def files(folder: Path) -> list[Path]:
    """All but TensorBoard's, which have the time and the process in their names."""
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(path for path in found if path.parts[0] != "tensorboard")


def test_two_processes_fine_tune_to_the_weights_of_one(motions: Path, alone: Path, tmp_path: Path) -> None:
    """With dropped branches and mixed clips, which depend on the place of a micro-batch and on nothing else."""
    ended = torchrun(*command("finetune", motions, tmp_path))
    assert ended.code == 0, ended.err
    assert_same_run(tmp_path, alone)
    told = ("2 processes x 2 x 2", "step 6: loss", "the model is in")
    assert [ended.err.count(text) for text in told] == [1, 1, 1]
    assert ended.text.count("num_videos") == 1


def test_two_processes_pretrain_to_the_weights_of_one(videomae: Run, motions: Path, tmp_path: Path) -> None:
    """Two videos cannot be read, so there are micro-batches of nothing."""
    videos = sorted(motions.rglob("*.mp4"))[:14]
    broken = [tmp_path / f"broken{k}.mp4" for k in range(2)]
    for path in broken:
        path.write_bytes(b"not a video")
    (tmp_path / "videos.csv").write_text("".join(f"{path}\n" for path in [*videos, *broken]))
    one = videomae(*command("pretrain", tmp_path / "videos.csv", tmp_path / "one"))
    assert one.code == 0, one.err
    assert one.err.count("passed over") == 2
    two = torchrun(*command("pretrain", tmp_path / "videos.csv", tmp_path / "two"))
    assert two.code == 0, two.err
    assert_same_run(tmp_path / "two", tmp_path / "one")


def test_a_sharded_run_whose_process_is_killed_goes_on(
    videomae: Run, motions: Path, alone: Path, tmp_path: Path
) -> None:
    """FSDP2; torchrun starts both processes anew, and they go on from the last checkpoint, to the weights of one."""
    program, folder = tmp_path / "killed_once.py", tmp_path / "run"
    program.write_text(KILLED_ONCE)
    arguments = command("finetune", motions, folder, **{"run.sharding": "full"})
    ended = torchrun(*arguments, "--resume", program=(str(program),), max_restarts=1)
    assert ended.code == 0, ended.err
    assert "another process of this training ended" in ended.err
    assert "resumed at step 2 of 6" in ended.err
    assert_same_run(folder, alone)

    shutil.rmtree(folder / LAST)  # and one process goes on where two that shared the weights were
    last = videomae(*command("finetune", motions, folder, **{"run.sharding": "none"}), "--resume")
    assert "resumed at step 4 of 6" in last.err
    assert_same_run(folder, alone)
