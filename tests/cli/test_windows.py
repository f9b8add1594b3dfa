"""`videomae classify --window`, end to end, with a small random checkpoint."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.clips import CLIPS, needs_clips
from tests.conftest import Ended
from tests.videos import spoil_packets, write_size_change, write_truncated, write_video

Run = Callable[..., Ended]
WINDOW = ("--window", "1.0", "--hop", "0.5")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(
        tmp_path_factory.mktemp("videos") / "clip.mp4", 170, numbers=[(k // 40) * 700 for k in range(170)]
    )


def record_of(videomae: Run, *arguments: str | Path) -> dict[str, Any]:
    ended = videomae("classify", *arguments, "-f", "jsonl")
    (record,) = map(json.loads, ended.text.splitlines())
    assert isinstance(record, dict)
    return record


def test_the_record(video: Path, checkpoint: Path, videomae: Run) -> None:
    record = record_of(videomae, video, "-m", checkpoint, *WINDOW, "-k", "3")
    keys = ["path", "status", "predictions", "windows", "segments", "sampling", "video", "warnings", "file", "run"]
    assert list(record) == keys
    assert record["run"]["window_seconds"] == 1.0
    assert record["status"] == "ok"
    assert record["warnings"] == []
    starts = [window["start_seconds"] for window in record["windows"]]
    assert starts == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 170 / 30 - 1], abs=1e-3)
    assert all(w["end_seconds"] == pytest.approx(w["start_seconds"] + 1, abs=2e-3) for w in record["windows"])
    assert {len(w["predictions"]) for w in record["windows"]} == {3}
    sampling = record["sampling"]
    assert (sampling["views"], sampling["stride"]) == ("11x1", None)
    assert (sampling["window_seconds"], sampling["hop_seconds"]) == (1.0, 0.5)
    assert (sampling["threshold"], sampling["hysteresis"]) == (0.0, 0.1)
    assert sampling["frames"][0] == [0, 2, 4, 6, 7, 9, 11, 13, 15, 17, 19, 21, 22, 24, 26, 28]
    segments = record["segments"]
    assert segments[0]["start_seconds"] == 0
    assert segments[-1]["end_seconds"] == pytest.approx(170 / 30, abs=1e-3)
    assert all(a["end_seconds"] == b["start_seconds"] for a, b in pairwise(segments))


@needs_clips
def test_real_windows_equal_their_frames_classified_by_themselves(checkpoint: Path, videomae: Run) -> None:
    assert_windows_stand_for_themselves(CLIPS / "eating_spaghetti.mp4", checkpoint, videomae)


@pytest.mark.parametrize("kind", ["plain", "damaged"])
def test_windows_equal_their_frames_classified_by_themselves(
    kind: str, video: Path, tmp_path: Path, checkpoint: Path, videomae: Run
) -> None:
    if kind == "damaged":
        path = write_video(tmp_path / "clip.mp4", 120, gop=40)
        video = spoil_packets(path, [50, 51])
    warnings = assert_windows_stand_for_themselves(video, checkpoint, videomae)
    assert bool(warnings) == (kind == "damaged")


def assert_windows_stand_for_themselves(path: Path, checkpoint: Path, videomae: Run) -> list[str]:
    """Read, process and score the frames of each window apart; returns the warnings of the record."""
    import torch

    from videomae_cli import VideoClassifier, read_frames
    from videomae_cli.inference.long_video import Step, classify_windows
    from videomae_cli.inference.look import Look
    from videomae_cli.inference.timeline import WindowedPrediction
    from videomae_cli.inference.windowed_video import WindowedVideo
    from videomae_cli.inference.windows import Windowing

    classifier = VideoClassifier.from_pretrained(checkpoint)
    windowing = Windowing(1.0, 0.5, hysteresis=0.0)
    alone = []
    with WindowedVideo(str(path), windowing, classifier.sampling(), classifier.processor) as video:
        for place, clip in video.clips():
            frames = read_frames(path, video.windows[place].frames, num_threads=1).frames
            pixel_values = classifier.processor.crops(frames)
            assert torch.equal(classifier.processor.finish(clip[None]), pixel_values)
            alone.append(classifier.logits(pixel_values).softmax(-1)[0])
    *steps, record = classify_windows(classifier, str(path), Look(windowing=windowing, batch_size=4))
    assert isinstance(record, WindowedPrediction)
    assert [step.window for step in steps if isinstance(step, Step)] == list(record.windows)
    assert len(record.windows) == len(alone)
    for window, scores in zip(record.windows, alone, strict=True):
        best = [(p.index, p.score) for p in window.predictions]
        assert best == [(index, pytest.approx(float(scores[index]), abs=1e-6)) for index, _ in best]
        assert best[0][1] == pytest.approx(float(scores.max()), abs=1e-6)
    mean = torch.stack(alone).mean(dim=0)
    assert record.score == pytest.approx(float(mean.max()), abs=1e-6)
    return list(record.warnings)


def test_every_format_tells_the_same(video: Path, checkpoint: Path, tmp_path: Path, videomae: Run) -> None:
    options = ("-m", checkpoint, *WINDOW, "--hysteresis", "0")
    segments = record_of(videomae, video, *options)["segments"]
    expected = [(s["start_seconds"], s["end_seconds"], s["label"]) for s in segments]
    lines = [line.split("\t") for line in videomae("classify", video, *options).text.splitlines()]
    assert [(float(start), float(end), label) for _, start, end, label, _ in lines] == expected
    rows = list(csv.DictReader(videomae("classify", video, *options, "-f", "csv").text.splitlines()))
    assert [(float(r["start_seconds"]), float(r["end_seconds"]), r["label"]) for r in rows] == expected
    for suffix in ("srt", "vtt"):
        assert videomae("classify", video, *options, "-o", tmp_path / f"labels.{suffix}").code == 0
        text = (tmp_path / f"labels.{suffix}").read_text()
        assert text.count(" --> ") == len(expected)
        assert text == videomae("classify", video, *options, "-f", suffix).text


def test_a_threshold_that_nothing_reaches(video: Path, checkpoint: Path, videomae: Run) -> None:
    options = ("-m", checkpoint, *WINDOW, "--threshold", "1")
    (segment,) = record_of(videomae, video, *options)["segments"]
    assert (segment["label"], segment["index"], segment["score"]) == (None, None, None)
    assert videomae("classify", video, *options).text == f"{video}\t0.000\t5.667\t\t\n"
    assert videomae("classify", video, *options, "-f", "srt").text == ""


def test_a_short_video_is_one_window(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    path = write_video(tmp_path / "short.mp4", 10)
    record = record_of(videomae, path, "-m", checkpoint, *WINDOW)
    assert [(w["start_seconds"], w["end_seconds"]) for w in record["windows"]] == [
        (0.0, pytest.approx(1 / 3, abs=1e-3))
    ]
    assert record["sampling"]["frames"] == [[0, 2, 4, 6, 7, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]]
    assert record["warnings"] == ["padded: 1 of 1 windows have too few frames, which repeat"]


def test_one_record_for_each_of_several_files_and_resume(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"")
    write_truncated(tmp_path / "cut.mp4")
    write_size_change(tmp_path / "sizes.ts")
    output = tmp_path / "labels.jsonl"
    command = ("classify", tmp_path / "bad.mp4", tmp_path / "cut.mp4", "-m", checkpoint, *WINDOW, "-o", output)
    assert videomae(*command).code == 1
    before = output.read_bytes()
    ended = videomae(*command, tmp_path / "sizes.ts", "--resume")
    assert ended.code == 1
    assert output.read_bytes().startswith(before)
    bad, cut, sizes = map(json.loads, output.read_text().splitlines())
    assert (bad["status"], bad["kind"]) == ("error", "empty")
    assert cut["warnings"][0].startswith("truncated")
    assert sizes["warnings"][0].startswith("resized")
    strict = videomae("classify", tmp_path / "cut.mp4", "-m", checkpoint, *WINDOW, "--strict", "-f", "jsonl")
    assert json.loads(strict.text)["kind"] == "truncated"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--window", "x"), "--window is 'x'"),
        (("--window", "0"), "--window is '0'"),
        (("--window", "2", "--hop", "-1"), "--hop is '-1'"),
        (("--window", "100", "--hop", "1"), "a window of 100 s every 1 s"),
        (("--hop", "1"), "--hop is about windows"),
        (("--threshold", "0.5"), "--threshold is about windows"),
        (("--window", "2", "--views", "5x3"), "--window and --views exclude each other"),
        (("-f", "srt"), "srt shows labels over time"),
    ],
)
def test_usage(options: tuple[str, ...], message: str, video: Path, videomae: Run) -> None:
    ended = videomae("classify", video, *options)
    assert ended.code == 2
    assert message in ended.err


def test_subtitles_are_of_one_video(video: Path, tmp_path: Path, videomae: Run) -> None:
    other = write_video(tmp_path / "other.mp4", 3)
    ended = videomae("classify", video, other, *WINDOW, "-f", "vtt")
    assert ended.code == 2
    assert 'for f in *.mp4; do videomae classify "$f"' in ended.err


def test_subtitles_of_a_video_that_failed_are_not_written(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    ended = videomae("classify", tmp_path / "bad.mp4", "-m", checkpoint, *WINDOW, "-o", tmp_path / "bad.srt")
    assert ended.code == 1
    assert not (tmp_path / "bad.srt").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_between_windows_and_a_bar_shows_how_far(
    number: int, code: int, tmp_path: Path, checkpoint: Path
) -> None:
    """The signal is sent when the bar tells of the first window."""
    path = write_video(tmp_path / "long.mp4", 3000, gop=250)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "videomae_cli", "classify", str(path), "-m", str(checkpoint), "-b", "1"]
    command += ["--window", "0.2", "--hop", "0.05", "-o", str(tmp_path / "labels.vtt")]
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    while b" of 00:01:40" not in said:
        said += os.read(ours, 65536)
    process.send_signal(number)
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
    os.close(ours)
    assert process.wait() == code
    assert b"labelling long.mp4" in said
    assert b"1 of 1 inputs are left" in said
    assert b"Traceback" not in said
    assert not (tmp_path / "labels.vtt").exists()
