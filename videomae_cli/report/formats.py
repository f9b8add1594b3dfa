"""The output formats of `classify`: what stands before, for, and after the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from ..inference.records import to_json
from . import timeline
from .subtitles import VTT_HEAD, render_srt, render_vtt
from .tables import CSV_COLUMNS, csv_rows, render_csv
from .text import render_lines, render_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..inference.records import Record

FormatName = Literal["text", "json", "jsonl", "csv", "srt", "vtt"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
SUBTITLES: tuple[FormatName, ...] = ("srt", "vtt")
"""Of one video that was cut into windows."""


class Renderer:
    """Turns records into the text of one format, piece by piece.

    The output is `head()`, then `record(r)` for each record, then `tail()`; it is valid also when no record came.

    Args:
        name: the format.
        console: for `text` on a terminal: where the tables will be shown. None writes tab-separated lines.
        by_segment: text and CSV tell the segments of videos that were cut into windows.
    """

    def __init__(self, name: FormatName, console: Console | None = None, *, by_segment: bool = False) -> None:
        self.name = name
        self._console = console
        self._by_segment = by_segment
        self._num_records = self._num_labelled = 0

    def head(self) -> str:
        """What stands before the first record."""
        if self.name == "json":
            return "[\n"
        if self.name == "csv":
            return render_csv([timeline.CSV_COLUMNS if self._by_segment else CSV_COLUMNS])
        return VTT_HEAD if self.name == "vtt" else ""

    def record(self, record: Record) -> str:
        """The text of one record."""
        self._num_records += 1
        self._num_labelled += record.status == "ok"
        if self.name == "json":
            return ("" if self._num_records == 1 else ",") + to_json(record) + "\n"  # the comma leads the line
        if self.name == "jsonl":
            return to_json(record) + "\n"
        if self.name == "srt":
            return render_srt(record)
        if self.name == "vtt":
            return render_vtt(record)
        if self._by_segment:
            return self._segments(record)
        if self.name == "csv":
            return render_csv(csv_rows(record))
        return render_table(record, self._console) if self._console else render_lines(record)

    @property
    def has_content(self) -> bool:
        """False for subtitles of a video that failed or was not finished: no file is better than an empty one."""
        return self._num_labelled > 0 or self.name not in SUBTITLES

    def tail(self) -> str:
        """What stands after the last record."""
        return "]\n" if self.name == "json" else ""

    def _segments(self, record: Record) -> str:
        if self.name == "csv":
            return render_csv(timeline.csv_rows(record))
        return timeline.render_table(record, self._console) if self._console else timeline.render_lines(record)
