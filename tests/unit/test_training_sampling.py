"""Where a training clip begins, and which frame a part shows: drawn, within bounds, and every place is reached."""

from __future__ import annotations

import numpy as np
import pytest

from videomae_cli.errors import UsageError
from videomae_cli.video.sampling import Sampling, dense_indices, random_dense_indices, random_segment_indices


def drawn(sampling: Sampling, num_video_frames: int, times: int = 300) -> set[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return {tuple(sampling.training_indices(num_video_frames, rng)) for _ in range(times)}


def test_a_span_begins_anywhere() -> None:
    assert drawn(Sampling("dense", num_frames=4, stride=2), 11) == {
        (0, 2, 4, 6),
        (1, 3, 5, 7),
        (2, 4, 6, 8),
        (3, 5, 7, 9),
    }


def test_starts_are_drawn_evenly() -> None:
    rng = np.random.default_rng(0)
    starts = [random_dense_indices(43, rng, num_frames=4, stride=10)[0] for _ in range(4000)]
    counts = np.bincount(starts)
    assert len(counts) == 4
    assert np.abs(counts - 1000).max() < 120  # over four standard deviations


@pytest.mark.parametrize("num_video_frames", [1, 2, 7, 8, 40, 63, 64])
def test_a_video_of_one_span_or_less_is_what_evaluation_sees(num_video_frames: int) -> None:
    assert drawn(Sampling("dense", 16, 4), num_video_frames, times=5) == {tuple(dense_indices(num_video_frames)[0])}


@pytest.mark.parametrize(
    ("num_video_frames", "num_frames", "parts"),
    [
        (8, 4, [{0, 1}, {2, 3}, {4, 5}, {6, 7}]),
        (10, 4, [{0, 1}, {2, 3, 4}, {5, 6}, {7, 8, 9}]),  # parts cover the video, to its last frame
        (4, 4, [{0}, {1}, {2}, {3}]),
        (3, 6, [{0}, {0}, {1}, {1}, {2}, {2}]),
        (1, 3, [{0}, {0}, {0}]),
    ],
)
def test_each_part_shows_any_of_its_frames(num_video_frames: int, num_frames: int, parts: list[set[int]]) -> None:
    views = drawn(Sampling("segments", num_frames=num_frames), num_video_frames)
    assert [set(column) for column in zip(*views, strict=True)] == parts
    assert len(views) == np.prod([len(part) for part in parts])  # parts are drawn independently


def test_nothing_below_one() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="num_video_frames is 0"):
        random_dense_indices(0, rng)
    with pytest.raises(UsageError, match="num_frames is 0"):
        random_segment_indices(5, rng, num_frames=0)
