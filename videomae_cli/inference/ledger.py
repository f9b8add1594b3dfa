"""What a .jsonl file of records already holds, so that an interrupted run can go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_BEGINNING = b'{"path": "'  # of every record


def read_done(path: Path) -> set[str]:
    """The inputs that have a record. A last record that an interruption tore is cut off the file.

    Args:
        path: a .jsonl file of records.

    Raises:
        UsageError: it holds something else.
    """
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    torn = data[len(whole) :].rstrip(b"\0")  # some file systems fill up with zeros after a crash
    lines = whole.splitlines()
    done = {_path_of(line) for line in lines}
    if None in done or torn[: len(_BEGINNING)] != _BEGINNING[: len(torn)]:
        number = 1 + next((k for k, line in enumerate(lines) if _path_of(line) is None), len(lines))
        raise UsageError(
            f"line {number} of {str(path)!r} is not a record", "Give the file of an earlier run, or --overwrite."
        )
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return {name for name in done if name is not None}


def _path_of(line: bytes) -> str | None:
    """The input that a line is the record of; None where it is no record."""
    try:
        record = json.loads(line)
        is_record = record["status"] in ("ok", "error") and isinstance(record["path"], str)
        return record["path"] if is_record else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
