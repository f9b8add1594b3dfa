"""The segments of long videos: as rows, as tab-separated lines, as a table for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..inference.records import Failure
from ..inference.timeline import WindowedPrediction
from .subtitles import clock
from .text import bar, printable

if TYPE_CHECKING:
    from rich.console import Console

    from ..inference.records import Record
    from ..inference.timeline import Segment

CSV_COLUMNS = ("path", "status", "start_seconds", "end_seconds", "label", "score", "error")
NO_LABEL = "no label"


def csv_rows(record: Record) -> list[tuple[object, ...]]:
    """A row for each segment; label and score are empty where there is no label. One row for a failure."""
    if isinstance(record, Failure):
        return [(record.path, record.status, "", "", "", "", f"{record.kind}: {record.message}")]
    return [(record.path, record.status, *_values(segment, score_digits=6), "") for segment in _segments(record)]


def render_lines(record: Record) -> str:
    """`path<TAB>start<TAB>end<TAB>label<TAB>score` for each segment, in seconds; nothing for a failure."""
    path = printable(record.path)
    return "".join(
        "\t".join((path, *map(printable, _values(segment, score_digits=4)))) + "\n" for segment in _segments(record)
    )


def render_table(record: Record, console: Console) -> str:
    """A line for each segment with its times, its label and a score bar.

    Args:
        record: what is said of one input.
        console: where it will be shown; nothing is printed to it here.
    """
    if isinstance(record, Failure):
        return ""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for segment in _segments(record):
        start, end = (_short_clock(seconds) for seconds in (segment.start_seconds, segment.end_seconds))
        times = Text(f"{start}-{end}")
        if segment.label is None:
            table.add_row(times, "", "", Text(NO_LABEL, style="bright_black"))
        else:
            score = segment.label.score
            table.add_row(times, f"{score:.4f}", bar(score), Text(printable(segment.label.label)))
    with console.capture() as capture:
        console.print(Text(printable(record.path), style="bold"))
        console.print(table)
        console.print()
    return capture.get()


def _short_clock(seconds: float) -> str:
    """`00:01:02.3`: tenths of a second are enough to look at."""
    return clock(round(seconds * 10) * 100)[:-2]


def _values(segment: Segment, score_digits: int) -> tuple[str, str, str, str]:
    label = (segment.label.label, f"{segment.label.score:.{score_digits}f}") if segment.label else ("", "")
    return (f"{segment.start_seconds:.3f}", f"{segment.end_seconds:.3f}", *label)


def _segments(record: Record) -> tuple[Segment, ...]:
    return record.segments if isinstance(record, WindowedPrediction) else ()
