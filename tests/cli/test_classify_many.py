"""`videomae classify` on many files, with decoders that crash and hang, and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import hf_folder
from tests.videos import write_video

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")

# The command line with a reader that crashes and hangs where a name says so.
HOSTILE = """
import os, signal
from videomae_cli.cli.app import main
from videomae_cli.inference import prepare

def call(self, path, whole=prepare.Preparer.__call__):
    name = os.path.basename(path)
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    while "hang" in name:
        signal.pause()
    return whole(self, path)

prepare.Preparer.__call__ = call
main()
"""


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HOSTILE, "classify", "-f", "jsonl", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    # Without a buffer: `communicate` would not see what `readline` has read ahead.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, bufsize=0)


def many(folder: Path, *names: str) -> Path:
    """One video under many names."""
    first = write_video(folder.parent / "one.mp4", 4)
    folder.mkdir()
    for name in names:
        os.link(first, folder / f"{name}.mp4")
    return folder


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def records(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_11_12_a_crash_and_a_hang_cost_a_record_each(tmp_path: Path, checkpoint: Path) -> None:
    folder = many(tmp_path / "in", "1", "2-crash", "3", "4-hang", "5", "6")
    with start(folder, "-m", checkpoint, "-j", "2", "--decode-timeout", "1") as process:
        out, err = process.communicate(timeout=300)
    found = records(out)
    assert process.returncode == 1
    assert [Path(record["path"]).name for record in found] == sorted(os.listdir(folder))
    assert [record.get("kind") for record in found] == [None, "crashed", None, "timeout", None, None]
    assert b"SIGSEGV" in err
    assert b"4 classified, 2 failed" in err


def test_60_sigterm_does_not_wait_for_a_decoder_that_hangs(tmp_path: Path, checkpoint: Path) -> None:
    """What is known is written, though an earlier input has no record yet."""
    folder = many(tmp_path / "in", "1", "2-hang", "3", "4")
    with start(folder, "-m", checkpoint, "-j", "2", "--decode-timeout", "1000") as process:
        assert process.stdout
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, err = process.communicate(timeout=300)
    assert process.returncode == 143
    assert 1 <= len(records(first + rest)) <= 3
    assert b"of 4 inputs are left" in err


@pytest.mark.parametrize("options", [("--views", "20x3"), ("--window", "0.2", "--hop", "0.01")])
def test_60_sigterm_does_not_wait_for_a_forward_pass(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Sixty views in one pass, which take a quarter of a minute."""
    shape = {"image_size": 224, "num_frames": 16, "hidden_size": 96, "num_hidden_layers": 12}
    hf_folder(tmp_path / "slow", "VideoMAEForVideoClassification", **shape)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.mp4").write_text("no video")
    write_video(folder / "2.mp4", 30)
    with start(folder, "-m", tmp_path / "slow", "-b", "60", *options) as process:
        assert process.stdout
        first = process.stdout.readline()  # of the file that is no video: the model is there
        before = cpu_seconds(process.pid)
        while cpu_seconds(process.pid) < before + 2:  # others decode: this process only computes
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        rest, err = process.communicate(timeout=10)  # 5 are promised; this machine may be busy
    assert process.returncode == 143, err
    assert [record["status"] for record in records(first + rest)] == ["error"]
    assert b"1 of 2 inputs are left" in err


def test_59_a_second_sigint_stops_at_once(tmp_path: Path, checkpoint: Path) -> None:
    folder = many(tmp_path / "in", "1", "2-hang", "3")
    with start(folder, "-m", checkpoint, "-j", "1", "--decode-timeout", "1000") as process:
        assert process.stdout
        first = process.stdout.readline()
        ended = False
        while not ended:
            process.send_signal(signal.SIGINT)
            try:
                ended = process.wait(1.0) is not None
            except subprocess.TimeoutExpired:
                continue
        rest = process.stdout.read()
    assert process.returncode == 130
    assert [Path(record["path"]).name for record in records(first + rest)] == ["1.mp4"]


def test_59_sigint_finishes_what_is_begun(tmp_path: Path, checkpoint: Path) -> None:
    """The decoder that hangs gets its time; its record comes too."""
    folder = many(tmp_path / "in", "0", "00-hang", *(f"{k:03d}" for k in range(2, 500)))
    with start(folder, "-m", checkpoint, "-j", "2", "--decode-timeout", "3", "--unordered") as process:
        assert process.stdout
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=300)
    found = records(first + rest)
    assert process.returncode == 130
    assert [record["kind"] for record in found if record["status"] == "error"] == ["timeout"]
    assert 2 <= len(found) < 500
    assert f"{500 - len(found)} of 500 inputs are left".encode() in err
    assert b"Traceback" not in err
