"""Exactly one record for each input, however often a run is interrupted, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import change_tensors
from tests.conftest import Ended
from tests.videos import write_video

Run = Callable[..., Ended]
KILL_AND_RESUME = Path(__file__).parents[2] / "scripts" / "kill_and_resume.py"


@pytest.fixture(scope="session")
def three_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    for name, num_frames in (("a", 4), ("b", 5), ("c", 6)):
        write_video(folder / f"{name}.mp4", num_frames)
    return folder


@pytest.fixture
def folder(three_videos: Path, tmp_path: Path) -> Path:
    """Two videos, an empty file, and a name that is not UTF-8."""
    folder = shutil.copytree(three_videos, tmp_path / "videos")
    (folder / "c.mp4").rename(os.fsdecode(os.fsencode(folder) + b"/c-\xff.mp4"))
    (folder / "bad.mp4").write_bytes(b"")
    return folder


def lines(output: Path) -> list[bytes]:
    return output.read_bytes().splitlines()


def by_name(output: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in lines(output)]
    named = {os.path.basename(record["path"]): record for record in found}
    assert len(named) == len(found)
    return named


def test_records_say_of_which_file_and_run_they_are(folder: Path, checkpoint: Path, videomae: Run) -> None:
    output = folder.parent / "out.jsonl"
    assert videomae("classify", folder, "-m", checkpoint, "-o", output, "-k", 2, "--stride", 3).code == 1
    found = by_name(output)
    assert list(found["a.mp4"])[-3:] == ["warnings", "file", "run"]
    assert list(found["bad.mp4"]) == ["path", "status", "kind", "message", "file", "run"]
    status = os.stat(folder / "a.mp4")
    assert found["a.mp4"]["file"] == {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    run = dict(found["a.mp4"]["run"])
    assert len(run.pop("weights")) == 16
    assert run == {
        "model": str(checkpoint),
        "views": "1x1",
        "stride": 3,
        "sampling": None,
        "top_k": 2,
        "strict": False,
        "allow_images": False,
        "max_pixels": None,
        "shard": None,
        "num_inputs": 4,
    }
    assert all(record["run"] == found["bad.mp4"]["run"] for record in found.values())
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".")] == []  # no lock is left behind


def test_a_file_that_changed_is_done_again(folder: Path, checkpoint: Path, videomae: Run) -> None:
    """And what was missing, once it is there."""
    output, listed = folder.parent / "out.jsonl", folder.parent / "list.txt"
    listed.write_text(f"{folder / 'late.mp4'}\n")
    arguments = ("classify", folder, "--files-from", listed, "-m", checkpoint, "-o", output, "--resume")
    assert videomae(*arguments).code == 1
    before = by_name(output)
    assert before["late.mp4"]["kind"] == "missing"
    assert before["late.mp4"]["file"] is None
    write_video(folder / "late.mp4", 4)
    write_video(folder / "a.mp4", 9)
    output.write_bytes(output.read_bytes() + b'{"path": "to')  # and it was torn
    ended = videomae(*arguments)
    assert ended.code == 1
    assert "2 classified, 0 failed, 3 skipped" in ended.err
    after = by_name(output)
    assert after["a.mp4"]["video"]["num_frames"] == 9
    assert after["late.mp4"]["status"] == "ok"
    unchanged = before.keys() - {"a.mp4", "late.mp4"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    whole = output.read_bytes()
    assert videomae(*arguments).code == 1
    assert output.read_bytes() == whole


def test_retry_failed(folder: Path, checkpoint: Path, videomae: Run) -> None:
    output = folder.parent / "out.jsonl"
    arguments = ("classify", folder, "-m", checkpoint, "-o", output)
    assert videomae(*arguments, "--retry-failed").code == 2
    assert videomae(*arguments).code == 1
    status = os.stat(folder / "bad.mp4")
    shutil.copy(folder / "a.mp4", folder / "other.mp4")
    os.truncate(folder / "other.mp4", 0)
    shutil.move(folder / "other.mp4", folder / "bad.mp4")  # as empty as before, and as old
    os.utime(folder / "bad.mp4", ns=(0, status.st_mtime_ns))
    again = videomae(*arguments, "--resume", "--retry-failed")
    assert (again.code, len(lines(output))) == (1, 4)
    assert "0 classified, 1 failed (1 empty), 3 skipped" in again.err
    write_video(folder / "bad.mp4", 4)
    healed = videomae(*arguments, "--resume", "--retry-failed")
    assert (healed.code, len(lines(output))) == (0, 4)
    assert by_name(output)["bad.mp4"]["status"] == "ok"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--views", "2x1", "-k", "3"), "views was 1x1, is 2x1; top_k was 5, is 3"),
        (("--stride", "2"), "stride was the default, is 2"),
        (("--strict",), "strict was false, is true"),
        (("--shard", "1/2"), "shard was the default, is 1/2"),
    ],
)
def test_35_another_sampling_is_refused(
    options: tuple[str, ...], told: str, folder: Path, checkpoint: Path, videomae: Run
) -> None:
    output = folder.parent / "out.jsonl"
    assert videomae("classify", folder / "a.mp4", "-m", checkpoint, "-o", output).code == 0
    torn = output.read_bytes() + b'{"path": "to'
    output.write_bytes(torn)
    # Before the model is looked for, also where nothing is left to do.
    ended = videomae("classify", folder / "a.mp4", "-m", "no/model", "-o", output, "--resume", *options)
    assert ended.code == 2
    assert told in ended.err
    assert output.read_bytes() == torn


def test_35_another_model_is_refused(folder: Path, checkpoint: Path, videomae: Run) -> None:
    """Of the same shape, and trained on; a copy under another name is the same model."""
    output = folder.parent / "out.jsonl"
    copy = shutil.copytree(checkpoint, folder.parent / "copy")
    assert videomae("classify", folder / "a.mp4", "-m", checkpoint, "-o", output).code == 0
    assert videomae("classify", folder / "a.mp4", folder / "b.mp4", "-m", copy, "-o", output, "--resume").code == 0
    change_tensors(copy, lambda tensors: tensors["classifier.bias"].add_(1))
    ended = videomae("classify", folder / "a.mp4", "-m", copy, "-o", output, "--resume", "--device", "nonsense")
    assert ended.code == 2  # before the weights are loaded
    assert f"model was {copy} (" in ended.err
    assert f"is {copy} (" in ended.err
    assert len(lines(output)) == 2


def test_35_records_that_say_nothing_of_their_run_are_refused(folder: Path, checkpoint: Path, videomae: Run) -> None:
    output = folder.parent / "out.jsonl"
    output.write_text('{"path": "a.mp4", "status": "ok"}\n')
    ended = videomae("classify", folder, "-m", checkpoint, "-o", output, "--resume")
    assert ended.code == 2
    assert "do not say by which model" in ended.err


def test_32_two_runs_on_one_output(folder: Path, checkpoint: Path, videomae: Run) -> None:
    """Also where the first would write its output only at the end, and the second would replace it."""
    holder = "import sys; from pathlib import Path; from videomae_cli.inference.ledger import OutputLock\n"
    holder += "with OutputLock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    for name in ("out.jsonl", "out.csv"):
        command = [sys.executable, "-c", holder, str(folder.parent / name)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            ended = videomae("classify", folder, "-m", checkpoint, "-o", folder.parent / name, "--overwrite")
            process.communicate("")
        assert ended.code == 4
        assert f"process {process.pid} is writing to" in ended.err
        assert not (folder.parent / name).exists()


def test_an_interrupted_table_is_whole(folder: Path, checkpoint: Path, videomae: Run) -> None:
    """Parquet through the command line; a format that pyarrow ends."""
    from pyarrow import parquet

    output = folder.parent / "out.parquet"
    assert videomae("classify", folder, "-m", checkpoint, "-o", output).code == 1
    assert parquet.read_table(output).column("status").to_pylist().count("ok") == 3
    assert videomae("classify", folder, "-m", checkpoint, "-f", "parquet").code == 2


def test_61_kill_9_and_resume(three_videos: Path, checkpoint: Path, tmp_path: Path) -> None:
    """A slice of the script, which kills runs at random moments: the first record, and once more."""
    folder = shutil.copytree(three_videos, tmp_path / "videos")
    for k in range(40):
        os.link(folder / "a.mp4", folder / f"{k:02d}.mp4")
    command = [sys.executable, str(KILL_AND_RESUME), str(folder), str(checkpoint), "--kills", "2", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2" in done.stdout
