"""How a run over many videos went, for a person, in a few lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..inference.records import Failure
from .text import BAR_WIDTH, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..inference.records import Record
    from ..inference.times import Times

NUM_LABELS = 10  # of the histogram
_IN_LINE = 3  # labels of it where there are no bars


@dataclass
class Summary:
    """Counts records as they come.

    Attributes:
        num_skipped: inputs that an earlier run did.
        num_done: records.
        failures: how many records of each kind of failure.
        labels: for each label of how many videos it is the best.
    """

    num_skipped: int = 0
    num_done: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)

    @property
    def num_failed(self) -> int:
        """Records that are failures."""
        return self.failures.total()

    def add(self, record: Record) -> None:
        """Count one record."""
        self.num_done += 1
        if isinstance(record, Failure):
            self.failures[record.kind] += 1
        else:
            self.labels[record.label] += 1

    def render(self, seconds: float, times: Times | None = None, *, bars: bool = False) -> list[str]:
        """The lines to print.

        Args:
            seconds: that the run took.
            times: where they went.
            bars: draw the most frequent labels as bars; else the first few are named in one line.
        """
        counts = [f"{self.num_done - self.num_failed} classified", f"{self.num_failed} failed{self._kinds()}"]
        if self.num_skipped:
            counts.append(f"{self.num_skipped} skipped")
        speed = f"{self.num_done / seconds:.3g} clips/s" if seconds > 0 else ""
        lines = [", ".join([*counts, f"{seconds:.1f} s", *([speed] if speed else [])])]
        if times and (parts := _time_parts(times)):
            lines.append(f"time: {', '.join(parts)}")
        top = self.labels.most_common(NUM_LABELS)
        if len(self.labels) < 2:  # nothing to compare
            return lines
        return lines + (_bars(top) if bars else [_line(top, len(self.labels))])

    def _kinds(self) -> str:
        if not self.failures:
            return ""
        return f" ({', '.join(f'{count} {kind}' for kind, count in self.failures.most_common())})"


def _time_parts(times: Times) -> list[str]:
    named = {
        "decode": times.decode_seconds,
        "preprocess": times.preprocess_seconds,
        "forward": times.forward_seconds,
        "wait": times.wait_seconds,
    }
    return [f"{name} {seconds:.1f} s" for name, seconds in named.items()]


def _bars(top: Sequence[tuple[str, int]]) -> list[str]:
    """A bar for each label, the longest for the most frequent."""
    most = top[0][1]
    digits = len(str(most))
    return [
        f"{count:>{digits}}  {'━' * max(1, round(BAR_WIDTH * count / most)):<{BAR_WIDTH}}  {printable(label)}"
        for label, count in top
    ]


def _line(top: Sequence[tuple[str, int]], num_labels: int) -> str:
    named = ", ".join(f"{count} {printable(label)}" for label, count in top[:_IN_LINE])
    rest = num_labels - _IN_LINE
    return f"labels: {named}" + (f" and {rest} more" if rest > 0 else "")
