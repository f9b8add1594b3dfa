"""A run that is killed, stopped or damaged, and goes on: it ends as if nothing had happened, to the bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.train.runs import NUM_STEPS, Forks, Life, checkpoints, learnt, wait_for, weights

Command = tuple[str, ...]
NUM_KILLS = 28
LONG = ("--set", "optim.epochs=36", "--set", "run.validate_epochs=4")  # 72 steps: more than these kills let happen


# ---- killed (cases 61, 63) -------------------------------------------------------------------------------------------


def test_killed_at_any_moment(forks: Forks, finetune: Command, tmp_path: Path) -> None:
    """In turns at a random access to the folder of the run, and a random time after a checkpoint."""
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert forks.run(*finetune, *LONG, "-o", whole).code == 0
    rng = random.Random(0)
    num_half_written, steps = 0, set()
    for number in range(NUM_KILLS):
        if number % 4 == 3:
            moment = {"when": after_a_checkpoint(folder, rng.uniform(0, 0.03))}
        else:
            moment = {"die_at": rng.randint(1, 80)}
        life = forks.run(*finetune, *LONG, "-o", folder, "--resume", **moment)
        assert life.code == -signal.SIGKILL
        num_half_written += any((folder / "checkpoints").glob(".partial-*"))
        steps.update(path.name for path in checkpoints(folder))
    assert not (folder / "model.safetensors").exists()  # the last life has to end the training
    life = forks.run("finetune", "-o", folder, "--resume")
    assert life.code == 0, life.err
    assert num_half_written >= 5  # in the middle of a checkpoint
    assert len(steps) >= 8
    assert weights(folder) == weights(whole)
    assert learnt(folder) == learnt(whole)
    assert not list((folder / "checkpoints").glob(".partial-*"))


def after_a_checkpoint(folder: Path, seconds: float) -> Callable[[int], None]:
    """Kills so long after a new one is there."""

    def kill(pid: int) -> None:
        before = checkpoints(folder)
        wait_for(lambda: set(checkpoints(folder)) - set(before))
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)

    return kill


def test_killed_with_workers(finetune: Command, finished: Path, tmp_path: Path) -> None:
    """An interpreter of its own, whose workers end with it and let go of the folder."""
    command = [sys.executable, "-m", "videomae_cli", *finetune, "-o", str(tmp_path / "run"), "--resume"]
    with subprocess.Popen([*command, "--set", "data.num_workers=1"]) as process:
        wait_for(lambda: checkpoints(tmp_path / "run"))
        process.kill()
    assert subprocess.run(command, check=False).returncode == 0
    assert weights(tmp_path / "run") == weights(finished)


# ---- signals (case 62) -----------------------------------------------------------------------------------------------


def at_step(folder: Path, step: int, *signals: int, to: Callable[[int, int], None] = os.kill) -> Callable[[int], None]:
    """Sends signals when so many steps are done."""

    def send(pid: int) -> None:
        wait_for((folder / "checkpoints" / f"step-{step:08d}").exists)
        for number in signals:
            to(pid, number)

    return send


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint(
    number: int, code: int, forks: Forks, finetune: Command, finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    life = forks.run(*finetune, "-o", folder, when=at_step(folder, 3, number))
    assert life.code == code
    step = int(checkpoints(folder)[-1].name.removeprefix("step-"))
    assert 3 <= step < NUM_STEPS
    assert life.err.endswith(f"stopped at step {step}; go on with --resume\n")
    assert forks.run("finetune", "-o", folder, "--resume").code == 0
    assert weights(folder) == weights(finished)
    assert learnt(folder) == learnt(finished)


def test_a_second_signal_stops_at_once(forks: Forks, finetune: Command, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    life = forks.run(*finetune, "-o", folder, when=at_step(folder, 3, signal.SIGINT, signal.SIGTERM))
    assert life.code == 130
    assert "stopped at step" not in life.err
    assert "Traceback" not in life.err
    assert forks.run("finetune", "-o", folder, "--resume").code == 0
    assert weights(folder) == weights(finished)


def test_ctrl_c_reaches_the_workers_too(forks: Forks, finetune: Command, finished: Path, tmp_path: Path) -> None:
    """A terminal sends it to all processes of the command; they read on until the step is done."""
    folder, workers = tmp_path / "run", ("--set", "data.num_workers=1")
    life = forks.run(*finetune, *workers, "-o", folder, when=at_step(folder, 2, signal.SIGINT, to=os.killpg))
    assert life.code == 130
    assert "go on with --resume\n" in life.err
    assert "Traceback" not in life.err
    assert forks.run("finetune", "-o", folder, "--resume", "--set", "data.num_workers=0").code == 0
    assert weights(folder) == weights(finished)


PRETRAINING = """\
model: {image_size: 32, num_frames: 4, hidden_size: 24, num_hidden_layers: 1, num_attention_heads: 3,
        intermediate_size: 40, decoder_hidden_size: 24, decoder_num_hidden_layers: 1, decoder_num_attention_heads: 3,
        decoder_intermediate_size: 40}
data: {stride: 2, num_workers: 0}
mask: {ratio: 0.5}
optim: {lr: 0.1, batch_size: 4, micro_batch: 2, epochs: 3, warmup_epochs: 1}
run: {checkpoint_minutes: 0, log_steps: 1, device: cpu}
"""
OTHERS = {
    "float16": ("--set", "optim.precision=float16"),
    "linear probe": ("--set", "linear_probe=true"),
    "pretraining": (),
}


@pytest.mark.parametrize("way", OTHERS)
def test_other_ways_to_train_go_on_too(way: str, forks: Forks, finetune: Command, videos: Path, tmp_path: Path) -> None:
    command = (*finetune, *OTHERS[way])
    if way == "pretraining":
        (tmp_path / "recipe.yaml").write_text(PRETRAINING)
        command = ("pretrain", "-c", str(tmp_path / "recipe.yaml"), "--data", str(videos))
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert forks.run(*command, "-o", whole).code == 0
    assert forks.run(*command, "-o", folder, when=at_step(folder, 4, signal.SIGKILL)).code == -9
    assert forks.run(command[0], "-o", folder, "--resume").code == 0
    assert weights(folder) == weights(whole)
    assert learnt(folder) == learnt(whole)


def test_lines_of_several_steps_are_the_same(forks: Forks, finetune: Command, tmp_path: Path) -> None:
    """The mean loss of three steps, between the second and the third of which the run was stopped."""
    every_three = ("--set", "run.log_steps=3", "--set", "data.validation_fraction=0", "--set", "optim.batch_size=2")
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert forks.run(*finetune, *every_three, "-o", whole).code == 0
    assert forks.run(*finetune, *every_three, "-o", folder, when=at_step(folder, 4, signal.SIGTERM)).code == 143
    assert forks.run("finetune", "-o", folder, "--resume").code == 0
    assert learnt(folder) == learnt(whole)
    assert len(learnt(folder)) == 8  # 24 steps


# ---- damage (case 63) ------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The folder of a run that is done; its best checkpoint is not the newest."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_damaged_checkpoints_are_passed_over(forks: Forks, copy: Path, finished: Path) -> None:
    older, newest = checkpoints(copy)[-2:]
    (newest / "complete.json").unlink()
    os.truncate(older / "optimizer.safetensors", 100)
    life = forks.run("finetune", "-o", copy, "--resume")
    assert life.code == 0
    assert f"warning: checkpoint {newest} is not complete; it is passed over" in life.err
    assert f"warning: checkpoint {older} is damaged: optimizer.safetensors; it is passed over" in life.err
    assert weights(copy) == weights(finished)
    assert learnt(copy) == learnt(finished)
    assert [path.name for path in checkpoints(copy)] == [path.name for path in checkpoints(finished)]


def test_the_best_is_damaged(forks: Forks, copy: Path, finished: Path) -> None:
    (checkpoints(copy)[0] / "average.safetensors").unlink()
    life = forks.run("finetune", "-o", copy, "--resume")
    assert life.code == 0
    assert "the best weights so far are lost" in life.err
    last = load_file(checkpoints(finished)[-1] / "average.safetensors")
    assert torch.equal(load_file(copy / "model.safetensors")["classifier.weight"], last["classifier.weight"])


def test_nothing_whole_is_left(forks: Forks, copy: Path, finished: Path) -> None:
    """New checkpoints are of earlier steps than the damaged ones, and stay nevertheless."""
    for path in checkpoints(copy):
        (path / "state.json").write_text("{}")
    life = forks.run("finetune", "-o", copy, "--resume")
    assert life.code == 0
    assert life.err.count("it is passed over") == 3
    assert "training begins at step 0" in life.err
    assert weights(copy) == weights(finished)
    assert learnt(copy) == learnt(finished)


def test_a_run_that_is_done_may_go_on(forks: Forks, copy: Path, finished: Path) -> None:
    said = ("metrics.jsonl", "records.jsonl", "config.json", "preprocessor_config.json")
    life = forks.run("finetune", "-o", copy, "--resume")
    assert life.code == 0
    assert f"resumed at step {NUM_STEPS} of {NUM_STEPS}" in life.err
    assert weights(copy) == weights(finished)
    assert all((copy / name).read_bytes() == (finished / name).read_bytes() for name in said)


def test_checkpoints_were_removed_by_hand(forks: Forks, copy: Path, finished: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    life = forks.run("finetune", "-o", copy, "--resume")
    assert life.code == 0
    assert "training begins at step 0" in life.err
    assert weights(copy) == weights(finished)
    assert learnt(copy) == learnt(finished)  # not those of the former run too


# ---- something else (cases 28, 35) -----------------------------------------------------------------------------------


def test_a_folder_with_a_run_is_not_overwritten(forks: Forks, finetune: Command, copy: Path) -> None:
    life = forks.run(*finetune, "-o", copy)
    assert (life.code, life.err) == (
        2,
        f"error: {copy} holds a run already\nhint: Go on with it by --resume, or choose another -o.\n",
    )


def test_a_folder_with_a_model_is_not_overwritten(forks: Forks, finetune: Command, copy: Path, tmp_path: Path) -> None:
    """Neither the model of a run whose checkpoints were removed, nor one that came from elsewhere."""
    shutil.rmtree(copy / "checkpoints")
    assert forks.run(*finetune, "-o", copy).code == 2
    (copy / "config.yaml").unlink()
    for more in ((), ("--resume",)):
        life = forks.run(*finetune, "-o", copy, *more)
        assert (life.code, life.err) == (
            2,
            f"error: {copy} holds config.json, and no config.yaml\n"
            "hint: It is not the folder of a run: choose another with -o.\n",
        )


def test_another_configuration(forks: Forks, finetune: Command, copy: Path) -> None:
    config = (copy / "config.yaml").read_text()
    changes = ("--set", "optim.lr=1", "--set", "model.hidden_size=48", "--set", "run.log_steps=2")
    life = forks.run(*finetune, "-o", copy, "--resume", *changes)
    assert life.code == 2
    assert life.err == (
        f"error: the run in {copy} has another configuration:\n"
        "  model.hidden_size: 24 -> 48\n"
        "  optim.lr: 0.2 -> 1.0\n"
        "hint: Resume with its own: leave these out.\n"
    )
    assert (copy / "config.yaml").read_text() == config


def test_other_videos(forks: Forks, finetune: Command, videos: Path, tmp_path: Path) -> None:
    """Named alike, or held back for validation where they were not."""
    data = Path(shutil.copytree(videos, tmp_path / "videos"))
    folder = tmp_path / "run"
    assert forks.run(*finetune, "--data", data, "-o", folder).code == 0
    config = (folder / "config.yaml").read_text()
    for more in (("--validation", videos), ()):
        if not more:
            next(data.glob("left/*.mp4")).rename(data / "left" / "other.mp4")
        life = forks.run("finetune", "-o", folder, "--resume", *more)
        assert life.code == 2
        assert f"error: the run in {folder} was of other videos or labels\n" in life.err
        assert (folder / "config.yaml").read_text() == config


# ---- several processes (case 64) -------------------------------------------------------------------------------------


Both = Callable[..., list[Life]]


@pytest.fixture(scope="module")
def both(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Runs a command line in two processes that train together."""
    with Forks(tmp_path_factory.mktemp("second")) as others:
        yield partial(run_both, forks, others)


def run_both(forks: Forks, others: Forks, *arguments: str | Path, when: Callable[[int], object] = id) -> list[Life]:
    """`when` is given the second process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
    with ThreadPoolExecutor() as pool:
        first = pool.submit(forks.run, *arguments, env={**env, "RANK": "0", "LOCAL_RANK": "0"})
        second = pool.submit(others.run, *arguments, env={**env, "RANK": "1", "LOCAL_RANK": "1"}, when=when)
        return [first.result(), second.result()]


def test_another_number_of_processes(
    both: Both, forks: Forks, finetune: Command, finished: Path, tmp_path: Path
) -> None:
    """Two train, one of which gets a signal; one goes on; then two again, to the end."""
    folder = tmp_path / "run"
    lives = both(*finetune, "-o", folder, when=at_step(folder, 2, signal.SIGTERM))
    assert [life.code for life in lives] == [143, 143]
    assert forks.run("finetune", "-o", folder, "--resume", when=at_step(folder, 5, signal.SIGINT)).code == 130
    lives = both("finetune", "-o", folder, "--resume")
    assert [life.code for life in lives] == [0, 0], lives
    steps = [row[0] for row in learnt(folder)]
    assert steps == [row[0] for row in learnt(finished)]
    wanted = load_file(checkpoints(finished)[-1] / "model.safetensors")
    for name, tensor in load_file(checkpoints(folder)[-1] / "model.safetensors").items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-4, atol=1e-5)


def test_a_batch_that_does_not_divide(both: Both, finetune: Command, tmp_path: Path) -> None:
    lives = both(*finetune, "--set", "optim.micro_batch=4", "-o", tmp_path / "run")
    assert [life.code for life in lives] == [2, 2]
    assert "error: the 4 videos of a step do not divide into 4 at a time for 2 processes" in lives[0].err
