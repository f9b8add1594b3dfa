"""A table of text: aligned for the eye, or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .text import printable


def render_grid(titles: Sequence[str], rows: Sequence[Sequence[str]], is_number: Sequence[bool]) -> str:
    """Columns two blanks apart; numbers to the right, words to the left.

    Args:
        titles: of the columns.
        rows: a text for each column.
        is_number: of each column.
    """
    lines = [[printable(cell) for cell in row] for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, is_number, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def render_markdown(titles: Sequence[str], rows: Sequence[Sequence[str]], is_number: Sequence[bool]) -> str:
    """A table as GitHub's Markdown has it.

    Args:
        titles: of the columns.
        rows: a text for each column.
        is_number: of each column, right-aligned.
    """
    marks = ["---:" if number else "---" for number in is_number]
    first, *rest = ([printable(cell).replace("|", r"\|") for cell in line] for line in (titles, *rows))
    return "".join(f"| {' | '.join(line)} |\n" for line in (first, marks, *rest))
