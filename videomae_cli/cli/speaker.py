"""What the commands say on stderr, beside the data."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from ..inference.records import Failure
from ..report.text import printable
from .boundary import say, say_error

if TYPE_CHECKING:
    from rich.console import Console

    from ..inference.classifier import VideoClassifier
    from ..inference.records import Record
    from ..inference.times import Times
    from ..report.summary import Summary


def stdout_terminal() -> Console | None:
    """The terminal that stdout is; None where it is a pipe or a file."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console()


class Speaker:
    """Says on stderr what is not data.

    Args:
        quiet: say nothing but errors.
        verbose: say also what is loaded and which frames are seen.
        debug: show the traceback of an internal error.
    """

    def __init__(self, *, quiet: bool, verbose: bool, debug: bool) -> None:
        self.quiet = quiet
        self.debug = debug
        self.verbose = verbose and not quiet

    def note(self, text: str) -> None:
        """Say something, unless quiet."""
        if not self.quiet:
            say(printable(text))

    def summarize(self, summary: Summary, seconds: float, times: Times | None = None) -> None:
        """How the run went as a whole, with bars where a person looks at it."""
        for line in summary.render(seconds, times, bars=sys.stderr.isatty()):
            self.note(line)

    def introduce(self, classifier: VideoClassifier) -> None:
        """What was loaded, and what the user should know of it."""
        for warning in classifier.warnings:
            self.note(f"warning: {warning}")
        if self.verbose:
            config = classifier.model.config
            size = f"width {config.hidden_size}, {config.num_hidden_layers} layers, {config.num_frames} frames"
            self.note(f"model: {size}, {len(classifier.labels)} labels, {classifier.dtype} on {classifier.device}")

    def tell(self, record: Record) -> None:
        """The failure, the warnings, and with -v the frames of one record."""
        if isinstance(record, Failure):
            if self.debug and record.cause:
                say("".join(traceback.format_exception(record.cause)).rstrip())
            say_error(printable(record.message), printable(record.hint))
            return
        path = printable(record.path)
        for warning in record.warnings:
            self.note(f"warning: {path}: {warning}")
        if self.verbose:
            for frames in record.sampling.frames:
                self.note(f"{path}: frames {' '.join(map(str, frames))}")
