"""Indices checked by eye, and what must hold for any video."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videomae_cli.errors import UsageError
from videomae_cli.video.sampling import Sampling, crop_offsets, dense_indices, is_padded, segment_indices

DENSE = {
    # num_video_frames, num_frames, stride, num_segments -> views
    "K400, one view": ((300, 16, 4, 1), [list(range(118, 179, 4))]),
    "two seconds at stride 2": ((60, 16, 2, 1), [list(range(14, 45, 2))]),
    "an odd remainder rounds down": ((9, 2, 2, 1), [[2, 4]]),
    "exactly one span": ((64, 16, 4, 1), [list(range(0, 61, 4))]),
    "two segments are the ends": ((100, 4, 5, 2), [[0, 5, 10, 15], [80, 85, 90, 95]]),
    "five segments": ((300, 2, 4, 5), [[0, 4], [73, 77], [146, 150], [219, 223], [292, 296]]),
    "segments of exactly one span": ((8, 2, 4, 3), [[0, 4]] * 3),
    # V1 kinetics.py: np.linspace(0, N, N // stride), clipped to N - 1, then the last frame
    "63 frames": ((63, 16, 4, 1), [[0, 4, 9, 13, 18, 22, 27, 31, 36, 40, 45, 49, 54, 58, 62, 62]]),
    "20 frames": ((20, 16, 4, 1), [[0, 5, 10, 15] + [19] * 12]),
    "10 frames at stride 1": ((10, 16, 1, 1), [[0, 1, 2, 3, 4, 5, 6, 7, 8] + [9] * 7]),
    "5 frames: one point": ((5, 4, 4, 1), [[0, 4, 4, 4]]),
    "1 frame": ((1, 4, 4, 2), [[0, 0, 0, 0]] * 2),
}


@pytest.mark.parametrize(("arguments", "expected"), DENSE.values(), ids=DENSE.keys())
def test_dense(arguments: tuple[int, int, int, int], expected: list[list[int]]) -> None:
    num_video_frames, num_frames, stride, num_segments = arguments
    assert dense_indices(num_video_frames, num_frames=num_frames, stride=stride, num_segments=num_segments) == expected


SEGMENTS = {
    # num_video_frames, num_frames, num_segments -> views
    "centres": ((160, 16, 1), [list(range(5, 160, 10))]),
    "SSv2: starts and centres": ((160, 16, 2), [list(range(0, 160, 10)), list(range(5, 160, 10))]),
    "V1 ssv2.py on 37 frames": (
        (37, 16, 2),
        [
            [0, 2, 4, 6, 9, 11, 13, 16, 18, 20, 23, 25, 27, 30, 32, 34],
            [1, 3, 5, 8, 10, 12, 15, 17, 19, 21, 24, 26, 28, 31, 33, 35],
        ],
    ),
    "three sets": ((24, 4, 3), [[0, 6, 12, 18], [2, 8, 14, 20], [4, 10, 16, 22]]),
    "fewer frames than parts": ((3, 4, 1), [[0, 1, 1, 2]]),
    "1 frame": ((1, 4, 2), [[0, 0, 0, 0]] * 2),
}


@pytest.mark.parametrize(("arguments", "expected"), SEGMENTS.values(), ids=SEGMENTS.keys())
def test_segments(arguments: tuple[int, int, int], expected: list[list[int]]) -> None:
    num_video_frames, num_frames, num_segments = arguments
    assert segment_indices(num_video_frames, num_frames=num_frames, num_segments=num_segments) == expected


@pytest.mark.parametrize(
    ("extent_px", "num_crops", "expected"),
    [(398, 1, [87]), (398, 3, [0, 87, 174]), (399, 3, [0, 87, 175]), (224, 3, [0, 0, 0]), (300, 2, [0, 76])],
)
def test_crop_offsets(extent_px: int, num_crops: int, expected: list[int]) -> None:
    assert crop_offsets(extent_px, 224, num_crops) == expected


POSITIVE = st.integers(1, 40)


@given(st.integers(1, 2000), POSITIVE, POSITIVE, st.integers(1, 8), st.sampled_from(["dense", "segments"]))
def test_any_video(num_video_frames: int, num_frames: int, stride: int, num_segments: int, kind: str) -> None:
    sampling = Sampling(kind, num_frames, stride)
    views = sampling.indices(num_video_frames, num_segments)
    assert len(views) == num_segments
    for view in views:
        assert len(view) == num_frames
        assert view == sorted(view)
        assert view[0] >= 0
        assert view[-1] < num_video_frames
    assert views == sorted(views)
    span = num_frames * stride if kind == "dense" else num_frames
    if num_video_frames >= span:
        assert not any(map(is_padded, views))


@given(st.integers(1, 500), st.integers(0, 500), st.integers(1, 10))
def test_any_crop_is_inside_and_the_outer_ones_touch_the_edges(crop_px: int, spare_px: int, num_crops: int) -> None:
    offsets = crop_offsets(crop_px + spare_px, crop_px, num_crops)
    assert offsets == sorted(offsets)
    assert len(offsets) == num_crops
    assert (offsets[0], offsets[-1]) == ((0, spare_px) if num_crops > 1 else (spare_px // 2, spare_px // 2))


def test_padded_means_that_a_frame_repeats() -> None:
    assert is_padded([0, 3, 3])
    assert not is_padded([0, 3, 6])


def test_the_defaults_are_those_of_kinetics() -> None:
    assert Sampling() == Sampling("dense", num_frames=16, stride=4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dense_indices(0), "num_video_frames is 0"),
        (lambda: dense_indices(300, stride=0), "stride is 0"),
        (lambda: segment_indices(300, num_frames=-1), "num_frames is -1"),
        (lambda: segment_indices(300, num_segments=0), "num_segments is 0"),
        (lambda: crop_offsets(300, 224, 0), "num_crops is 0"),
        (lambda: Sampling(stride=0), "stride is 0"),
        (lambda: Sampling("uniform"), "unknown sampling 'uniform'"),
    ],
)
def test_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
