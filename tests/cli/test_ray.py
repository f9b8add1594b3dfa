"""`--ray`: the records of a run without it, from actors on a Ray of two cores."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Ended
from tests.videos import write_video

pytest.importorskip("ray.data", reason="Ray is not installed")
Run = Callable[..., Ended]
DEADLINE_SECONDS = 120  # for what takes a few on a machine that has nothing else to do


def processes_of(folder: str) -> dict[int, str]:
    """Processes whose environment names the folder: number -> command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and folder.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def in_session(leader: int) -> list[int]:
    """Living processes of a session; some of Ray's hide their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                state, _, _, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                found += [int(entry.name)] * (int(session) == leader and state != "Z")
    return found


@pytest.fixture(scope="module")
def ray_environment() -> Iterator[dict[str, str]]:
    """For a Ray of our own on the loopback: its files, and the token that it asks for, are in a folder of the test."""
    with tempfile.TemporaryDirectory(
        prefix="ray-", ignore_cleanup_errors=True
    ) as folder:  # its sockets need short names
        token = Path(folder, "token")
        token.write_text(secrets.token_hex(32))
        yield {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_TMPDIR": folder}


@pytest.fixture(scope="module")
def cluster(ray_environment: dict[str, str]) -> Iterator[str]:
    """The address of a Ray with two cores."""
    folder = ray_environment["RAY_TMPDIR"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--num-cpus=2", "--port=0"]
    command += ["--include-dashboard=false", f"--temp-dir={folder}", "--object-store-memory=100000000"]
    env = os.environ | ray_environment
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=120)
    yield Path(folder, "ray_current_cluster").read_text().strip()
    for pid in processes_of(folder):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, hostile files among them, and a name that is not UTF-8."""
    folder = tmp_path_factory.mktemp("ray") / "videos"
    folder.mkdir()
    for name, num_frames in (("a", 4), ("b", 70), ("c-\udcff", 30)):
        write_video(folder / "new.mp4", num_frames)
        (folder / "new.mp4").rename(folder / f"{name}.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video")
    (folder / "cut.mp4").write_bytes((folder / "b.mp4").read_bytes()[:600])
    (folder.parent / "list.txt").write_text("missing.mp4\n")
    return folder


def lines(output: Path) -> list[bytes]:
    return sorted(output.read_bytes().splitlines())


def test_the_records_are_those_of_a_run_without_ray(
    videos: Path,
    cluster: str,
    ray_environment: dict[str, str],
    checkpoint: Path,
    videomae_process: Run,
    tmp_path: Path,
) -> None:
    """Named relative to the working folder; also what is left of a torn output, and as Parquet."""
    from pyarrow import parquet

    def videomae(*arguments: str | Path) -> Ended:
        env = os.environ | ray_environment | {"RAY_ADDRESS": cluster}  # Ray reads it when it is imported
        return videomae_process(*arguments, env=env, cwd=videos.parent)

    plain, output, table = tmp_path / "plain.jsonl", tmp_path / "out.jsonl", tmp_path / "out.parquet"
    what = ("classify", "videos", "--files-from", "list.txt", "-m", checkpoint, "-o")
    without = videomae(*what, plain)
    ended = videomae(*what, output, "--ray")
    assert (without.code, ended.code, ended.out) == (1, 1, b""), ended.err
    assert len(lines(plain)) == 7
    assert lines(output) == lines(plain)
    assert "3 classified, 4 failed (1 " in ended.err
    whole = output.read_bytes()
    output.write_bytes(whole[: whole.index(b"\n", whole.index(b"\n") + 1) + 30])  # two records, and a torn one
    resumed = videomae(*what, output, "--ray", "--resume")
    assert "2 skipped" in resumed.err
    assert lines(output) == lines(plain)
    assert videomae(*what, table, "--ray").code == 1
    statuses = parquet.read_table(table).column("status").to_pylist()
    assert sorted(statuses) == ["error"] * 4 + ["ok"] * 3
    assert videomae("classify", "videos", "-m", "no/model", "-f", "csv", "--ray").code == 3  # an actor found out


def test_a_device_is_rays_choice(videos: Path, checkpoint: Path, videomae: Run) -> None:
    ended = videomae("classify", videos, "-m", checkpoint, "--ray", "--device", "cuda:1")
    assert ended.code == 2
    assert "Ray chooses" in ended.err


def test_a_cluster_that_is_not_there(videos: Path, checkpoint: Path, videomae_process: Run) -> None:
    env = os.environ | {"RAY_ADDRESS": "127.0.0.1:1", "RAY_NUM_REDIS_GET_RETRIES": "1"}
    ended = videomae_process("classify", videos / "a.mp4", "-m", checkpoint, "--ray", env=env)
    assert ended.code == 4
    assert "cannot reach Ray at '127.0.0.1:1'" in ended.err
    assert "RAY_ADDRESS" in ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "{} of 400 inputs are left"),
        (signal.SIGTERM, 143, "{} of 400 inputs are left"),
        (signal.SIGKILL, -signal.SIGKILL, ""),
        (None, 4, "Ray ended by itself, with SIGKILL"),  # the process that talks to Ray is killed
    ],
)
def test_what_ends_a_run_ends_its_ray(
    number: int | None,
    code: int,
    said: str,
    videos: Path,
    checkpoint: Path,
    tmp_path: Path,
    ray_environment: dict[str, str],
) -> None:
    """A Ray of this machine; each record that was told is whole."""
    (tmp_path / "many").mkdir()
    for k in range(400):
        os.link(videos / "b.mp4", tmp_path / "many" / f"{k:03d}.mp4")
    command = [sys.executable, "-m", "videomae_cli", "classify", str(tmp_path / "many"), "-m", str(checkpoint)]
    command += ["-f", "jsonl", "--ray", "--views", "5x3"]
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        env = os.environ | ray_environment | {"RAY_TMPDIR": folder}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            start = process.stdout.readline() + process.stdout.readline()
            (driver,) = [pid for pid, line in processes_of(folder).items() if "ray_driver" in line]
            os.kill(process.pid if number else driver, number or signal.SIGKILL)
            before = time.monotonic()
            rest = process.stdout.read()
            told = process.stderr.read().decode()
            assert process.wait() == code, told
            assert time.monotonic() - before < DEADLINE_SECONDS
        found = [json.loads(line) for line in (start + rest).splitlines()]
        assert 1 <= len({record["path"] for record in found}) == len(found) < 400
        assert {record["status"] for record in found} == {"ok"}
        assert said.format(400 - len(found)) in told
        assert "Traceback" not in told
        while left := [*processes_of(folder), *in_session(driver)]:  # they end a moment later
            assert time.monotonic() - before < DEADLINE_SECONDS, left
            time.sleep(0.1)


def test_decode_processes_of_a_new_program() -> None:
    from videomae_cli.inference.decode_helper import NewDecodeProcesses

    with NewDecodeProcesses() as processes:
        pid, channel = processes.start()
        os.kill(pid, signal.SIGSEGV)
        assert channel.recv(1) == b""
        assert processes.end(pid) == "SIGSEGV"
        channel.close()


def test_ray_is_not_installed(videos: Path, checkpoint: Path, tmp_path: Path) -> None:
    """In an environment that is this one without Ray."""
    program = "import sys; sys.modules['ray'] = None; from videomae_cli.cli.app import main; main()"
    command = [sys.executable, "-c", program, "classify", str(videos), "-m", str(checkpoint), "--ray"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install" in done.stderr
    shutil.rmtree(tmp_path)
