"""What `classify` does once it is known what there is to do: load the model, take records as they come, write, tell."""

from __future__ import annotations

import sys
import time
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..inference.times import Times
from ..report.summary import Summary
from .boundary import Interruption, importing_torch
from .plan import SOME_FAILED
from .progress import BatchProgress
from .ray import prepare_ray
from .windows import classify_long_videos

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from ..inference.classifier import VideoClassifier
    from ..inference.decode_processes import DecodeProcesses
    from ..inference.forward import Halt
    from ..inference.look import Look
    from ..inference.records import Record
    from .output import RecordOutput
    from .plan import Plan
    from .speaker import Speaker


class RecordSource(Protocol):
    """Where records come from."""

    def __call__(self, *, halt: Callable[[], Halt]) -> Generator[Record, None, None]:
        """One record for each item, see `classify_files`."""


@contextmanager
def worker(
    plan: Plan, look: Look, load: dict[str, Any], speaker: Speaker, *, ray: bool
) -> Iterator[Callable[[RecordOutput], int]]:
    """What classifies, in this process or in those of Ray; the model is loaded by whoever needs it.

    Args:
        plan: what there is to do.
        look: how each video is looked at.
        load: arguments of `VideoClassifier.from_pretrained`.
        speaker: tells what the user should know.
        ray: share the work by Ray.

    Yields:
        Does the work into an output, and returns the exit code.
    """
    if ray:
        job, classify_on_ray = prepare_ray(look, load)
        yield partial(
            _classify_items, partial(classify_on_ray, job, plan.items, note=speaker.note), plan, speaker, None
        )
        return
    from_pretrained = _import_classifier().from_pretrained
    # As early as torch is there: before it has threads.
    with decode_processes(windows=look.windowing is not None) as processes:
        classifier = from_pretrained(**load)
        speaker.introduce(classifier)
        if look.windowing:
            yield partial(classify_long_videos, classifier, plan, look, speaker, processes)
            return
        from ..inference.batch import classify_files

        times = Times()
        source = partial(classify_files, classifier, plan.items, look, processes=processes, times=times)
        yield partial(_classify_items, source, plan, speaker, times)


def _import_classifier() -> type[VideoClassifier]:
    """torch, av and the hub come in here, and not before."""
    with importing_torch():
        from ..inference.classifier import VideoClassifier
    return VideoClassifier


def decode_processes(*, windows: bool = False) -> AbstractContextManager[DecodeProcesses | None]:
    """What starts decoders, of whole videos or of windows; None where a process cannot be forked safely."""
    if sys.platform != "linux":
        return nullcontext()
    from ..inference.decode_processes import DecodeProcesses

    if windows:
        from ..inference.window_reader import serve_windows

        return DecodeProcesses(serve_windows)
    from ..inference.decode_worker import serve

    return DecodeProcesses(serve)


def _classify_items(source: RecordSource, plan: Plan, speaker: Speaker, times: Times | None, out: RecordOutput) -> int:
    """Take records, write, tell; returns the exit code."""
    summary = Summary(num_skipped=plan.num_skipped)
    start = time.monotonic()
    with (
        Interruption() as interruption,
        BatchProgress(len(plan.items), quiet=speaker.quiet) as progress,
        closing(source(halt=interruption.halt)) as records,
    ):
        for record in records:
            with progress.out_of_the_way():
                out.write(record)
                speaker.tell(record)
            progress.advance()
            summary.add(record)
    if plan.num_inputs > 1:
        speaker.summarize(summary, time.monotonic() - start, times)
    if interruption.exit_code and summary.num_done < len(plan.items):
        speaker.note(f"interrupted: {len(plan.items) - summary.num_done} of {len(plan.items)} inputs are left")
        return interruption.exit_code
    return SOME_FAILED if summary.num_failed else 0
