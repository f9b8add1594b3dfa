"""What a .jsonl file of records already holds, so that an interrupted run can go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def read_done(path: Path) -> set[str]:
    """The inputs that have a record. A last line that an interruption tore is cut off the file.

    Args:
        path: a .jsonl file of records.

    Raises:
        UsageError: a line before the last is not a record.
    """
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    done: set[str] = set()
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            done.add(json.loads(line)["path"])
        except (ValueError, TypeError, KeyError):
            raise UsageError(
                f"line {number} of {str(path)!r} is not a record",
                "Give the file of an earlier run, or --overwrite.",
            ) from None
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return done
