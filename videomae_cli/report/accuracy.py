"""Accuracies as text: a table for a person, tab-separated lines for a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .text import printable

if TYPE_CHECKING:
    from rich.console import Console

ClassRow = tuple[str, int, float]  # label, number of videos, accuracy


def render_accuracy_lines(totals: Mapping[str, float], per_class: Sequence[ClassRow]) -> str:
    """`name<TAB>value` for each total, an empty line, `label<TAB>videos<TAB>accuracy` for each class.

    Args:
        totals: whole numbers are counts, others parts in [0, 1].
        per_class: a row for each class.
    """
    lines = [f"{name}\t{_number(value)}" for name, value in totals.items()]
    lines += ["", *(f"{printable(label)}\t{num}\t{accuracy:.4f}" for label, num, accuracy in per_class)]
    return "".join(f"{line}\n" for line in lines)


def render_accuracy_table(totals: Mapping[str, float], per_class: Sequence[ClassRow], console: Console) -> str:
    """The same as two small tables, as wide and as colourful as `console` allows.

    Args:
        totals: whole numbers are counts, others parts in [0, 1].
        per_class: a row for each class.
        console: where it will be shown; nothing is printed to it here.
    """
    from rich.table import Table
    from rich.text import Text

    above, below = Table.grid(padding=(0, 2)), Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in totals.items():
        above.add_row(name, Text(_number(value), style="bold"))
    for title in ("accuracy", "videos"):
        below.add_column(title, justify="right")
    below.add_column("class")
    for label, num, accuracy in per_class:
        below.add_row(f"{accuracy:.4f}", str(num), Text(printable(label)))
    with console.capture() as capture:
        console.print(above)
        console.print()
        console.print(below)
    return capture.get()


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"
