"""Runs the command line and watches it from outside: records, memory, processes, and that it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EVERY_SECONDS = 0.2
GRACE_SECONDS = 3.0  # helpers of multiprocessing end when they notice that their parent is gone
VIDEOMAE = (sys.executable, "-m", "videomae_cli")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

Process = tuple[int, str]  # its number and the time it began at, so that a number used anew is not taken for it


@dataclass(frozen=True)
class Moment:
    """What was seen at one time.

    Attributes:
        seconds: since the start.
        num_records: lines in the output.
        parent_mib: resident memory of the command itself.
        tree_mib: proportional memory (shared pages counted once) of it and everything that it started.
        num_processes: how many these are.
    """

    seconds: float
    num_records: int
    parent_mib: float
    tree_mib: float
    num_processes: int


@dataclass
class Watched:
    """How a command went.

    Attributes:
        code: its exit code, negative for a signal; None when it overran its time and was killed.
        seconds: how long it took.
        said: what it said on stderr.
        moments: what was seen meanwhile.
        left: processes of the run that were there a while after its end; they are killed then.
    """

    code: int | None
    seconds: float
    said: str
    moments: list[Moment] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def watch(command: Iterable[str | Path], output: Path | None = None, *, limit_seconds: float) -> Watched:
    """Run a command in a session of its own until it ends or overruns its time.

    Args:
        command: what to run.
        output: the .jsonl file in which records appear; None when they are not to be counted.
        limit_seconds: after this it counts as hung, and is killed with all that it started.
    """
    with tempfile.TemporaryFile() as said:
        start = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        seen: set[Process] = set()
        moments: list[Moment] = []
        lines = _Lines(output)
        hung = False
        while process.poll() is None and not hung:
            tree = _tree(process.pid, seen)
            seconds = time.monotonic() - start
            if parent := _memory_mib(process.pid, "status", "VmRSS:"):  # 0: it is just ending
                whole = sum(_memory_mib(number, "smaps_rollup", "Pss:") for number, _ in tree)
                moments.append(Moment(seconds, lines.count(), parent, whole, len(tree)))
            hung = seconds > limit_seconds
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EVERY_SECONDS)
        if hung:
            _kill(_tree(process.pid, seen))
        code = process.wait()
        seconds = time.monotonic() - start
        left = [] if hung else _left(process.pid, seen)
        said.seek(0)
        text = said.read().decode(errors="replace")
    return Watched(None if hung else code, seconds, text, moments, left)


def _tree(leader: int, seen: set[Process]) -> list[Process]:
    """The living processes of the session, and of those seen before and their children, wherever they have gone.

    Adds what it finds to `seen`.
    """
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                state, parent, _, session, *rest = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                if state not in "ZX":
                    table[int(entry)] = (int(parent), int(session), rest[15])
    ours = {number for number, began in seen if number in table and table[number][2] == began}
    ours |= {number for number, (_, session, _) in table.items() if session == leader}
    while more := {number for number, (parent, _, _) in table.items() if parent in ours} - ours:
        ours |= more
    found = [(number, table[number][2]) for number in sorted(ours)]
    seen.update(found)
    return found


def _left(leader: int, seen: set[Process]) -> list[str]:
    """What is still there after a grace, by command line; it is killed."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (tree := _tree(leader, seen)) and time.monotonic() < deadline:
        time.sleep(0.05)
    names = []
    for number, _ in tree:
        with contextlib.suppress(OSError):
            names.append(f"{number}: {Path(f'/proc/{number}/cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
    _kill(tree)
    return names


def _kill(tree: list[Process]) -> None:
    for number, _ in tree:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _memory_mib(number: int, file: str, key: str) -> float:
    """A figure of /proc in MiB; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path("/proc", str(number), file).read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    return 0.0


class _Lines:
    """Counts the lines of a growing file, reading each byte once."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._place, self._number = path, 0, 0

    def count(self) -> int:
        with contextlib.suppress(OSError):
            if self._path:
                with self._path.open("rb") as file:
                    file.seek(self._place)
                    new = file.read()
                self._place += len(new)
                self._number += new.count(b"\n")
        return self._number


def read_records(output: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl file, strictly.

    Raises:
        ValueError: a line is not JSON, or the last one is torn.
    """
    data = output.read_bytes() if output.exists() else b""
    if data and not data.endswith(b"\n"):
        raise ValueError(f"{output}: the last line is torn: {data[-80:]!r}")
    return [json.loads(line) for line in data.splitlines()]


def verdict(figures: Mapping[str, object], broken: list[str]) -> int:
    """Prints a table of figures and the promises that are broken; returns the exit code."""
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:.3g}" if isinstance(value, float) else f"{name:<{width}}  {value}")
    for promise in broken:
        print(f"BROKEN: {promise}")
    print("broken" if broken else "all promises kept")
    return 1 if broken else 0
