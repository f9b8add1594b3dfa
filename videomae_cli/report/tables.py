"""Records as rows of a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from .text import encodable

CSV_COLUMNS = ("path", "status", "rank", "label", "score", "error")


def render_csv(rows: list[tuple[object, ...]]) -> str:
    """Rows as RFC 4180 text with Unix line ends; bytes of a name that are not UTF-8 become backslash escapes."""
    lines = []
    for row in rows:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\r\n").writerow(row)  # it quotes what is in its own line end
        lines.append(buffer.getvalue().removesuffix("\r\n") + "\n")
    return encodable("".join(lines))


def csv_rows(values: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """A row for each label of the record, rank 1 first; one row for a failure.

    Args:
        values: of a record.
    """
    path, status = values["path"], values["status"]
    if status == "error":
        return [(path, status, "", "", "", f"{values['kind']}: {values['message']}")]
    return [
        (path, status, rank, one["label"], f"{one['score']:.6f}", "")
        for rank, one in enumerate(values["predictions"], start=1)
    ]
