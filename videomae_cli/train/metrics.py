"""metrics.jsonl: one line for every few steps and for every validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

Row = Mapping[str, float | int | str]


class MetricsLog:
    """Appends lines, and forgets those that a resumed run writes again.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut_after(self, step: int) -> None:
        """Remove the lines of later steps, and a torn one.

        Args:
            step: the last that stays.
        """
        kept = [row for row in self.rows() if int(row["step"]) <= step]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: Row) -> None:
        """Append one line.

        Args:
            row: with a "step".
        """
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, float]]:
        """All whole lines."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().split("\n")[:-1]  # a torn line has no end
        return [json.loads(line) for line in lines if line]
