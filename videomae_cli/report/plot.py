"""Bars in groups, through matplotlib, which is imported here and nowhere else."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence

from .text import printable

BAR_SPAN = 0.8  # of the distance between two groups
TITLE_WIDTH, GROUPS_WIDTH = 110, 90  # characters that find room above the bars and, all groups together, below


def render_bars(
    groups: Sequence[str], series: Mapping[str, Sequence[float | None]], title: str, unit: str, kind: str
) -> bytes:
    """A picture of some values.

    Args:
        groups: along the horizontal axis.
        series: for each kind of bar its height in every group; None leaves a gap.
        title: above.
        unit: of the heights.
        kind: "svg" or "png".

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # without pyplot, which keeps figures and a backend for the whole process

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    width = BAR_SPAN / max(len(series), 1)
    for number, (name, heights) in enumerate(series.items()):
        found = [(group, height) for group, height in enumerate(heights) if height is not None]
        shift = (number + 0.5) * width - BAR_SPAN / 2
        bars = axes.bar([group + shift for group, _ in found], [height for _, height in found], width, label=name)
        axes.bar_label(bars, fmt="%.4g", fontsize="x-small")
    # Names of files may hold what matplotlib cannot draw, and dollars, between which it would read formulas.
    names = [printable(group) for group in groups]
    axes.set_xticks(range(len(names)), names, parse_math=False)
    if sum(map(len, names)) > GROUPS_WIDTH:
        figure.autofmt_xdate(rotation=30)
    axes.set_ylabel(unit)
    lines = [textwrap.fill(printable(line), TITLE_WIDTH) for line in title.splitlines()]
    axes.set_title("\n".join(lines), fontsize="small", parse_math=False)
    if series:
        figure.legend(loc="outside lower center", ncols=4, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()
