"""What a person sees on stderr while a model is trained: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from .boundary import Interruption
    from .speaker import Speaker

PLAIN_INTERVAL_SECONDS = 10.0
ACCURACIES = ("top1", "top5", "mean_class")


class TrainingProgress:
    """A `Watcher` of the training loop.

    Args:
        speaker: says things on stderr, or not.
        interruption: the signals that came.
    """

    def __init__(self, speaker: Speaker, interruption: Interruption) -> None:
        self._speaker = speaker
        self._interruption = interruption
        self._bar: Progress | None = None
        self._last_line = -PLAIN_INTERVAL_SECONDS

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def stop_code(self) -> int:
        """See `Watcher`."""
        return self._interruption.exit_code

    def note(self, text: str) -> None:
        """See `Watcher`."""
        if self._bar:
            self._bar.stop()
        self._speaker.note(text)
        if self._bar:
            self._bar.start()

    def row(self, row: Mapping[str, float | int | str]) -> None:
        """See `Watcher`."""
        if self._speaker.quiet:
            return
        if "loss" not in row:  # of a validation
            found = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name in ACCURACIES)
            self.note(f"validation at step {row['step']}: {found}")
            return
        line = describe(row)
        if sys.stderr.isatty():
            self._show(row, line)
        elif time.monotonic() - self._last_line >= PLAIN_INTERVAL_SECONDS or not float(row["seconds_left"]):
            self._last_line = time.monotonic()
            self._speaker.note(f"step {row['step']}: {line}")

    def _show(self, row: Mapping[str, float | int | str], line: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]:.2f}"),
                BarColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.add_task("", total=float(row["step"]) + float(row["steps_left"]), epoch=0.0)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=float(row["step"]), description=line, epoch=row["epoch"])


def describe(row: Mapping[str, float | int | str]) -> str:
    """One line of metrics for people.

    Args:
        row: of metrics.jsonl.
    """
    left = timedelta(seconds=round(float(row["seconds_left"])))
    return (
        f"loss {row['loss']:.4f}, lr {row['lr']:.2e}, {row['clips_per_second']:.1f} clips/s, "
        f"{float(row['data_wait']):.0%} of the time waiting for data, {left} left"
    )
