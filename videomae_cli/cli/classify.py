"""`videomae classify`: files, folders and lists in; one record for each out."""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from ..inference.records import Failure
from ..report.summary import Summary
from ..report.text import printable
from . import options as opt
from . import window_options as wopt
from .boundary import Interruption, importing_torch, say, say_error
from .output import RecordOutput, choose_format
from .plan import SOME_FAILED, Destination, Model, Plan, name_output, planned
from .progress import BatchProgress
from .report import Report, open_page
from .shard import parse_shard
from .windows import check_windows, classify_long_videos, parse_windowing

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console

    from ..inference.classifier import VideoClassifier
    from ..inference.decode_processes import DecodeProcesses
    from ..inference.look import Look
    from ..inference.records import Record

DEFAULT_TOP_K = 5


def classify(
    inputs: opt.Inputs = None,
    files_from: opt.FilesFrom = None,
    model: opt.Model = "base-k400",
    revision: opt.Revision = None,
    top_k: opt.TopK = "auto",
    views: opt.Views = "1x1",
    stride: opt.Stride = "auto",
    window: wopt.Window = None,
    hop: wopt.Hop = None,
    threshold: wopt.Threshold = None,
    hysteresis: wopt.Hysteresis = None,
    shard: opt.Shard = None,
    format: opt.Format = None,
    output: opt.Output = None,
    report: Report = None,
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
    from ..report.html import NUM_THUMBNAILS, NUM_THUMBNAILS_OF_LONG

    part = parse_shard(shard, os.environ) if shard else None
    output, report = name_output(output, part), name_output(report, part)
    format_ = choose_format(format, output)
    destination = Destination(output, format_, report, resume=resume, retry_failed=retry_failed, overwrite=overwrite)
    console = stdout_terminal() if format_ == "text" and output is None else None
    in_pipe = format_ == "text" and console is None
    look = Look(
        views=opt.parse_views(views),
        stride=opt.parse_count("--stride", stride),
        top_k=opt.parse_count("--top-k", top_k) or (1 if in_pipe and not report else DEFAULT_TOP_K),
        batch_size=opt.parse_count("--batch-size", batch_size),
        num_workers=opt.parse_count("--workers", workers),
        max_pixels=opt.parse_count("--max-pixels", max_pixels),
        allow_images=allow_images,
        strict=strict,
        windowing=parse_windowing(window, hop, threshold, hysteresis, views),
        decode_timeout_seconds=opt.parse_seconds("--decode-timeout", decode_timeout),
        num_thumbnails=(NUM_THUMBNAILS_OF_LONG if window else NUM_THUMBNAILS) if report else 0,
        ordered=not unordered,
    )
    speaker = Speaker(quiet=quiet, verbose=verbose, debug=debug)
    with planned(inputs, files_from, destination, look, Model(model, revision, offline), part, speaker.note) as plan:
        if not plan.items:
            with open_page(report, plan, look, model):
                return plan.exit_code
        check_windows(format_, plan.items, look)
        load = _import_classifier().from_pretrained
        with decode_processes() as processes:  # as early as torch is there: before it has threads
            classifier = load(
                model, device=device, dtype=dtype, attention=attention, revision=revision, offline=offline
            )
            speaker.introduce(classifier)
            by_segment = look.windowing is not None
            with (
                open_page(report, plan, look, model) as page,
                RecordOutput(
                    format_, output, append=resume, console=console, about=plan.about, by_segment=by_segment, page=page
                ) as out,
            ):
                if look.windowing:
                    return classify_long_videos(classifier, plan, look, out, speaker) or plan.exit_code
                return _classify_items(classifier, plan, look, out, speaker, processes) or plan.exit_code


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
    classifier: VideoClassifier,
    plan: Plan,
    look: Look,
    out: RecordOutput,
    speaker: Speaker,
    processes: DecodeProcesses | None,
) -> int:
    """Classify, write, tell; returns the exit code."""
    from ..inference.batch import classify_files

    items = plan.items
    summary = Summary(num_skipped=plan.num_skipped)
    start = time.monotonic()
    with (
        Interruption() as interruption,
        BatchProgress(len(items), quiet=speaker.quiet) as progress,
        closing(classify_files(classifier, items, look, processes=processes, halt=interruption.halt)) as records,
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
