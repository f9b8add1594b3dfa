"""Labels over time: what is said of each window of a long video, and the segments that windows of one label make.

No torch here, as in `records.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from .records import Prediction, ScoredLabel

if TYPE_CHECKING:
    from .windows import Windowing

_DIGITS = 3  # of seconds, in records: milliseconds, as subtitles have them


@dataclass(frozen=True)
class ScoredWindow:
    """What a model says of one window.

    Attributes:
        start_seconds: from the first frame of the video.
        end_seconds: likewise.
        predictions: the top labels, best first.
    """

    start_seconds: float
    end_seconds: float
    predictions: tuple[ScoredLabel, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "start_seconds": round(self.start_seconds, _DIGITS),
            "end_seconds": round(self.end_seconds, _DIGITS),
            "predictions": [p.to_dict() for p in self.predictions],
        }


@dataclass(frozen=True)
class Segment:
    """A stretch of one label, or of none.

    Attributes:
        start_seconds: from the first frame of the video.
        end_seconds: likewise; segments follow each other and do not overlap.
        label: the label with its mean score over the windows; None where no label reaches the threshold.
    """

    start_seconds: float
    end_seconds: float
    label: ScoredLabel | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values; label, index and score are null where there is no label."""
        nothing = {"label": None, "index": None, "score": None}
        return {
            "start_seconds": round(self.start_seconds, _DIGITS),
            "end_seconds": round(self.end_seconds, _DIGITS),
            **(self.label.to_dict() if self.label else nothing),
        }


@dataclass(frozen=True)
class WindowedPrediction(Prediction):
    """What a model says of a long video. Its `predictions` are the labels by mean score over all windows.

    Attributes:
        windows: in order.
        segments: in order, from the start of the first window to the end of the last.
        windowing: how the video was cut and the labels were made.
    """

    windows: tuple[ScoredWindow, ...] = ()
    segments: tuple[Segment, ...] = ()
    windowing: Windowing | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, in the order in which it is written."""
        record = super().to_dict()
        if self.windowing:
            record["sampling"] |= asdict(self.windowing)
        timeline = {
            "windows": [window.to_dict() for window in self.windows],
            "segments": [segment.to_dict() for segment in self.segments],
        }
        before = {key: record.pop(key) for key in ("path", "status", "predictions")}
        return before | timeline | record


class LabelHolder:
    """Tells the label of window after window: hysteresis, so that labels of about equal scores do not flicker.

    A label holds until another scores higher by more than `hysteresis`, or until it scores less than `threshold`
    itself. Then the best label takes its place; if that scores less than `threshold`, there is none.

    Args:
        threshold: lowest score of a label.
        hysteresis: 0 takes the best label of each window.
    """

    def __init__(self, threshold: float, hysteresis: float) -> None:
        self._threshold, self._hysteresis = threshold, hysteresis
        self._held: int | None = None

    def next(self, scores: Sequence[float]) -> int | None:
        """The index of the label of the next window, None for no label.

        Args:
            scores: of all labels, in this window.
        """
        held = self._held
        best = max(range(len(scores)), key=scores.__getitem__)
        if held is None or scores[held] < self._threshold or scores[best] > scores[held] + self._hysteresis:
            self._held = best if scores[best] >= self._threshold else None
        return self._held


def merge_windows(windows: Sequence[ScoredWindow], held: Sequence[ScoredLabel | None]) -> tuple[Segment, ...]:
    """Neighbouring windows of the same label become one segment.

    Where two windows overlap, the border between their labels is the middle of what they share; where there is a gap
    between them, it belongs to neither, unless their label is the same.

    Args:
        windows: in order, at least one.
        held: the label of each with its score there, None for no label.
    """
    starts, ends = [window.start_seconds for window in windows], [window.end_seconds for window in windows]
    for place, (before, after) in enumerate(pairwise(windows)):
        if before.end_seconds > after.start_seconds:
            ends[place] = starts[place + 1] = (before.end_seconds + after.start_seconds) / 2
    segments = []
    for _, group in groupby(range(len(windows)), key=lambda k: label.index if (label := held[k]) else None):
        places = list(group)
        labels = [label for k in places if (label := held[k])]
        mean = None
        if labels:
            mean = ScoredLabel(labels[0].label, labels[0].index, sum(label.score for label in labels) / len(labels))
        segments.append(Segment(starts[places[0]], ends[places[-1]], mean))
    return tuple(segments)
