"""Records as rows of a table."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from ..inference.records import Failure

if TYPE_CHECKING:
    from ..inference.records import Record

CSV_COLUMNS = ("path", "status", "rank", "label", "score", "error")


def render_csv(rows: list[tuple[object, ...]]) -> str:
    """Rows as RFC 4180 text with Unix line ends; bytes of a name that are not UTF-8 become backslash escapes."""
    lines = []
    for row in rows:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\r\n").writerow(row)  # it quotes what is in its own line end
        lines.append(buffer.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")


def csv_rows(record: Record) -> list[tuple[object, ...]]:
    """A row for each label of the record, rank 1 first; one row for a failure."""
    if isinstance(record, Failure):
        return [(record.path, record.status, "", "", "", f"{record.kind}: {record.message}")]
    return [
        (record.path, record.status, rank, p.label, f"{p.score:.6f}", "")
        for rank, p in enumerate(record.predictions, start=1)
    ]
