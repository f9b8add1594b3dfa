"""metrics.jsonl: one line for every few steps and for every validation; TensorBoard gets the same where it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MachineError
from ..weights.write import write_atomically

Row = Mapping[str, float | int | str]


class MetricsLog:
    """Appends lines, and forgets those that a resumed run writes again.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._board: Any = None

    def cut_after(self, step: int) -> None:
        """Begin to write after a step: remove the lines of later ones, and a torn one.

        Args:
            step: the last that stays.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # it is not installed
            pass
        else:
            self._board = SummaryWriter(self.path.parent / "tensorboard", purge_step=step + 1)
        kept = [row for row in self.rows() if row["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def write(self, row: Row) -> None:
        """Append one line. What is no number becomes null: JSON has no NaN.

        Args:
            row: with a "step".

        Raises:
            MachineError: the disk is full, or the like.
        """
        known = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(known) + "\n")
        except OSError as error:
            hint = "Free some space, and go on with --resume."
            raise MachineError(f"cannot write {self.path}: {error.strerror}", hint) from None
        for key, value in known.items():
            if self._board and key != "step" and value is not None:
                self._board.add_scalar(key, value, row["step"])
        if self._board:
            self._board.flush()

    def rows(self) -> list[dict[str, float]]:
        """All whole lines."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().split("\n")[:-1]  # a torn line has no end
        return [json.loads(line) for line in lines if line]
