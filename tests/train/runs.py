"""Training runs of a tiny model through the command line, each in a process of its own.

The processes are forked from one that has imported torch: that takes milliseconds where a new interpreter takes
seconds. They are killed, signalled and end like any other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.videos import write_video

RECIPE = """\
views: 1x1
model: {image_size: 32, num_frames: 4, hidden_size: 24, num_hidden_layers: 2, num_attention_heads: 3,
        intermediate_size: 40, drop_path: 0.2, head_dropout: 0.1}
data: {stride: 2, repeats: 2, num_workers: 0, validation_fraction: 0.2}
augment: {rand_augment: null}
optim: {lr: 0.2, batch_size: 4, micro_batch: 2, epochs: 4, warmup_epochs: 1, ema: 0.9, clip_grad: 1.0}
run: {checkpoint_minutes: 0, log_steps: 1, device: cpu}
"""
NUM_STEPS = 8  # of the recipe: 10 of the 12 videos are trained on, 4 in a step, 4 times


def write_videos(folder: Path) -> Path:
    """Two classes of six videos."""
    for k in range(12):
        name = f"{'left' if k % 2 else 'right'}/{k:02d}.mp4"
        write_video(folder / name, 12, width=48, numbers=range(50 * k, 50 * k + 12))
    return folder


def weights(folder: Path) -> bytes:
    """The model that a run left, to the byte."""
    return (folder / "model.safetensors").read_bytes()


def learnt(folder: Path) -> list[tuple[float, ...]]:
    """What metrics.jsonl says of each step and each validation, but for times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("clips_per_second", "data_wait", "seconds_left")
    return [tuple(value for name, value in row.items() if name not in timed) for row in rows]


def checkpoints(folder: Path) -> list[Path]:
    """The folders of a run's checkpoints, oldest first."""
    return sorted((folder / "checkpoints").glob("step-*"))


def wait_for(is_so: Callable[[], object]) -> None:
    """Until it is so; a minute at most."""
    for _ in range(60_000):
        if is_so():
            return
        time.sleep(0.001)
    raise TimeoutError


@dataclass(frozen=True)
class Life:
    """How one process ended.

    Attributes:
        code: its exit code; -9 if it was killed.
        out: what it wrote to stdout.
        err: what it wrote to stderr.
    """

    code: int
    out: str
    err: str


class Forks:
    """Runs command lines, one after the other; a context manager.

    Args:
        folder: for what they write to stdout and stderr.
    """

    def __init__(self, folder: Path) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"

    def __enter__(self) -> Forks:
        command = [sys.executable, "-m", "tests.train.runs"]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self._server.communicate()  # it ends with its stdin

    def run(
        self,
        *arguments: str | Path,
        die_at: int | None = None,
        when: Callable[[int], object] = lambda pid: None,
        env: dict[str, str] | None = None,
    ) -> Life:
        """Run one command line to its end.

        Args:
            arguments: without the program's name.
            die_at: kill -9 at this access to a file of the folder of -o, counted from 1.
            when: is given the process' id, and does to it what it likes.
            env: variables to set.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        job = {"arguments": [str(argument) for argument in arguments], "die_at": die_at, "env": env or {}}
        self._server.stdin.write(json.dumps({**job, "streams": [str(self._out), str(self._err)]}) + "\n")
        pid = int(self._server.stdout.readline())
        when(pid)
        return Life(int(self._server.stdout.readline()), self._out.read_text(), self._err.read_text())


def _serve() -> None:
    import matplotlib.figure  # noqa: F401
    import torch._dynamo  # noqa: F401  (what an optimiser imports)

    import videomae_cli.train.run  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _live(json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _live(job: dict[str, Any]) -> None:
    from videomae_cli.cli.app import app
    from videomae_cli.cli.boundary import run

    os.setsid()  # a group of its own, as a shell gives it
    for number, name in enumerate([os.devnull, *job["streams"]]):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(job["env"])
    arguments = job["arguments"]
    if job["die_at"]:
        sys.addaudithook(reaper(arguments[arguments.index("-o") + 1], job["die_at"]))
    sys.exit(run(app, arguments))


def reaper(folder: str, countdown: int) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that kills its process at an access to a folder: an open, a renaming, a removal.

    Args:
        folder: with what is below it.
        countdown: 1 for the first access.
    """

    def hook(event: str, about: tuple[Any, ...]) -> None:
        nonlocal countdown
        if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir") and str(about[0]).startswith(folder):
            countdown -= 1
            if countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


if __name__ == "__main__":
    _serve()
