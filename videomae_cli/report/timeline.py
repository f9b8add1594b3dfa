"""The segments of long videos: as rows, as tab-separated lines, as a table for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .subtitles import clock
from .text import bar, printable

if TYPE_CHECKING:
    from rich.console import Console

CSV_COLUMNS = ("path", "status", "start_seconds", "end_seconds", "label", "score", "error")
NO_LABEL = "no label"


def csv_rows(values: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """A row for each segment; label and score are empty where there is no label. One row for a failure.

    Args:
        values: of a record.
    """
    path, status = values["path"], values["status"]
    if status == "error":
        return [(path, status, "", "", "", "", f"{values['kind']}: {values['message']}")]
    return [(path, status, *_columns(segment, score_digits=6), "") for segment in values["segments"]]


def render_lines(values: Mapping[str, Any]) -> str:
    """`path<TAB>start<TAB>end<TAB>label<TAB>score` for each segment, in seconds; nothing for a failure.

    Args:
        values: of a record.
    """
    path = printable(values["path"])
    rows = [(path, *map(printable, _columns(segment, score_digits=4))) for segment in values.get("segments", ())]
    return "".join("\t".join(row) + "\n" for row in rows)


def render_table(values: Mapping[str, Any], console: Console) -> str:
    """A line for each segment with its times, its score as a bar, and its label; nothing for a failure.

    Args:
        values: of a record.
        console: where it will be shown; nothing is printed to it here.
    """
    if values["status"] == "error":
        return ""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for segment in values["segments"]:
        times = Text(f"{_short_clock(segment['start_seconds'])}-{_short_clock(segment['end_seconds'])}")
        label, score = segment["label"], segment["score"]
        if label is None:
            table.add_row(times, "", "", Text(NO_LABEL, style="bright_black"))
        else:
            table.add_row(times, f"{score:.4f}", bar(score), Text(printable(label)))
    with console.capture() as capture:
        console.print(Text(printable(values["path"]), style="bold"))
        console.print(table)
        console.print()
    return capture.get()


def _short_clock(seconds: float) -> str:
    """`00:01:02.3`: tenths of a second are enough to look at."""
    return clock(round(seconds * 10) * 100)[:-2]


def _columns(segment: Mapping[str, Any], score_digits: int) -> tuple[str, str, str, str]:
    label, score = segment["label"], segment["score"]
    told = ("", "") if label is None else (label, f"{score:.{score_digits}f}")
    return (f"{segment['start_seconds']:.3f}", f"{segment['end_seconds']:.3f}", *told)
