"""A figure of matplotlib as the bytes of an SVG file: the same figure, the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg_bytes(figure: Figure) -> bytes:
    """Draw a figure.

    Args:
        figure: made without pyplot, which keeps figures and a backend for the whole process.
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "videomae"}):  # else names inside are random
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
