"""`videomae classify`, end to end, with a small random checkpoint and videos whose frame number is in the pixels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended
from tests.videos import write_video

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "clip.mp4", 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    for k, name in enumerate(["a.mp4", "b.mkv", "deep/c.webm"]):
        write_video(folder / name, 70 + k, codec="libvpx" if name.endswith("webm") else "libx264")
    (folder / "broken.mp4").write_bytes(b"")
    return folder


def test_piped_text_is_the_best_label(video: Path, checkpoint: Path, videomae: Run) -> None:
    ended = videomae("classify", video, "-m", checkpoint)
    assert ended.code == 0
    path, label, score = ended.text.rstrip("\n").split("\t")
    assert path == str(video)
    assert label.startswith("class ")
    assert 0.1 < float(score) < 1.0
    assert ended.err == ""


@pytest.mark.parametrize(("options", "num_labels"), [(["-k", "3"], 3), (["-k", "99"], 10), ([], 1)])
def test_how_many_labels_a_text_pipe_gets(
    options: list[str], num_labels: int, video: Path, checkpoint: Path, videomae: Run
) -> None:
    lines = videomae("classify", video, "-m", checkpoint, *options).text.splitlines()
    scores = [float(line.split("\t")[2]) for line in lines]
    assert len(lines) == num_labels
    assert scores == sorted(scores, reverse=True)


def test_a_record_has_all_that_the_design_promises(video: Path, checkpoint: Path, videomae: Run) -> None:
    (record,) = json.loads(videomae("classify", video, "-m", checkpoint, "-f", "json").text)
    assert list(record) == ["path", "status", "predictions", "sampling", "video", "warnings"]
    assert record["sampling"] == {"views": "1x1", "stride": 4, "frames": [list(range(18, 82, 4))]}
    assert record["video"] == {
        "num_frames": 100,
        "fps": 30.0,
        "duration_seconds": pytest.approx(100 / 30, abs=1e-3),
        "width": 64,
        "height": 48,
        "codec": "h264",
        "rotation": 0,
    }
    assert record["warnings"] == []
    assert len(record["predictions"]) == 5
    assert [p["label"] for p in record["predictions"]] == [f"class {p['index']}" for p in record["predictions"]]


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (["--stride", "1"], [list(range(42, 58))]),
        (["--views", "2x1"], [list(range(0, 64, 4)), list(range(36, 100, 4))]),
        (["--views", "1x3"], [list(range(18, 82, 4))]),
        (["--views", "3x3", "--stride", "2"], [list(range(s, s + 32, 2)) for s in (0, 34, 68)]),
    ],
)
def test_views_and_stride(
    options: list[str], frames: list[list[int]], video: Path, checkpoint: Path, videomae: Run
) -> None:
    (record,) = json.loads(videomae("classify", video, "-m", checkpoint, "-f", "json", *options).text)
    assert record["sampling"]["frames"] == frames
    assert sum(p["score"] for p in record["predictions"]) <= 1.0


def test_views_are_averaged_and_batches_change_nothing(video: Path, checkpoint: Path, videomae: Run) -> None:
    runs = [
        json.loads(videomae("classify", video, "-m", checkpoint, "-f", "json", "-k", 10, "--views", "5x3", *b).text)[0]
        for b in ([], ["-b", "1"], ["-b", "4"])
    ]
    scores = [{p["label"]: p["score"] for p in run["predictions"]} for run in runs]
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)
    assert scores[2] == pytest.approx(scores[0], abs=1e-5)
    assert sum(scores[0].values()) == pytest.approx(1.0, abs=1e-4)


def test_a_folder(folder: Path, checkpoint: Path, videomae: Run) -> None:
    ended = videomae("classify", folder, "-m", checkpoint, "-f", "jsonl")
    found = [json.loads(line) for line in ended.text.splitlines()]
    assert ended.code == 1
    assert [(Path(r["path"]).name, r["status"]) for r in found] == [
        ("a.mp4", "ok"),
        ("b.mkv", "ok"),
        ("broken.mp4", "error"),
        ("c.webm", "ok"),
    ]
    assert "3 classified, 1 failed" in ended.err
    assert f"error: {found[2]['message']}\n" in ended.err


@pytest.mark.parametrize("workers", ["1", "3", "auto"])
def test_workers_change_nothing(workers: str, folder: Path, checkpoint: Path, videomae: Run) -> None:
    once = videomae("classify", folder, "-m", checkpoint, "-f", "jsonl", "-j", "2")
    again = videomae("classify", folder, "-m", checkpoint, "-f", "jsonl", "-j", workers)
    assert again.out == once.out


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "txt"])
def test_an_output_file_holds_what_stdout_would(
    suffix: str, folder: Path, checkpoint: Path, tmp_path: Path, videomae: Run
) -> None:
    name = {"txt": "text"}.get(suffix, suffix)
    to_stdout = videomae("classify", folder, "-m", checkpoint, "-f", name)
    to_file = videomae("classify", folder, "-m", checkpoint, "-o", tmp_path / f"labels.{suffix}")
    assert (to_stdout.code, to_file.code, to_file.out) == (1, 1, b"")
    assert (tmp_path / f"labels.{suffix}").read_bytes() == to_stdout.out


def test_csv_parses(folder: Path, checkpoint: Path, videomae: Run) -> None:
    rows = list(csv.DictReader(videomae("classify", folder, "-m", checkpoint, "-f", "csv").text.splitlines()))
    assert [row["rank"] for row in rows] == [*"12345", *"12345", "", *"12345"]
    assert {row["status"] for row in rows} == {"ok", "error"}


def test_quiet_says_only_errors(folder: Path, checkpoint: Path, videomae: Run) -> None:
    ended = videomae("classify", folder, "-m", checkpoint, "-q")
    assert ended.err.splitlines() == [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(ended.err.splitlines()) == 1


def test_verbose_tells_the_frames(video: Path, checkpoint: Path, videomae: Run) -> None:
    ended = videomae("classify", video, "-m", checkpoint, "-v")
    assert f"{video}: frames {' '.join(map(str, range(18, 82, 4)))}" in ended.err
    assert "10 labels" in ended.err
    assert "torch.float32 on cpu" in ended.err


def test_options_beat_the_environment_beats_defaults(
    video: Path, checkpoint: Path, videomae: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEOMAE_MODEL", str(checkpoint))
    monkeypatch.setenv("VIDEOMAE_FORMAT", "jsonl")
    monkeypatch.setenv("VIDEOMAE_STRIDE", "2")
    assert json.loads(videomae("classify", video).text)["sampling"]["stride"] == 2
    assert json.loads(videomae("classify", video, "--stride", 3).text)["sampling"]["stride"] == 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--views", "5"], "'5'"),
        (["--views", "0x1"], "'0x1'"),
        (["--stride", "0"], "0"),
        (["--stride", "x"], "x"),
        (["-k", "0"], "0"),
        (["-b", "none"], "'none'"),
        (["-j", "-1"], "'-1'"),
        (["-k", "1٣"], "'1٣'"),
        (["--device", "meta"], "'meta'"),
        (["-f", "xml"], "'xml'"),
        (["-o", "labels.xml"], "labels.xml"),
        (["--nonsense"], "--nonsense"),
        (["--resume"], "--resume"),
        (["--resume", "-o", "x.csv"], "csv"),
        (["--resume", "--overwrite", "-o", "x.jsonl"], "--overwrite"),
        (["--files-from", "no-list.txt"], "no-list.txt"),
    ],
)
def test_wrong_usage_names_the_value(options: list[str], named: str, video: Path, videomae: Run) -> None:
    ended = videomae("classify", video, "-m", "no-such-model", *options)
    assert ended.code == 2
    assert ended.out == b""
    first, second = ended.err.splitlines()[:2]
    assert first.startswith("error: ")
    assert named in first
    assert second.startswith("hint: ")
