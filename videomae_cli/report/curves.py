"""How a training went: loss, accuracy and learning rate over steps, by matplotlib, imported here when it is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .svg import svg_bytes

# Each panel: what stands beside its axis, and the keys of the lines in it with their names.
_PANELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("loss", {"loss": "loss"}),
    ("validation accuracy", {"top1": "top-1", "top5": "top-5", "mean_class": "mean of classes"}),
    ("learning rate", {"lr": "learning rate"}),
)
_INCHES = (8.0, 2.5)  # of a panel


def curves_svg(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A panel for each of loss, validation accuracy and learning rate that the rows tell of.

    Args:
        rows: of metrics.jsonl, each with "step" and some of "loss", "lr", "top1", "top5" and "mean_class". Values that
            are None or not finite leave a gap.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    panels = [(title, lines) for title, names in _PANELS if (lines := _lines(rows, names))]
    num_rows = max(len(panels), 1)
    figure = Figure(figsize=(_INCHES[0], _INCHES[1] * num_rows), layout="constrained")
    all_axes = figure.subplots(num_rows, sharex=True, squeeze=False)[:, 0]
    for axes, (title, lines) in zip(all_axes, panels, strict=False):  # an empty one where there is nothing to draw
        for name, points in lines.items():
            steps, values = zip(*points, strict=True)
            few = len(steps) <= 50  # a line through one point cannot be seen
            axes.plot(steps, values, label=name, linewidth=1, marker="." if few else "")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend(fontsize="small")
    all_axes[-1].set_xlabel("step")
    return svg_bytes(figure)


def _lines(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, list[tuple[int, float]]]:
    """The points (step, value) of each line that has any; a value that is no number is drawn as a gap."""
    lines = {}
    for key, name in names.items():
        points = [(row["step"], _number(row[key])) for row in rows if key in row]
        if any(math.isfinite(value) for _, value in points):
            lines[name] = points
    return lines


def _number(value: float | None) -> float:
    return math.nan if value is None else value
