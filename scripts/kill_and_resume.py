"""Kill runs of `videomae classify` with SIGKILL at random moments, resume each, and compare with a run left alone.

    python scripts/kill_and_resume.py FOLDER MODEL --kills 50 --seed 0

Moments are drawn from the time that the whole run takes, so that they fall into imports, loading and every record. The
records of each resumed run must be those of the undisturbed one, byte for byte and each once. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path


def classify(arguments: argparse.Namespace, output: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a run; its exit code is 0, or 1 where files of the folder are bad."""
    command = [sys.executable, "-m", "videomae_cli", "classify", arguments.folder, "-m", arguments.model]
    return subprocess.Popen([*command, "-o", str(output), "-q", *options], stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> int:
    """Wait for a run, and say what it said if it did not end well."""
    _, said = process.communicate()
    if process.returncode not in (0, 1):
        sys.exit(f"exit code {process.returncode}: {said.decode(errors='replace')}")
    return process.returncode


def kill_and_resume(arguments: argparse.Namespace, output: Path, seconds: float) -> int:
    """One run that is killed after `seconds` and resumed; returns the number of whole records at its death."""
    process = classify(arguments, output)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    num_survived = output.read_bytes().count(b"\n") if output.exists() else 0
    finish(classify(arguments, output, "--resume"))
    return num_survived


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of videos; some hundred short ones, so that a run takes some seconds")
    parser.add_argument("model", help="a small checkpoint")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.jsonl"
        start = time.monotonic()
        finish(classify(arguments, whole))
        duration_seconds = time.monotonic() - start
        wanted = sorted(whole.read_bytes().splitlines())
        num_equal, survived = 0, []
        for number in range(arguments.kills):
            output = Path(folder) / f"{number}.jsonl"
            moment_seconds = draw.uniform(0.3, 1) * duration_seconds  # the first third is imports
            survived.append(kill_and_resume(arguments, output, moment_seconds))
            equal = sorted(output.read_bytes().splitlines()) == wanted
            num_equal += equal
            if not equal:
                print(f"killed after {moment_seconds:.2f} s with {survived[-1]} records: the resumed run differs")
        left = [path.name for path in Path(folder).iterdir() if path.name.startswith(".")]
    inside = sum(0 < number < len(wanted) for number in survived)
    print(f"{len(wanted)} records, {duration_seconds:.1f} s undisturbed; seed {arguments.seed}")
    print(f"{num_equal} of {arguments.kills} killed and resumed runs equal the undisturbed one")
    print(
        f"{inside} were killed between two records, after {sorted(survived)} of them; left behind: {left or 'nothing'}"
    )
    sys.exit(0 if num_equal == arguments.kills and not left else 1)


if __name__ == "__main__":
    main()
