"""`videomae classify --window`: what its options mean, and the loop over long videos."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..inference.records import Failure
from ..report.formats import SUBTITLES
from ..report.subtitles import clock
from ..report.summary import Summary
from . import options as opt
from .boundary import Interruption
from .plan import SOME_FAILED
from .progress import Progress
from .window_options import parse_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..inference.classifier import VideoClassifier
    from ..inference.decode_processes import DecodeProcesses
    from ..inference.forward import BoundedForward
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
    """Label one video after the other, write, tell; returns the exit code. A signal ends it at once."""
    from ..inference.forward import BoundedForward

    summary = Summary(num_skipped=plan.num_skipped)
    start = time.monotonic()
    with Interruption() as interruption, Progress(quiet=speaker.quiet) as progress:
        # What is known of a video that is not finished is not told, so that nothing is worth waiting for.
        forward = BoundedForward(classifier, look.batch_size, lambda: "now" if interruption.halt() else "")
        for item in plan.items:
            record = _classify_item(classifier, item, look, forward, processes, interruption, progress)
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
    forward: BoundedForward,
    processes: DecodeProcesses | None,
    interruption: Interruption,
    progress: Progress,
) -> Record | None:
    """The record of one video; None where a signal came before it was known."""
    from ..inference.long_video import Step, classify_windows

    if isinstance(item, Failure):
        return item
    progress.begin(f"labelling {os.path.basename(item)}")
    with closing(
        classify_windows(classifier, item, look, forward=forward, processes=processes, halt=interruption.halt)
    ) as steps:
        for step in steps:
            if not isinstance(step, Step):
                return step
            done, total = step.window.end_seconds, step.duration_seconds
            progress.report(done, total, f"{_clock(done)} of {_clock(total)}")
    assert interruption.exit_code, "only a signal leaves a video without a record"
    return None


def _clock(seconds: float) -> str:
    """`01:02:03`."""
    return clock(int(seconds) * 1000).partition(".")[0]
