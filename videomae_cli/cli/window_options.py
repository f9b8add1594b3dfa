"""Options of `classify` about windows, and the parser of their values."""

from __future__ import annotations

import re
from typing import Annotated

from ..errors import UsageError
from .options import option

WINDOWS = "Long videos"

Window = Annotated[
    str | None,
    option(panel=WINDOWS, metavar="SECONDS", help="Label a long video over time: windows of this length, in order."),
]
Hop = Annotated[
    str | None,
    option(panel=WINDOWS, metavar="SECONDS", help="From one window to the next. Default: half of --window."),
]
Threshold = Annotated[
    str | None, option(panel=WINDOWS, metavar="SCORE", help="Below this score a window has no label. Default 0.")
]
Hysteresis = Annotated[
    str | None,
    option(
        panel=WINDOWS,
        metavar="SCORE",
        help="A label holds until another scores higher by more than this. Default 0.1; 0: the best of each window.",
    ),
]


def parse_number(option: str, text: str) -> float:
    """`"2.1"` -> 2.1.

    Raises:
        UsageError: it is no number, 0 or more.
    """
    if not re.fullmatch(r"\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}", text.strip(), re.ASCII):
        raise UsageError(f"{option} is {text!r}", "Give a number, such as 2.1.")
    return float(text)
