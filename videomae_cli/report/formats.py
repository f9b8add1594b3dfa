"""The output formats of `classify`: what stands before, for, and after the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from ..inference.records import to_json
from .tables import CSV_COLUMNS, csv_rows, render_csv
from .text import render_lines, render_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..inference.records import Record

FormatName = Literal["text", "json", "jsonl", "csv"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)


class Renderer:
    """Turns records into the text of one format, piece by piece.

    The output is `head()`, then `record(r)` for each record, then `tail()`; it is valid also when no record came.

    Args:
        name: the format.
        console: for `text` on a terminal: where the tables will be shown. None writes tab-separated lines.
    """

    def __init__(self, name: FormatName, console: Console | None = None) -> None:
        self.name = name
        self._console = console
        self._num_records = 0

    def head(self) -> str:
        """What stands before the first record."""
        if self.name == "json":
            return "[\n"
        return render_csv([CSV_COLUMNS]) if self.name == "csv" else ""

    def record(self, record: Record) -> str:
        """The text of one record."""
        self._num_records += 1
        if self.name == "json":
            return ("" if self._num_records == 1 else ",") + to_json(record) + "\n"  # the comma leads the line
        if self.name == "jsonl":
            return to_json(record) + "\n"
        if self.name == "csv":
            return render_csv(csv_rows(record))
        return render_table(record, self._console) if self._console else render_lines(record)

    def tail(self) -> str:
        """What stands after the last record."""
        return "]\n" if self.name == "json" else ""
