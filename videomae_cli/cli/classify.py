"""`videomae classify`: files, folders and lists in; one record for each out."""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..inference.ledger import read_done
from ..inference.records import Failure
from ..report.text import printable
from . import options as opt
from .boundary import Interruption, importing_torch, say, say_error
from .inputs import collect_inputs
from .output import RecordOutput, check_writable, choose_format
from .progress import BatchProgress
from .windows import check_subtitles, classify_long_videos, parse_windowing

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ..inference.batch import Look
    from ..inference.classifier import VideoClassifier
    from ..inference.records import Record
    from ..report.formats import FormatName

DEFAULT_TOP_K = 5
SOME_FAILED = 1


def classify(
    inputs: opt.Inputs = None,
    files_from: opt.FilesFrom = None,
    model: opt.Model = "base-k400",
    revision: opt.Revision = None,
    top_k: opt.TopK = "auto",
    views: opt.Views = "1x1",
    stride: opt.Stride = "auto",
    window: opt.Window = None,
    hop: opt.Hop = None,
    threshold: opt.Threshold = None,
    hysteresis: opt.Hysteresis = None,
    format: opt.Format = None,
    output: opt.Output = None,
    resume: opt.Resume = False,
    overwrite: opt.Overwrite = False,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    attention: opt.Attention = "auto",
    batch_size: opt.BatchSize = "auto",
    workers: opt.Workers = "auto",
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
    from ..inference.batch import Look  # not at the top: --help does without it

    format_ = choose_format(format, output)
    console = stdout_terminal() if format_ == "text" and output is None else None
    look = Look(
        views=opt.parse_views(views),
        stride=opt.parse_count("--stride", stride),
        top_k=opt.parse_count("--top-k", top_k) or (1 if format_ == "text" and console is None else DEFAULT_TOP_K),
        batch_size=opt.parse_count("--batch-size", batch_size),
        num_workers=opt.parse_count("--workers", workers) or 1,
        max_pixels=opt.parse_count("--max-pixels", max_pixels),
        allow_images=allow_images,
        strict=strict,
    )
    windowing = parse_windowing(window, hop, threshold, hysteresis, look)
    speaker = Speaker(quiet=quiet, verbose=verbose, debug=debug)
    items, code = _plan(inputs or [], files_from, output, format_, look, speaker, resume=resume, overwrite=overwrite)
    if not items:
        return code
    check_subtitles(format_, items, windowing)
    classifier = _import_classifier().from_pretrained(
        model, device=device, dtype=dtype, attention=attention, revision=revision, offline=offline
    )
    speaker.introduce(classifier)
    with RecordOutput(format_, output, append=resume, console=console, by_segment=windowing is not None) as out:
        if windowing:
            return classify_long_videos(classifier, items, windowing, look, out, speaker) or code
        return _classify_items(classifier, items, look, out, speaker) or code


def _import_classifier() -> type[VideoClassifier]:
    """torch, av and the hub come in here, and not before."""
    with importing_torch():
        from ..inference.classifier import VideoClassifier
    return VideoClassifier


def _plan(
    inputs: list[str],
    files_from: str | None,
    output: Path | None,
    format_: FormatName,
    look: Look,
    speaker: Speaker,
    *,
    resume: bool,
    overwrite: bool,
) -> tuple[list[str | Failure], int]:
    """What there is to classify, and the exit code that records of an earlier run bring along."""
    found = collect_inputs(inputs, files_from, allow_images=look.allow_images)
    if found.num_repeated:
        speaker.note(f"{found.num_repeated} repeated inputs; each file is classified once")
    _keep_apart(output, [*found.items, files_from])
    done = _check_output(output, format_, resume=resume, overwrite=overwrite)
    earlier = [done[_path(item)] for item in found.items if _path(item) in done]
    items = [item for item in found.items if _path(item) not in done]
    if not items:
        speaker.note(f"nothing to do: {output} holds {len(earlier)} records, {earlier.count('error')} of failures")
    return items, SOME_FAILED if "error" in earlier else 0


def _classify_items(
    classifier: VideoClassifier, items: list[str | Failure], look: Look, out: RecordOutput, speaker: Speaker
) -> int:
    """Classify, write, tell; returns the exit code."""
    from ..inference.batch import classify_files

    start = time.monotonic()
    num_done = num_failed = 0
    with (
        Interruption() as interruption,
        BatchProgress(len(items), quiet=speaker.quiet) as progress,
        closing(classify_files(classifier, items, look)) as records,
    ):
        for record in records:
            with progress.out_of_the_way():
                out.write(record)
                speaker.tell(record)
            progress.advance()
            num_done += 1
            num_failed += isinstance(record, Failure)
            if interruption.exit_code:
                break
    if len(items) > 1:
        seconds = time.monotonic() - start
        speaker.note(f"{num_done - num_failed} classified, {num_failed} failed, {seconds:.1f} s")
    if interruption.exit_code and num_done < len(items):
        speaker.note(f"interrupted: {len(items) - num_done} of {len(items)} inputs are left")
        return interruption.exit_code
    return SOME_FAILED if num_failed else 0


def _keep_apart(output: Path | None, sources: list[str | Failure | None]) -> None:
    """Refuse to write over what is read."""
    if output is None:
        return
    target = os.path.realpath(output)
    for source in sources:
        if isinstance(source, str) and source != "-" and os.path.realpath(source) == target:
            raise UsageError(f"{str(output)!r} is an input, and would be overwritten", "Write elsewhere with -o.")


def _path(item: str | Failure) -> str:
    return item.path if isinstance(item, Failure) else item


def _check_output(output: Path | None, format_: FormatName, *, resume: bool, overwrite: bool) -> dict[str, str]:
    """Make sure that `output` may be written; returns the inputs that it holds already, with their status."""
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", "Go on with the file, or replace it.")
    if output is None:
        if resume or overwrite:
            raise UsageError("--resume and --overwrite are about an output file", "Name it with -o.")
        return {}
    if resume and format_ != "jsonl":
        raise UsageError(
            f"--resume cannot go on with {format_}", "Write .jsonl, whose records are appended one by one."
        )
    if os.path.isfile(output) and not (resume or overwrite):
        raise UsageError(f"{str(output)!r} exists", "Go on with it by --resume, or replace it by --overwrite.")
    check_writable(output)
    return read_done(output) if resume and os.path.isfile(output) else {}


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
