"""`videomae classify --report`: the option, and the page as one more output of a run."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from .options import OUTPUT, option
from .output import RecordOutput

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..inference.look import Look
    from .plan import Plan

Report = Annotated[
    Path | None,
    option(
        panel=OUTPUT,
        metavar="FILE",
        help="Write an HTML page too: a card with thumbnails for each video, filters, failures, timelines.",
    ),
]


def open_page(path: Path | None, plan: Plan, look: Look, model: str) -> AbstractContextManager[RecordOutput | None]:
    """The page, for `RecordOutput`; nothing where none is asked for.

    Args:
        path: of the page.
        plan: what there is to do.
        look: how each video is looked at.
        model: as it was named.
    """
    if path is None:
        return nullcontext()
    from .. import __version__
    from ..report.html import PageRenderer

    about = {"Model": model, "Sampling": _sampling(look)}
    about |= {"Begun": time.strftime("%Y-%m-%d %H:%M"), "By": f"videomae {__version__}"}
    renderer = PageRenderer("Video labels", about, num_inputs=len(plan.items), num_skipped=plan.num_skipped)
    return RecordOutput(renderer, path)


def _sampling(look: Look) -> str:
    if look.windowing:
        window = look.windowing
        how = f"windows of {window.window_seconds:g} s every {window.hop_seconds:g} s"
        return f"{how}, threshold {window.threshold:g}, hysteresis {window.hysteresis:g}"
    stride = "stride of the checkpoint" if look.stride is None else f"stride {look.stride}"
    return f"{look.views[0]}x{look.views[1]} views, {stride}"
