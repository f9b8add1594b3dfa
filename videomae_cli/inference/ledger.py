"""What a .jsonl file of records already holds, so that an interrupted run can go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_BEGINNING = b'{"path": "'  # of every record


def read_done(path: Path) -> dict[str, str]:
    """The inputs that have a record. A last record that an interruption tore is cut off the file.

    Args:
        path: a .jsonl file of records.

    Returns:
        Input -> status of its record, "ok" or "error".

    Raises:
        UsageError: it holds something else.
    """
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    torn = data[len(whole) :].rstrip(b"\0")  # some file systems fill up with zeros after a crash
    lines = whole.splitlines()
    records = [_path_and_status(line) for line in lines]
    if torn[: len(_BEGINNING)] != _BEGINNING[: len(torn)]:
        records.append(None)
    if None in records:
        number = 1 + records.index(None)
        raise UsageError(
            f"line {number} of {str(path)!r} is not a record", "Give the file of an earlier run, or --overwrite."
        )
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return dict(record for record in records if record)


def _path_and_status(line: bytes) -> tuple[str, str] | None:
    """What a line is the record of; None where it is no record."""
    try:
        record = json.loads(line)
        path, status = record["path"], record["status"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return (path, status) if isinstance(path, str) and status in ("ok", "error") else None
