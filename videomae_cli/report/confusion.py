"""Which classes are taken for which: a table, and a picture by matplotlib, which is imported here when it is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from .svg import svg_bytes
from .tables import render_csv
from .text import printable

_MAX_NAMED = 110  # classes; the names of more do not fit beside the picture
_MAX_COUNTED = 20  # classes; the counts of more do not fit into the cells
_LONGEST_NAME = 24  # characters
_CELL_INCHES, _LEAST_INCHES, _MOST_INCHES = 0.28, 3.0, 12.0


def confusion_csv(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """A table with a row for each true class and a column for each predicted one.

    Args:
        matrix: numbers of videos; rows truth, columns prediction.
        labels: names of the classes.
    """
    rows: list[tuple[object, ...]] = [("truth \\ prediction", *labels)]
    rows += [(label, *counts) for label, counts in zip(labels, matrix, strict=True)]
    return render_csv(rows)


def confusion_svg(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> bytes:
    """A picture: the darker a cell, the larger the part of the row's videos that it has.

    Names are shown of up to 110 classes, counts of up to 20; of more, the numbers of classes along the sides.

    Args:
        matrix: numbers of videos; rows truth, columns prediction.
        labels: names of the classes.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    num_classes = len(labels)
    side = min(max(num_classes * _CELL_INCHES, _LEAST_INCHES), _MOST_INCHES)
    figure = Figure(figsize=(side + 2.5, side + 1.5), layout="constrained")
    axes = figure.subplots()
    parts = [[count / max(sum(row), 1) for count in row] for row in matrix]
    image = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1, interpolation="none")  # every cell a pixel, as it is
    figure.colorbar(image, label="part of the class's videos", shrink=0.8)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    if num_classes <= _MAX_NAMED:
        names = [_short(label) for label in labels]
        axes.set_xticks(range(num_classes), names, rotation=90, fontsize="x-small", parse_math=False)
        axes.set_yticks(range(num_classes), names, fontsize="x-small", parse_math=False)
    if num_classes <= _MAX_COUNTED:
        for row, counts in enumerate(matrix):
            for column, count in enumerate(counts):
                colour = "white" if parts[row][column] > 0.5 else "black"
                if count:
                    axes.text(column, row, str(count), ha="center", va="center", fontsize="x-small", color=colour)
    return svg_bytes(figure)


def _short(label: str) -> str:
    name = printable(label)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
