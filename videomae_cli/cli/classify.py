"""`videomae classify`: files, folders and lists in; one record for each out."""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..inference.records import Failure
from ..report.summary import Summary
from ..report.text import printable
from . import options as opt
from .boundary import Interruption, importing_torch, say, say_error
from .output import RecordOutput, choose_format
from .plan import SOME_FAILED, Destination, Model, Plan, name_output, planned
from .progress import BatchProgress
from .ray import prepare_ray
from .shard import parse_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console

    from ..inference.batch import Halt
    from ..inference.classifier import VideoClassifier
    from ..inference.decode_processes import DecodeProcesses
    from ..inference.look import Look
    from ..inference.records import Record

DEFAULT_TOP_K = 5


class RecordSource(Protocol):
    """Where records come from."""

    def __call__(self, *, halt: Callable[[], Halt]) -> Generator[Record, None, None]:
        """One record for each item, see `classify_files`."""


def classify(
    inputs: opt.Inputs = None,
    files_from: opt.FilesFrom = None,
    model: opt.Model = "base-k400",
    revision: opt.Revision = None,
    top_k: opt.TopK = "auto",
    views: opt.Views = "1x1",
    stride: opt.Stride = "auto",
    shard: opt.Shard = None,
    format: opt.Format = None,
    output: opt.Output = None,
    resume: opt.Resume = False,
    retry_failed: opt.RetryFailed = False,
    overwrite: opt.Overwrite = False,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    attention: opt.Attention = "auto",
    batch_size: opt.BatchSize = "auto",
    workers: opt.Workers = "auto",
    decode_timeout: opt.DecodeTimeout = "60",
    unordered: opt.Unordered = False,
    ray: opt.Ray = False,
    offline: opt.Offline = False,
    strict: opt.Strict = False,
    allow_images: opt.AllowImages = False,
    max_pixels: opt.MaxPixels = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> int:
    """Name what happens in videos.

    One record for each input on stdout: a table on a terminal, tab-separated lines in a pipe, or --format.
    Exit code 0: all classified; 1: some inputs failed; 2: usage; 3: model; 4: device, memory or disk; 70: a bug;
    130, 143: stopped by SIGINT, SIGTERM.

    Every option can be set in the environment too: --batch-size is VIDEOMAE_BATCH_SIZE.
    """
    from ..inference.look import Look  # not at the top: --help does without it

    part = parse_shard(shard, os.environ) if shard else None
    output = name_output(output, part)
    format_ = choose_format(format, output)
    destination = Destination(output, format_, resume=resume, retry_failed=retry_failed, overwrite=overwrite)
    console = stdout_terminal() if format_ == "text" and output is None else None
    look = Look(
        views=opt.parse_views(views),
        stride=opt.parse_count("--stride", stride),
        top_k=opt.parse_count("--top-k", top_k) or (1 if format_ == "text" and console is None else DEFAULT_TOP_K),
        batch_size=opt.parse_count("--batch-size", batch_size),
        num_workers=opt.parse_count("--workers", workers),
        max_pixels=opt.parse_count("--max-pixels", max_pixels),
        allow_images=allow_images,
        strict=strict,
        decode_timeout_seconds=opt.parse_seconds("--decode-timeout", decode_timeout),
        ordered=not unordered,
    )
    speaker = Speaker(quiet=quiet, verbose=verbose, debug=debug)
    with planned(inputs, files_from, destination, look, Model(model, revision, offline), part, speaker.note) as plan:
        if not plan.items:
            return plan.exit_code
        load: dict[str, Any] = {"name_or_path": model, "device": device, "dtype": dtype, "attention": attention}
        load |= {"revision": revision, "offline": offline}
        with (
            record_source(plan.items, look, load, speaker, ray=ray) as source,
            RecordOutput(format_, output, append=resume, console=console, about=plan.about) as out,
        ):
            return _classify_items(source, plan, out, speaker) or plan.exit_code


@contextmanager
def record_source(
    items: list[str | Failure], look: Look, load: dict[str, Any], speaker: Speaker, *, ray: bool
) -> Iterator[RecordSource]:
    """What classifies, in this process or in those of Ray; the model is loaded by whoever needs it.

    Args:
        items: of the plan.
        look: how each video is looked at.
        load: arguments of `VideoClassifier.from_pretrained`.
        speaker: tells what the user should know of the model.
        ray: share the work by Ray.
    """
    if ray:
        job, classify_on_ray = prepare_ray(look, load)
        yield partial(classify_on_ray, job, items, note=speaker.note)
        return
    from_pretrained = _import_classifier().from_pretrained
    with decode_processes() as processes:  # as early as torch is there: before it has threads
        classifier = from_pretrained(**load)
        speaker.introduce(classifier)
        from ..inference.batch import classify_files

        yield partial(classify_files, classifier, items, look, processes=processes)


def _import_classifier() -> type[VideoClassifier]:
    """torch, av and the hub come in here, and not before."""
    with importing_torch():
        from ..inference.classifier import VideoClassifier

    return VideoClassifier


def decode_processes() -> AbstractContextManager[DecodeProcesses | None]:
    """What starts decoders; None where a process cannot be forked safely."""
    if sys.platform != "linux":
        return nullcontext()
    from ..inference.decode_processes import DecodeProcesses
    from ..inference.decode_worker import serve

    return DecodeProcesses(serve)


def _classify_items(
    source: RecordSource,
    plan: Plan,
    out: RecordOutput,
    speaker: Speaker,
) -> int:
    """Classify, write, tell; returns the exit code."""
    items = plan.items
    summary = Summary(num_skipped=plan.num_skipped)
    start = time.monotonic()
    with (
        Interruption() as interruption,
        BatchProgress(len(items), quiet=speaker.quiet) as progress,
        closing(source(halt=interruption.halt)) as records,
    ):
        for record in records:
            with progress.out_of_the_way():
                out.write(record)
                speaker.tell(record)
            progress.advance()
            summary.add(record)
    if plan.num_inputs > 1:
        speaker.summarize(summary, time.monotonic() - start)
    if interruption.exit_code and summary.num_done < len(items):
        speaker.note(f"interrupted: {len(items) - summary.num_done} of {len(items)} inputs are left")
        return interruption.exit_code
    return SOME_FAILED if summary.num_failed else 0


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

    def summarize(self, summary: Summary, seconds: float) -> None:
        """How the run went as a whole, with bars where a person looks at it."""
        for line in summary.render(seconds, bars=sys.stderr.isatty()):
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
