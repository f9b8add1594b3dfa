"""Which windows a long video is cut into, and which frames stand for each: arithmetic on times, nothing is decoded.

Seconds are counted from the first frame of the video.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..video.sampling import Sampling

MAX_OVERLAP = 64
"""Windows that may share a moment: all frames that any of them wants are held in memory."""

_EQUAL_SECONDS = 1e-6  # times closer than this are the same


@dataclass(frozen=True)
class Windowing:
    """How a video is cut into windows, and what makes a label of their scores.

    Args:
        window_seconds: length of a window.
        hop_seconds: from the start of a window to that of the next.
        threshold: a window whose label scores less has no label.
        hysteresis: by how much another label must score higher than the one that holds, to take its place.

    Raises:
        UsageError: a value is out of range.
    """

    window_seconds: float
    hop_seconds: float
    threshold: float = 0.0
    hysteresis: float = 0.1

    def __post_init__(self) -> None:
        for name in ("window_seconds", "hop_seconds"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}", "It must be a positive number of seconds.")
        if self.window_seconds > MAX_OVERLAP * self.hop_seconds:
            what = f"a window of {self.window_seconds:g} s every {self.hop_seconds:g} s"
            hint = f"Make the hop longer: at most {MAX_OVERLAP} windows may overlap, whose frames are held in memory."
            raise UsageError(what, hint)


@dataclass(frozen=True)
class Window:
    """A stretch of a video.

    Attributes:
        start_seconds: from the first frame of the video.
        end_seconds: likewise.
        frames: numbers of the frames that stand for it, ascending; repeated where it has too few.
    """

    start_seconds: float
    end_seconds: float
    frames: tuple[int, ...]


def window_starts(duration_seconds: float, windowing: Windowing) -> list[float]:
    """Where windows begin: every hop from 0 on.

    The first that would reach past the end is moved back to end with the video, and is the last. A video shorter than
    a window has one, from its start.

    Args:
        duration_seconds: of the video.
        windowing: length and hop.
    """
    starts: list[float] = []
    latest = max(0.0, duration_seconds - windowing.window_seconds)
    for number in range(math.ceil(duration_seconds / windowing.hop_seconds) or 1):
        start = number * windowing.hop_seconds
        if start < latest - _EQUAL_SECONDS:
            starts.append(start)
        else:
            starts.append(latest)
            break
    return starts


def plan_windows(
    times_seconds: npt.NDArray[np.float64],
    duration_seconds: float,
    windowing: Windowing,
    sampling: Sampling,
    *,
    spread: bool = True,
) -> list[Window]:
    """The windows of a video, each with its frames.

    Spread, the T frames of a window are those nearest to T moments evenly spaced over it: "dense" sampling takes them
    from its start on (k W / T, k = 0 ... T - 1, for a window of W seconds), "segments" in the middle of each part
    ((k + 1/2) W / T). Of two frames equally near it is the earlier. So a window as long as 64 frames, and a model
    that was trained on 16 frames with a stride of 4, give the frames that `Sampling` picks from a video of these 64.
    Where a video ends before its window does, "dense" repeats the last frame, as for any short video.

    Not spread, the frames are those that `Sampling` picks from the window as if it were a whole video: by its stride,
    from the middle.

    Args:
        times_seconds: (num_frames,), when each frame is shown, ascending from 0.
        duration_seconds: of the video.
        windowing: length and hop.
        sampling: number, kind and stride of the frames.
        spread: see above.
    """
    starts = window_starts(duration_seconds, windowing)
    ends = [min(start + windowing.window_seconds, duration_seconds) for start in starts]
    if spread:
        frames = _spread(times_seconds, starts, ends, windowing.window_seconds, sampling)
    else:
        frames = _sampled(times_seconds, starts, ends, sampling)
    return [Window(*window) for window in zip(starts, ends, map(tuple, frames), strict=True)]


def _spread(
    times: npt.NDArray[np.float64],
    starts: Sequence[float],
    ends: Sequence[float],
    window_seconds: float,
    sampling: Sampling,
) -> list[list[int]]:
    first = np.array(starts)
    is_dense = sampling.kind == "dense"
    length = np.full_like(first, window_seconds) if is_dense else np.array(ends) - first
    steps = (np.arange(sampling.num_frames) + (0.0 if is_dense else 0.5)) / sampling.num_frames
    found: list[list[int]] = _nearest(times, first[:, None] + length[:, None] * steps).tolist()
    return found


def _sampled(
    times: npt.NDArray[np.float64], starts: Sequence[float], ends: Sequence[float], sampling: Sampling
) -> list[list[int]]:
    first = _nearest(times, np.array(starts))
    # The end of a window is where the frame after it begins; after the last frame that is the end of the video.
    after = _nearest(np.append(times, ends[-1]), np.array(ends))
    return [
        [int(start) + index for index in sampling.indices(max(1, int(stop - start)))[0]]
        for start, stop in zip(first, after, strict=True)
    ]


def _nearest(times: npt.NDArray[np.float64], moments: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Number of the frame nearest to each moment, the earlier of two equally near."""
    after = np.searchsorted(times, moments).clip(0, len(times) - 1)
    before = (after - 1).clip(0)
    is_before = moments - times[before] <= times[after] - moments + _EQUAL_SECONDS
    return np.where(is_before, before, after)
