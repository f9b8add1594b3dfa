"""Which frames, and which crop of them, a view shows: integer arithmetic alone, nothing is decoded here.

The two ways that VideoMAE was evaluated: `dense` (Kinetics-400: every `stride`-th frame of a short span) and
`segments` (Something-Something V2: frames spread over the whole video). Frame k is the k-th frame in presentation
order. One segment, like one crop, is always the centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np

SamplingKind = Literal["dense", "segments"]


@dataclass(frozen=True)
class Sampling:
    """How a checkpoint wants its frames chosen.

    Args:
        kind: "dense" or "segments".
        num_frames: frames in one view, at least 1.
        stride: source frames from one chosen frame to the next, at least 1; "segments" has no use for it.
    """

    kind: SamplingKind = "dense"
    num_frames: int = 16
    stride: int = 4

    def __post_init__(self) -> None:
        if self.kind not in get_args(SamplingKind):
            raise UsageError(f"unknown sampling {self.kind!r}", f"It is one of: {', '.join(get_args(SamplingKind))}.")
        _require_positive(num_frames=self.num_frames, stride=self.stride)

    def indices(self, num_video_frames: int, num_segments: int = 1) -> list[list[int]]:
        """Frame indices of each temporal view; see `dense_indices` and `segment_indices`."""
        if self.kind == "segments":
            return segment_indices(num_video_frames, num_frames=self.num_frames, num_segments=num_segments)
        return dense_indices(
            num_video_frames, num_frames=self.num_frames, stride=self.stride, num_segments=num_segments
        )

    def training_indices(self, num_video_frames: int, rng: np.random.Generator) -> list[int]:
        """Frame indices of one view at a random place; see `random_dense_indices` and `random_segment_indices`."""
        if self.kind == "segments":
            return random_segment_indices(num_video_frames, rng, num_frames=self.num_frames)
        return random_dense_indices(num_video_frames, rng, num_frames=self.num_frames, stride=self.stride)


def dense_indices(
    num_video_frames: int, *, num_frames: int = 16, stride: int = 4, num_segments: int = 1
) -> list[list[int]]:
    """Every `stride`-th frame of spans of `num_frames * stride` frames, spread evenly over the video.

    A video shorter than one span is covered from end to end with `num_video_frames // stride` frames, and its last
    frame is repeated up to `num_frames` (V1 kinetics.py); every segment is then the same.

    Args:
        num_video_frames: frames in the video, at least 1.
        num_frames: frames in one view.
        stride: source frames from one chosen frame to the next.
        num_segments: temporal views; 1 is the centre of the video, more reach from its first to its last frame.

    Returns:
        `num_segments` ascending lists of `num_frames` indices in [0, num_video_frames).

    Raises:
        UsageError: an argument is below 1.
    """
    _require_positive(
        num_video_frames=num_video_frames, num_frames=num_frames, stride=stride, num_segments=num_segments
    )
    spare = num_video_frames - num_frames * stride
    if spare >= 0:
        starts = _spread(spare, num_segments)
        return [[start + stride * k for k in range(num_frames)] for start in starts]
    last = num_video_frames - 1
    num_distinct = max(1, num_video_frames // stride)
    # V1 spreads over [0, N], not [0, N - 1], and clips; one point sits at the start.
    covered = [min(k * num_video_frames // max(1, num_distinct - 1), last) for k in range(num_distinct)]
    padded = covered + [last] * (num_frames - num_distinct)
    return [list(padded) for _ in range(num_segments)]


def segment_indices(num_video_frames: int, *, num_frames: int = 16, num_segments: int = 1) -> list[list[int]]:
    """One frame from each of `num_frames` equal parts of the whole video.

    One set takes the centre of each part. S interleaved sets take the points 0/S, 1/S, ... of each part; for S = 2
    that is the start and the centre, the SSv2 protocol of V1 ssv2.py.

    Args:
        num_video_frames: frames in the video, at least 1; indices repeat when it is below `num_frames`.
        num_frames: frames in one view.
        num_segments: temporal views.

    Returns:
        `num_segments` ascending lists of `num_frames` indices in [0, num_video_frames).

    Raises:
        UsageError: an argument is below 1.
    """
    _require_positive(num_video_frames=num_video_frames, num_frames=num_frames, num_segments=num_segments)
    phases, num_phases = ([1], 2) if num_segments == 1 else (range(num_segments), num_segments)
    return [
        [num_video_frames * (num_phases * k + phase) // (num_phases * num_frames) for k in range(num_frames)]
        for phase in phases
    ]


def random_dense_indices(
    num_video_frames: int, rng: np.random.Generator, *, num_frames: int = 16, stride: int = 4
) -> list[int]:
    """Every `stride`-th frame of a span that begins anywhere, for training.

    A video of at most one span gives the same as `dense_indices`.

    Args:
        num_video_frames: frames in the video, at least 1.
        rng: of the start.
        num_frames: frames in the view.
        stride: source frames from one chosen frame to the next.

    Returns:
        `num_frames` ascending indices in [0, num_video_frames).

    Raises:
        UsageError: an argument is below 1.
    """
    _require_positive(num_video_frames=num_video_frames, num_frames=num_frames, stride=stride)
    spare = num_video_frames - num_frames * stride
    if spare < 0:
        return dense_indices(num_video_frames, num_frames=num_frames, stride=stride)[0]
    start = int(rng.integers(spare + 1))
    return [start + stride * k for k in range(num_frames)]


def random_segment_indices(num_video_frames: int, rng: np.random.Generator, *, num_frames: int = 16) -> list[int]:
    """Any frame from each of `num_frames` equal parts of the whole video, for training.

    V1 ssv2.py rounds the length of a part down, so it never shows the last frames, and shows only frame 0 of a video
    shorter than `num_frames`. Here the parts cover the video, as in `segment_indices`.

    Args:
        num_video_frames: frames in the video, at least 1; indices repeat when it is below `num_frames`.
        rng: of the places.
        num_frames: frames in the view.

    Returns:
        `num_frames` ascending indices in [0, num_video_frames).

    Raises:
        UsageError: an argument is below 1.
    """
    _require_positive(num_video_frames=num_video_frames, num_frames=num_frames)
    starts = [num_video_frames * k // num_frames for k in range(num_frames + 1)]
    return [int(rng.integers(start, max(start + 1, end))) for start, end in pairwise(starts)]


def is_padded(indices: Sequence[int]) -> bool:
    """Whether a view shows some frame more than once, because the video has too few."""
    return len(set(indices)) < len(indices)


def crop_offsets(extent_px: int, crop_px: int, num_crops: int = 1) -> list[int]:
    """Where crops begin along one side: one in the centre (rounded down, as HF), more from edge to edge.

    Args:
        extent_px: length of the side, at least `crop_px`.
        crop_px: length of a crop.
        num_crops: how many, at least 1.

    Returns:
        `num_crops` ascending offsets in [0, extent_px - crop_px].
    """
    assert extent_px >= crop_px, "pad first"
    _require_positive(num_crops=num_crops)
    return _spread(extent_px - crop_px, num_crops)


def _spread(end: int, count: int) -> list[int]:
    """`count` evenly spaced integers over [0, end], rounded down; a single one is the middle."""
    if count == 1:
        return [end // 2]
    return [end * k // (count - 1) for k in range(count)]


def _require_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise UsageError(f"{name} is {value}", "It must be at least 1.")
