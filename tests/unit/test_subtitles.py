"""Subtitles: exact text, and what FFmpeg's own parsers make of it."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from videomae_cli.inference.records import Failure, Prediction, SampledFrames, ScoredLabel
from videomae_cli.inference.timeline import ScoredWindow, Segment, WindowedPrediction
from videomae_cli.report.formats import Renderer
from videomae_cli.report.subtitles import clock
from videomae_cli.video.reader import VideoInfo

INFO = VideoInfo(num_frames=300, fps=30.0, duration_seconds=10.0, width=640, height=360, codec="h264", rotation=0)
SAMPLING = SampledFrames("2x1", None, ((0, 4), (30, 34)))


def record(*segments: tuple[float, float, str | None]) -> WindowedPrediction:
    made = [Segment(start, end, ScoredLabel(text, 0, 0.5) if text else None) for start, end, text in segments]
    windows = tuple(ScoredWindow(segment.start_seconds, segment.end_seconds, ()) for segment in made)
    return WindowedPrediction(
        "a.mp4", (ScoredLabel("x", 0, 0.5),), SAMPLING, INFO, windows=windows, segments=tuple(made)
    )


def render(name: str, of: Prediction | Failure) -> str:
    renderer = Renderer(name, by_segment=True)  # type: ignore[arg-type]
    return renderer.head() + renderer.record(of) + renderer.tail()


THREE = record((0.0, 1.55, "pan left"), (1.55, 4.0, None), (4.0, 3723.0049, "zoom & <b>pan</b> -->\n\n2"))


def test_srt() -> None:
    assert render("srt", THREE) == (
        "1\n00:00:00,000 --> 00:00:01,550\npan left\n\n2\n00:00:04,000 --> 01:02:03,005\nzoom & <b>pan</b> →\\n\\n2\n\n"
    )


def test_vtt() -> None:
    assert render("vtt", THREE) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.550\npan left\n\n"
        "00:00:04.000 --> 01:02:03.005\nzoom &amp; &lt;b&gt;pan&lt;/b&gt; --&gt;\\n\\n2\n\n"
    )


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "00:00:00.000"),
        (59_999, "00:00:59.999"),
        (3_599_999, "00:59:59.999"),
        (360_000_000, "100:00:00.000"),
    ],
)
def test_clock(milliseconds: int, text: str) -> None:
    assert clock(milliseconds) == text


LONG = record(
    (0.0, 0.0004, "no time"), (0.0004, 12.3456, "a"), (12.3456, 359_999.9999, "b > c"), (360_000.0, 360_001.5, "d")
)


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_ffmpeg_reads_what_was_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{name}"
    path.write_text(render(name, LONG))
    with av.open(str(path)) as container:
        (stream,) = container.streams
        packets = [packet for packet in container.demux(stream) if packet.size]
        tick = stream.time_base
        cues = [(float(p.pts * tick), float((p.pts + p.duration) * tick), bytes(p).decode()) for p in packets]  # type: ignore[operator]
    escaped = "b &gt; c" if name == "vtt" else "b > c"
    assert [text.strip() for _, _, text in cues] == ["a", escaped, "d"]
    assert [(start, end) for start, end, _ in cues] == [
        pytest.approx((0.0, 12.346)),
        pytest.approx((12.346, 360_000.0)),
        pytest.approx((360_000.0, 360_001.5)),
    ]


@pytest.mark.parametrize(("name", "text"), [("srt", ""), ("vtt", "WEBVTT\n\n")])
def test_a_failure_has_no_cues(name: str, text: str) -> None:
    assert render(name, Failure("b.mp4", "no_video", "it holds sound only")) == text


def test_csv_and_lines_of_segments() -> None:
    good = record((0.0, 1.55, "pan, left"), (1.55, 4.0, None))
    head = "path,status,start_seconds,end_seconds,label,score,error\n"
    assert render("csv", good) == head + 'a.mp4,ok,0.000,1.550,"pan, left",0.500000,\na.mp4,ok,1.550,4.000,,,\n'
    assert render("csv", Failure("b.mp4", "empty", "no")) == head + "b.mp4,error,,,,,empty: no\n"
    assert render("text", good) == "a.mp4\t0.000\t1.550\tpan, left\t0.5000\na.mp4\t1.550\t4.000\t\t\n"
    assert render("text", Failure("b.mp4", "empty", "no")) == ""
