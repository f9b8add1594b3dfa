"""Records to make reports of, and names that want to be more than text."""

from __future__ import annotations

from functools import cache

import numpy as np

from videomae_cli.inference.records import Failure, Prediction, SampledFrames, ScoredLabel
from videomae_cli.inference.timeline import Segment, WindowedPrediction
from videomae_cli.video.reader import VideoInfo
from videomae_cli.video.thumbnails import encode_jpeg

HOSTILE = (
    "</script><script>document.title='owned'</script>.mp4",
    "<img src=x onerror=\"document.title='owned'\">.mp4",
    "\"'><!--<script>-->&amp;.mp4",
    "a\nb\t\x1b[31m\u202egpj.mp4",
    "not \udcff\udcfe UTF-8.mp4",
    "{{title}}  .mp4",
)
INFO = VideoInfo(num_frames=64, fps=30.0, duration_seconds=2.1, width=64, height=48, codec="h264", rotation=0)
SAMPLING = SampledFrames("1x1", 4, ((0, 4, 8, 12),))


@cache
def jpeg(level: int) -> bytes:
    """A small picture of one colour."""
    return encode_jpeg(np.full((48, 64, 3), (level, 90, 200), np.uint8))


def prediction(path: str, *labels: str, score: float = 0.75, warnings: tuple[str, ...] = ()) -> Prediction:
    scored = tuple(ScoredLabel(label, index, score / 2**index) for index, label in enumerate(labels))
    thumbnails = tuple((number, jpeg(number)) for number in (0, 4, 8, 12))
    return Prediction(path, scored, SAMPLING, INFO, warnings, thumbnails)


def long_prediction(path: str, *labels: str | None) -> WindowedPrediction:
    """A segment of ten seconds for each label."""
    segments = tuple(
        Segment(10.0 * k, 10.0 * (k + 1), ScoredLabel(label, k, 0.5) if label else None)
        for k, label in enumerate(labels)
    )
    best = tuple(segment.label for segment in segments if segment.label)
    return WindowedPrediction(path, best[:1], SAMPLING, INFO, segments=segments)


def failure(path: str, message: str = "it is no video") -> Failure:
    return Failure(path, "not_video", f"{path!r}: {message}")
