"""Which windows a video is cut into, which frames stand for them, and what becomes of their scores."""

from __future__ import annotations

import numpy as np
import pytest

from videomae_cli.errors import UsageError
from videomae_cli.inference.records import ScoredLabel
from videomae_cli.inference.timeline import LabelHolder, ScoredWindow, Segment, merge_windows
from videomae_cli.inference.windows import Windowing, plan_windows, window_starts
from videomae_cli.video.sampling import Sampling

# ---- where windows are ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "window", "hop", "starts"),
    [
        (10.0, 2.0, 1.0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (10.0, 2.0, 2.0, [0, 2, 4, 6, 8]),
        (10.0, 2.1, 1.0, [0, 1, 2, 3, 4, 5, 6, 7, 7.9]),  # 8.0 would reach past the end
        (10.0, 2.0, 5.0, [0, 5]),  # the next would begin at the end
        (11.0, 2.0, 5.0, [0, 5, 9]),
        (2.0, 2.0, 1.0, [0]),
        (1.9, 2.0, 1.0, [0]),  # shorter than a window
        (0.0, 2.0, 1.0, [0]),
        (0.9, 0.3, 0.1, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),  # not upset by 0.1 * 6 != 0.6
        (7200.0, 2.1, 1.0, [*range(7198), 7197.9]),
    ],
)
def test_window_starts(duration: float, window: float, hop: float, starts: list[float]) -> None:
    assert window_starts(duration, Windowing(window, hop)) == pytest.approx(starts)


# ---- frames of a window ----------------------------------------------------------------------------------------------


def frames(
    num_frames: int, fps: float, window: float, hop: float, sampling: Sampling, spread: bool = True
) -> list[list[int]]:
    times = np.arange(num_frames) / fps
    windows = plan_windows(times, num_frames / fps, Windowing(window, hop), sampling, spread=spread)
    return [list(window.frames) for window in windows]


FOUR = Sampling("dense", 4, 2)
PARTS = Sampling("segments", 4)


@pytest.mark.parametrize(
    ("num_frames", "fps", "window", "hop", "sampling", "expected"),
    [
        (16, 8, 1.0, 0.5, FOUR, [[0, 2, 4, 6], [4, 6, 8, 10], [8, 10, 12, 14]]),
        (16, 8, 1.0, 0.5, PARTS, [[1, 3, 5, 7], [5, 7, 9, 11], [9, 11, 13, 15]]),
        (16, 8, 2.0, 1.0, FOUR, [[0, 4, 8, 12]]),  # a longer window, spread wider
        (16, 8, 0.5, 1.0, FOUR, [[0, 1, 2, 3], [8, 9, 10, 11]]),
        (18, 8, 1.0, 1.0, FOUR, [[0, 2, 4, 6], [8, 10, 12, 14], [10, 12, 14, 16]]),  # moved back from the end
        (5, 8, 1.0, 0.5, FOUR, [[0, 2, 4, 4]]),  # shorter than a window: the last frame repeats
        (5, 8, 1.0, 0.5, PARTS, [[1, 2, 3, 4]]),  # cut into equal parts all the same
        (1, 8, 1.0, 0.5, FOUR, [[0, 0, 0, 0]]),
        (4, 2, 1.0, 1.0, FOUR, [[0, 0, 1, 1], [2, 2, 3, 3]]),  # fewer frames than the model takes
        (16, 8, 0.999, 1.0, FOUR, [[0, 2, 4, 6], [8, 10, 12, 14]]),  # seconds are typed with few digits
    ],
)
def test_frames_of_windows(
    num_frames: int, fps: float, window: float, hop: float, sampling: Sampling, expected: list[list[int]]
) -> None:
    assert frames(num_frames, fps, window, hop, sampling) == expected


@pytest.mark.parametrize("kind", ["dense", "segments"])
@pytest.mark.parametrize("window", [64 / 30, 2.133])
def test_a_window_of_64_frames_has_those_that_classify_would_pick(kind: str, window: float) -> None:
    sampling = Sampling(kind)  # type: ignore[arg-type]
    picked = sampling.indices(64)[0]
    found = frames(30 * 60, 30, window, 0.5, sampling)
    assert found[0] == picked
    assert found[1] == [15 + number for number in picked]
    assert found[60] == [900 + number for number in picked]


@pytest.mark.parametrize("spread", [True, False])
def test_times_that_the_container_rounded_to_milliseconds_change_nothing(spread: bool) -> None:
    exact = np.arange(600) / 30
    rounded = (exact * 1000).round() / 1000
    plans = [
        plan_windows(times, 20.0, Windowing(64 / 30, 1.0), Sampling(), spread=spread) for times in (exact, rounded)
    ]
    assert plans[0] == plans[1]


def test_frames_are_chosen_by_time_where_the_rate_varies() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 2.0, 3.9])
    (window,) = plan_windows(times, 4.0, Windowing(4.0, 4.0), FOUR)
    assert window.frames == (0, 5, 6, 7)  # nearest to 0, 1, 2 and 3 s


@pytest.mark.parametrize(
    ("num_frames", "window", "sampling", "expected"),
    [
        (32, 2.0, FOUR, [[4, 6, 8, 10], [12, 14, 16, 18], [20, 22, 24, 26]]),  # from the middle of 16 frames
        (16, 1.0, FOUR, [[0, 2, 4, 6], [8, 10, 12, 14]]),
        (16, 0.5, FOUR, [[0, 3, 3, 3], [8, 11, 11, 11]]),  # as classify pads 4 frames
    ],
)
def test_with_a_stride_of_their_own(
    num_frames: int, window: float, sampling: Sampling, expected: list[list[int]]
) -> None:
    assert frames(num_frames, 8, window, 1.0, sampling, spread=False) == expected


@pytest.mark.parametrize(
    ("window", "hop", "message"),
    [(0.0, 1.0, "window_seconds is 0"), (1.0, 0.0, "hop_seconds is 0"), (65.0, 1.0, "a window of 65 s every 1 s")],
)
def test_windows_that_cannot_be(window: float, hop: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Windowing(window, hop)


# ---- labels over time ------------------------------------------------------------------------------------------------

A, B, C = 0, 1, 2
ROWS = [  # scores of A, B, C
    (0.8, 0.1, 0.1),
    (0.45, 0.50, 0.05),
    (0.1, 0.8, 0.1),
    (0.30, 0.32, 0.38),
    (0.34, 0.26, 0.40),
    (0.1, 0.1, 0.8),
]


@pytest.mark.parametrize(
    ("threshold", "hysteresis", "expected"),
    [
        (0.0, 0.0, [A, B, B, C, C, C]),  # the best of each
        (0.0, 0.1, [A, A, B, B, C, C]),  # 0.05 and 0.06 better do not suffice, 0.14 does
        (0.0, 0.9, [A, A, A, A, A, A]),
        (0.4, 0.1, [A, A, B, None, C, C]),  # B falls below 0.4, and nobody is above
        (0.46, 0.1, [A, B, B, None, None, C]),  # A falls below: B takes over without a margin
        (0.9, 0.1, [None] * 6),
    ],
)
def test_hysteresis_and_threshold(threshold: float, hysteresis: float, expected: list[int | None]) -> None:
    holder = LabelHolder(threshold, hysteresis)
    assert [holder.next(scores) for scores in ROWS] == expected


def windows(*spans: tuple[float, float]) -> list[ScoredWindow]:
    return [ScoredWindow(start, end, ()) for start, end in spans]


def label(name: str, score: float) -> ScoredLabel:
    return ScoredLabel(name, "abc".index(name), score)


def test_neighbours_of_one_label_merge() -> None:
    spans = windows((0, 2), (1, 3), (2, 4), (3, 5), (4, 6))
    held = [label("a", 0.9), label("a", 0.7), label("b", 0.5), None, label("b", 0.6)]
    assert merge_windows(spans, held) == (
        Segment(0, 2.5, label("a", pytest.approx(0.8))),
        Segment(2.5, 3.5, label("b", 0.5)),
        Segment(3.5, 4.5, None),
        Segment(4.5, 6, label("b", 0.6)),
    )


def test_windows_with_gaps_between_them() -> None:
    spans = windows((0, 2), (10, 12), (20, 22))
    held = [label("a", 0.5), label("a", 0.5), label("b", 0.5)]
    assert merge_windows(spans, held) == (Segment(0, 12, label("a", 0.5)), Segment(20, 22, label("b", 0.5)))


def test_one_window() -> None:
    assert merge_windows(windows((0, 1.5)), [None]) == (Segment(0, 1.5, None),)
