"""`videomae evaluate`: how often a model is right about videos whose class is known."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from ..errors import MachineError, UsageError
from ..inference.records import Failure, Prediction, to_json
from ..report.accuracy import render_accuracy_lines, render_accuracy_table
from ..report.confusion import confusion_csv, confusion_svg
from . import options as opt
from .boundary import importing_torch
from .output import check_writable
from .plan import SOME_FAILED
from .progress import BatchProgress
from .speaker import Speaker, stdout_terminal
from .work import decode_processes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..inference.classifier import VideoClassifier
    from ..inference.decode_processes import DecodeProcesses
    from ..inference.look import Look
    from ..inference.records import Record
    from ..train.distributed import Ranks
    from ..train.evaluate import Evaluation
    from ..video.sampling import SamplingKind

RECORDS, MATRIX, PICTURE, METRICS = "records.jsonl", "confusion.csv", "confusion.svg", "metrics.json"
FORMATS = ("text", "json")
SAMPLINGS = ("dense", "segments", "auto")


def evaluate(
    data: opt.EvaluateData,
    model: opt.Model = "base-k400",
    revision: opt.Revision = None,
    root: opt.Root = None,
    views: opt.Views = "1x1",
    stride: opt.Stride = "auto",
    sampling: opt.SamplingName = "auto",
    format: opt.EvaluateFormat = "text",
    output: opt.OutputFolder = None,
    overwrite: opt.EvaluateOverwrite = False,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    attention: opt.Attention = "auto",
    batch_size: opt.BatchSize = "auto",
    workers: opt.Workers = "auto",
    offline: opt.Offline = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> int:
    """Measure how often a model is right: top-1, top-5, mean over classes, and each class.

    A video that cannot be read counts as wrong, is named, and makes the exit code 1. Under torchrun the processes share
    the videos; the result is the same.
    Exit code 0: all classified; 1: some videos failed; 2: usage; 3: model; 4: device, memory or disk; 70: a bug;
    130, 143: stopped by SIGINT, SIGTERM.

    Every option can be set in the environment too: --batch-size is VIDEOMAE_BATCH_SIZE.
    """
    (format_,) = opt.parse_names("--format", format, FORMATS)
    look = _look(views, stride, sampling, batch_size, workers)
    if not os.path.exists(data):
        raise UsageError(f"no such file or folder: {data!r}", "Name a folder of videos, or a list, with --data.")
    check_folder(output, overwrite=overwrite)
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    speaker = Speaker(quiet=quiet or not is_first, verbose=verbose, debug=debug)
    with importing_torch():
        from ..inference.classifier import VideoClassifier
        from ..train.distributed import joined

    with decode_processes() as processes, joined(device) as ranks:
        classifier = VideoClassifier.from_pretrained(
            model, device=str(ranks.device), dtype=dtype, attention=attention, revision=revision, offline=offline
        )
        speaker.introduce(classifier)
        evaluation = _evaluate(classifier, data, root, look, ranks, speaker, processes)
    if not is_first:
        return 0  # torchrun ends the others as soon as one fails, and the first is still writing
    used = classifier.sampling(look.stride, look.sampling_kind)
    stride_used = used.stride if used.kind == "dense" else None
    about = {"model": model, "data": data, "views": views, "sampling": used.kind, "stride": stride_used}
    if output:
        write_evaluation(output, evaluation, about, speaker)
    text = metrics_json(evaluation, about) if format_ == "json" else _text(evaluation)
    sys.stdout.buffer.write(text.encode())
    return SOME_FAILED if evaluation.num_failed else 0


def _look(views: str, stride: str, sampling: str, batch_size: str, workers: str) -> Look:
    """What the options say of how to look at each video."""
    from ..inference.look import Look  # not at the top: --help does without it

    (kind,) = opt.parse_names("--sampling", sampling, SAMPLINGS)
    return Look(
        views=opt.parse_views(views),
        stride=opt.parse_count("--stride", stride),
        batch_size=opt.parse_count("--batch-size", batch_size),
        num_workers=opt.parse_count("--workers", workers),
        sampling_kind=None if kind == "auto" else cast("SamplingKind", kind),
    )


def _evaluate(
    classifier: VideoClassifier,
    data: str,
    root: str | None,
    look: Look,
    ranks: Ranks,
    speaker: Speaker,
    processes: DecodeProcesses | None,
) -> Evaluation:
    """Read the list, classify this process's share, and tell of failures at once, of the other videos with -v."""
    from ..data.manifest import read_manifest
    from ..train.evaluate import evaluate as evaluate_videos

    manifest = read_manifest(data, root=root, labels=classifier.labels)
    for note in manifest.notes:
        speaker.note(note)
    num_mine = len(manifest.samples[ranks.rank :: ranks.world_size])
    with BatchProgress(num_mine, quiet=speaker.quiet) as progress:

        def tell(record: Record) -> None:
            if speaker.verbose or isinstance(record, Failure):
                with progress.out_of_the_way():
                    speaker.tell(record)
            progress.advance()

        evaluation = evaluate_videos(
            classifier,
            manifest,
            views=look.views,
            stride=look.stride,
            sampling=look.sampling_kind,
            batch_size=look.batch_size,
            num_workers=look.num_workers,
            processes=processes,
            rank=ranks.rank,
            world_size=ranks.world_size,
            progress=tell,
        )
    _sum_up_warnings(evaluation.records, speaker)
    return evaluation


def _sum_up_warnings(records: Sequence[Record], speaker: Speaker) -> None:
    """One line for all: a data set of short videos would have one for each."""
    predictions = [record for record in records if isinstance(record, Prediction)]
    kinds = Counter(warning.partition(":")[0] for record in predictions for warning in record.warnings)
    if kinds:
        speaker.note(f"warning: {', '.join(f'{num} {kind}' for kind, num in sorted(kinds.items()))}; -v names them")


def check_folder(folder: Path | None, *, overwrite: bool) -> None:
    """Make the folder of the results, and find out that they cannot be written there before time is spent on them.

    Args:
        folder: of `write_evaluation`; None writes none.
        overwrite: replace the files of an earlier run.

    Raises:
        UsageError: there are some, and they are not to be replaced.
        MachineError: the folder cannot be made or written.
    """
    if folder is None:
        if overwrite:
            raise UsageError("--overwrite is about output files", "Name their folder with -o.")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot make the folder {str(folder)!r}: {error.strerror}", "Choose another.") from None
    for path in (folder / name for name in (RECORDS, MATRIX, PICTURE, METRICS)):
        if os.path.isfile(path) and not overwrite:
            raise UsageError(f"{str(path)!r} exists", "Replace it by --overwrite, or name another folder.")
        check_writable(path)


def write_evaluation(folder: Path, evaluation: Evaluation, about: dict[str, Any], speaker: Speaker) -> None:
    """Write the records, the confusion matrix as table and picture, and the accuracies; each file whole or not at all.

    Args:
        folder: where to.
        evaluation: what came out.
        about: how; becomes the beginning of metrics.json.
        speaker: is told when there is no picture, for want of matplotlib.

    Raises:
        MachineError: the disk is full, or the like.
    """
    from ..weights.write import write_atomically

    labels = evaluation.labels
    lines = (to_json(r, labels[truth]) for r, truth in zip(evaluation.records, evaluation.truths, strict=True))
    contents = {
        RECORDS: "".join(f"{line}\n" for line in lines),
        MATRIX: confusion_csv(evaluation.confusion, labels),
        METRICS: metrics_json(evaluation, about),
    }
    for name, text in contents.items():
        write_atomically((folder / name).resolve(), text.encode())
    try:
        picture = confusion_svg(evaluation.confusion, labels)
    except ImportError:
        speaker.note(f"no {PICTURE}: it needs matplotlib. Run pip install 'videomae[plots]'.")
        return
    write_atomically((folder / PICTURE).resolve(), picture)


def metrics_json(evaluation: Evaluation, about: dict[str, Any]) -> str:
    """The accuracies as one JSON object.

    Args:
        evaluation: what came out.
        about: how; comes first.
    """
    per_class = [row._asdict() for row in evaluation.per_class]
    return json.dumps({**about, **evaluation.totals, "per_class": per_class}, indent=2) + "\n"


def _text(evaluation: Evaluation) -> str:
    console = stdout_terminal()
    if console:
        return render_accuracy_table(evaluation.totals, evaluation.per_class, console)
    return render_accuracy_lines(evaluation.totals, evaluation.per_class)
