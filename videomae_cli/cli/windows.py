"""`videomae classify --window`: what its options mean, and the loop over long videos."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..inference.records import Failure
from ..report.formats import SUBTITLES
from ..report.subtitles import clock
from ..report.summary import Summary
from ..report.text import printable
from . import options as opt
from .boundary import Interruption, say
from .plan import SOME_FAILED
from .progress import PLAIN_INTERVAL_SECONDS
from .window_options import parse_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress

    from ..inference.classifier import VideoClassifier
    from ..inference.decode_processes import DecodeProcesses
    from ..inference.look import Look
    from ..inference.records import Record
    from ..inference.windows import Windowing
    from ..report.formats import FormatName
    from .output import RecordOutput
    from .plan import Plan
    from .speaker import Speaker


def parse_windowing(
    window: str | None, hop: str | None, threshold: str | None, hysteresis: str | None, views: str
) -> Windowing | None:
    """The options about windows; None without --window.

    Raises:
        UsageError: one is no number in range, or does not go with the others.
    """
    if window is None:
        for name, value in (("--hop", hop), ("--threshold", threshold), ("--hysteresis", hysteresis)):
            if value is not None:
                raise UsageError(f"{name} is about windows", "Say how long they are with --window SECONDS.")
        return None
    from ..inference.windows import Windowing

    if opt.parse_views(views) != (1, 1):
        raise UsageError("--window and --views exclude each other", "A window is one view of its part of the video.")
    window_seconds = opt.parse_seconds("--window", window)
    options = {"threshold": threshold, "hysteresis": hysteresis}
    return Windowing(
        window_seconds,
        window_seconds / 2 if hop is None else opt.parse_seconds("--hop", hop),
        **{name: parse_number(f"--{name}", text) for name, text in options.items() if text is not None},
    )


def check_windows(format_: FormatName, items: Sequence[str | Failure], look: Look, *, ray: bool) -> None:
    """Refuse what does not tell or do what is asked for. Subtitles are of windows, and of one video.

    Args:
        format_: of the output.
        items: that there is to do.
        look: with or without windows.
        ray: whether the work is to be shared by Ray.

    Raises:
        UsageError: they do not go together.
    """
    if ray and look.windowing:
        raise UsageError("--ray and --window exclude each other", "Share long videos with --shard.")
    if format_ == "parquet" and look.windowing:
        raise UsageError("parquet has no column for windows", "Write .jsonl, .csv, .srt or .vtt.")
    if format_ not in SUBTITLES:
        return
    if look.windowing is None:
        raise UsageError(f"{format_} shows labels over time", "Add --window SECONDS, such as --window 2.1 --hop 1.")
    if len(items) > 1:
        loop = f'for f in *.mp4; do videomae classify "$f" --window 2.1 -o "${{f%.*}}.{format_}"; done'
        raise UsageError(f"{format_} is of one video, and there are {len(items)}", f"Use a loop: {loop}")


def classify_long_videos(
    classifier: VideoClassifier,
    plan: Plan,
    look: Look,
    speaker: Speaker,
    processes: DecodeProcesses | None,
    out: RecordOutput,
) -> int:
    """Label one video after the other, write, tell; returns the exit code. A signal ends it after the next window."""
    summary = Summary(num_skipped=plan.num_skipped)
    start = time.monotonic()
    with Interruption() as interruption, WindowProgress(quiet=speaker.quiet) as progress:
        for item in plan.items:
            record = _classify_item(classifier, item, look, processes, interruption, progress)
            if record is None:
                break
            with progress.out_of_the_way():
                out.write(record)
                speaker.tell(record)
            summary.add(record)
            if interruption.exit_code:
                break
    if plan.num_inputs > 1:
        speaker.summarize(summary, time.monotonic() - start)
    if interruption.exit_code and summary.num_done < len(plan.items):
        speaker.note(f"interrupted: {len(plan.items) - summary.num_done} of {len(plan.items)} inputs are left")
        return interruption.exit_code
    return SOME_FAILED if summary.num_failed else 0


def _classify_item(
    classifier: VideoClassifier,
    item: str | Failure,
    look: Look,
    processes: DecodeProcesses | None,
    interruption: Interruption,
    progress: WindowProgress,
) -> Record | None:
    """The record of one video; None where a signal came before it was known."""
    from ..inference.long_video import Step, classify_windows

    if isinstance(item, Failure):
        return item
    progress.begin(item)
    with closing(classify_windows(classifier, item, look, processes=processes, halt=interruption.halt)) as steps:
        for step in steps:
            if not isinstance(step, Step):
                return step
            progress.advance_to(step.window.end_seconds, step.duration_seconds)
    return None


class WindowProgress:
    """Shows how far one video after the other is labelled: a bar on a terminal, else a line now and then.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._name = ""
        self._bar: Progress | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> WindowProgress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[clock]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.add_task("", total=None, clock="")
            self._bar.start()
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

    def begin(self, path: str) -> None:
        """The next video.

        Args:
            path: its name.
        """
        self._name = printable(os.path.basename(path))
        if self._bar:
            self._bar.reset(self._bar.task_ids[0], total=None, description=f"labelling {self._name}", clock="")

    def advance_to(self, done_seconds: float, duration_seconds: float) -> None:
        """So much of the video is labelled.

        Args:
            done_seconds: from its start.
            duration_seconds: of the whole.
        """
        place = f"{_clock(done_seconds)} of {_clock(duration_seconds)}"
        if self._bar:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done_seconds, total=duration_seconds, clock=place)
        elif not self._quiet and time.monotonic() - self._last_line > PLAIN_INTERVAL_SECONDS:
            self._last_line = time.monotonic()
            say(f"{self._name}: {place} labelled")


def _clock(seconds: float) -> str:
    """`01:02:03`."""
    return clock(int(seconds) * 1000).partition(".")[0]
