"""The command as a process: what a shell sees."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended
from tests.videos import write_video
from videomae_cli import __version__
from videomae_cli.video.container import DEFAULT_MAX_PIXELS

Run = Callable[..., Ended]


def test_version(videomae_process: Run) -> None:
    ended = videomae_process("--version")
    assert (ended.code, ended.text) == (0, f"videomae {__version__}\n")


def test_the_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("videomae")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "classify" in done.stdout


def test_help_names_every_option(videomae: Run) -> None:
    text = videomae("classify", "--help").text
    for option in (
        *("--files-from", "--model", "-m", "--top-k", "-k", "--views", "--stride", "--format", "-f", "--output", "-o"),
        *("--retry-failed", "--shard"),
        *("--resume", "--overwrite", "--device", "--dtype", "--attention", "--batch-size", "-b", "--workers", "-j"),
        *("--decode-timeout", "--unordered"),
        *("--offline", "--strict", "--max-pixels", "--allow-images", "--quiet", "-q", "--verbose", "-v", "--debug"),
    ):
        assert option in text
    assert str(DEFAULT_MAX_PIXELS) in text


def test_no_command_and_unknown_command(videomae: Run) -> None:
    assert videomae().code == 2
    ended = videomae("clasify")
    assert ended.code == 2
    assert "clasify" in ended.err


def test_help_into_a_closed_pipe_is_silent() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "videomae_cli", "classify", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def read_terminal(descriptor: int) -> str:
    """Everything that a process writes to a pseudo-terminal."""
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks).decode()


@pytest.mark.parametrize("no_color", [False, True])
def test_a_table_on_a_terminal(no_color: bool, tmp_path: Path, checkpoint: Path) -> None:
    """Two videos, so that the progress bar and the tables share the terminal."""
    write_video(tmp_path / "clip.mp4", 70)
    write_video(tmp_path / "other.mp4", 70)
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "100"} | ({"NO_COLOR": "1"} if no_color else {})
    command = [sys.executable, "-m", "videomae_cli", "classify", "clip.mp4", "other.mp4", "-m", str(checkpoint)]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=env, cwd=tmp_path)
    os.close(theirs)
    text = read_terminal(ours)
    os.close(ours)
    assert process.wait() == 0
    assert "clip.mp4" in text
    assert "other.mp4" in text
    assert "classifying" in text
    assert "2 classified, 0 failed" in text
    assert text.count("class ") == 10
    assert "━" in text
    assert ("\x1b[32m" in text) != no_color  # green bars


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_between_two_records(number: int, code: int, tmp_path: Path, checkpoint: Path) -> None:
    """The signal is sent when the first record has been seen; what is written is whole."""
    write_video(tmp_path / "0.mp4", 4)
    for k in range(1, 900):
        os.link(tmp_path / "0.mp4", tmp_path / f"{k}.mp4")
    command = [sys.executable, "-m", "videomae_cli", "classify", str(tmp_path), "-m", str(checkpoint), "-f", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        start = process.stdout.readline() + process.stdout.readline()
        process.send_signal(number)
        rest = process.stdout.read()
        said = process.stderr.read().decode()
    found = json.loads(start + rest)
    assert 1 <= len(found) < 900
    assert process.returncode == code
    assert f"{900 - len(found)} of 900 inputs are left" in said
    assert "Traceback" not in said


def test_debug_shows_the_traceback(tmp_path: Path, videomae_process: Run) -> None:
    video = write_video(tmp_path / "a.mp4", 4)
    plain = videomae_process("classify", video, "-m", tmp_path / "nothing-here")
    debug = videomae_process("classify", video, "-m", tmp_path / "nothing-here", "--debug")
    assert (plain.code, debug.code) == (3, 3)
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert debug.err.endswith(plain.err)


def run_shell(line: str, **names: Path | str) -> subprocess.CompletedProcess[bytes]:
    """A line of shell in which $V is the command, as a user would type it; stdout is buffered as it is there."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    env |= {"V": f"{sys.executable} -m videomae_cli"} | {k: str(v) for k, v in names.items()}
    return subprocess.run(["bash", "-c", line], env=env, capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2> >(exec true)"])
def test_a_stderr_that_is_gone_stops_nothing(stderr: str, tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"")
    write_video(tmp_path / "good.mp4", 4)
    done = run_shell(f"$V classify $T/bad.mp4 $T/good.mp4 -m $M -f jsonl {stderr}", T=tmp_path, M=checkpoint)
    assert done.returncode == 1
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["error", "ok"]


@pytest.mark.parametrize("what", ["classify $T/a.mp4 -m $M", "classify $T/a.mp4 -m $M -f json", "--help", "--version"])
def test_a_stdout_that_is_full_is_4(what: str, tmp_path: Path, checkpoint: Path) -> None:
    write_video(tmp_path / "a.mp4", 4)
    done = run_shell(f"$V {what} > /dev/full", T=tmp_path, M=checkpoint)
    assert done.returncode == 4
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("what", ["classify $T/a.mp4 -m $M", "--help"])
def test_a_stdout_that_the_shell_closed_takes_nothing(what: str, tmp_path: Path, checkpoint: Path) -> None:
    write_video(tmp_path / "a.mp4", 4)
    done = run_shell(f"$V {what} >&-", T=tmp_path, M=checkpoint)
    assert done.returncode == 0
    assert b"error" not in done.stderr


def test_an_output_that_grows_too_large_keeps_whole_records(tmp_path: Path, checkpoint: Path) -> None:
    """Case 30, with the file size limit of the shell in place of a full disk."""
    write_video(tmp_path / "0.mp4", 4)
    for k in range(1, 9):
        os.link(tmp_path / "0.mp4", tmp_path / f"{k}.mp4")
    # The limit would hit the file of the coverage measurement too.
    line = "unset COVERAGE_PROCESS_CONFIG; ulimit -f 2; $V classify $T -m $M -o $T/out.jsonl"
    done = run_shell(line, T=tmp_path, M=checkpoint)
    assert done.returncode == 4
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert 1 <= len(lines) < 9
    assert {json.loads(line)["status"] for line in lines} == {"ok"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_torch_is_imported_is_heeded(number: int, code: int, tmp_path: Path, checkpoint: Path) -> None:
    """torch is shadowed by a module that sends the signal from inside its import, and then imports the real one."""
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "torch.py").write_text(
        "import os, sys\n"
        "sys.stdout.write('importing\\n'); sys.stdout.flush()\n"
        "os.kill(os.getpid(), int(os.environ['SIGNAL']))\n"
        "sys.path.remove(os.environ['SHADOW']); del sys.modules['torch']\n"
        "import torch\n"
    )
    video = write_video(tmp_path / "a.mp4", 4)
    env = os.environ | {"SIGNAL": str(int(number)), "SHADOW": str(tmp_path / "shadow")}
    env["PYTHONPATH"] = str(tmp_path / "shadow")
    command = [sys.executable, "-m", "videomae_cli", "classify", str(video), "-m", str(checkpoint)]
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=120)
    assert done.stdout == b"importing\n"
    assert (done.returncode, done.stderr) == (code, b"")
