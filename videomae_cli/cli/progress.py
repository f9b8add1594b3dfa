"""What a person sees on stderr while something goes on: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..report.text import printable
from .boundary import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from rich.progress import Progress as Bar

_LINE_INTERVAL_SECONDS = 30.0


class Progress:
    """Tells how far one thing after the other is. Use it in a `with` statement.

    Args:
        quiet: tell nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Bar | None = None
        self._what = ""
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    @contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """Take the bar away while something else is written to the same terminal."""
        if self._bar:
            self._bar.stop()
        yield
        if self._bar:
            self._bar.start()

    def begin(self, what: str) -> None:
        """Something new goes on.

        Args:
            what: in a word or two.
        """
        self._what = printable(what)
        if self._quiet or not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = _make_bar()
            self._bar.start()
        self._bar.reset(self._bar.task_ids[0], total=None, description=self._what, amount="")

    def report(self, done: float, total: float, amount: str) -> None:
        """So much of it is done.

        Args:
            done: of `total`, in any unit.
            total: there is.
            amount: the same in words, such as "3 of 7".
        """
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total, amount=amount)
        elif not self._quiet and time.monotonic() - self._last_line > _LINE_INTERVAL_SECONDS:
            self._last_line = time.monotonic()
            say(f"{self._what}: {amount}")


class BatchProgress(Progress):
    """Counts inputs; of a single one nothing is told.

    Args:
        total: number of inputs.
        quiet: tell nothing.
    """

    def __init__(self, total: int, *, quiet: bool) -> None:
        super().__init__(quiet=quiet or total < 2)
        self._num_done, self._total = 0, total

    def __enter__(self) -> Self:
        self.begin("classifying")
        self._tell()
        return self

    def advance(self) -> None:
        """One more input is done."""
        self._num_done += 1
        self._tell()

    def _tell(self) -> None:
        self.report(self._num_done, self._total, f"{self._num_done} of {self._total}")


def _make_bar() -> Bar:
    """A bar that is gone from the terminal when it stops."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task("", total=None, amount="")
    return bar
