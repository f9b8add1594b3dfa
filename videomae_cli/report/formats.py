"""The output formats of `classify`: what stands before, for, and after the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from ..inference.records import values_to_json
from . import timeline
from .parquet import ParquetRenderer
from .subtitles import VTT_HEAD, render_srt, render_vtt
from .tables import CSV_COLUMNS, csv_rows, render_csv
from .text import render_lines, render_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from ..inference.records import Record

FormatName = Literal["text", "json", "jsonl", "csv", "parquet", "srt", "vtt"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
SUBTITLES: tuple[FormatName, ...] = ("srt", "vtt")
"""Of one video that was cut into windows."""


class Renderer:
    """Turns records into the text of one format, piece by piece.

    The output is `head()`, then `record(r)` for each record, then `tail()`; it is valid also when no record came.

    Attributes:
        ends_anywhere: `tail()` makes the output whole also when the text of the last record was lost.

    Args:
        name: the format.
        console: for `text` on a terminal: where the tables will be shown. None writes tab-separated lines.
        by_segment: text and CSV tell the segments of videos that were cut into windows.
    """

    ends_anywhere = True

    def __init__(self, name: FormatName, console: Console | None = None, *, by_segment: bool = False) -> None:
        self.name = name
        self._console = console
        self._by_segment = by_segment
        self._num_records = 0

    def head(self) -> str:
        """What stands before the first record."""
        if self.name == "json":
            return "[\n"
        if self.name == "csv":
            return render_csv([timeline.CSV_COLUMNS if self._by_segment else CSV_COLUMNS])
        return VTT_HEAD if self.name == "vtt" else ""

    def record(self, record: Record, more: Mapping[str, Any] | None = None) -> str:
        """The text of one record.

        Args:
            record: what is said of one input.
            more: what JSON lines say besides, of the file and of the run.
        """
        if self.name == "text":
            if self._by_segment:
                values = record.to_dict()
                return timeline.render_table(values, self._console) if self._console else timeline.render_lines(values)
            return render_table(record, self._console) if self._console else render_lines(record)
        more = more if more and self.name == "jsonl" else {}
        return self.values({**record.to_dict(), **more})

    def values(self, values: Mapping[str, Any]) -> str:
        """The text of a record that is plain values; not for `text`.

        Args:
            values: as `to_dict` gives them.
        """
        self._num_records += 1
        if self.name == "json":
            return ("" if self._num_records == 1 else ",") + values_to_json(values) + "\n"  # the comma leads the line
        if self.name == "jsonl":
            return values_to_json(values) + "\n"
        if self.name == "srt":
            return render_srt(values)
        if self.name == "vtt":
            return render_vtt(values)
        assert self.name == "csv"
        return render_csv(timeline.csv_rows(values) if self._by_segment else csv_rows(values))

    def tail(self) -> str:
        """What stands after the last record."""
        return "]\n" if self.name == "json" else ""


def make_renderer(
    name: FormatName, console: Console | None = None, *, by_segment: bool = False
) -> Renderer | ParquetRenderer:
    """What turns records into a format: text, or bytes for parquet.

    Args:
        name: the format.
        console: for `text` on a terminal, see `Renderer`.
        by_segment: see `Renderer`.

    Raises:
        UsageError: a package that it needs is not installed.
    """
    return ParquetRenderer() if name == "parquet" else Renderer(name, console, by_segment=by_segment)
