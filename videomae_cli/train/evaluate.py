"""How often a classifier is right about videos whose class is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from torch import distributed

from ..data.manifest import Manifest
from ..errors import UsageError
from ..inference.batch import classify_files
from ..inference.look import Look
from ..inference.records import Failure, Prediction, Record

if TYPE_CHECKING:
    from ..inference.classifier import VideoClassifier
    from ..inference.decode_processes import DecodeProcesses
    from ..video.sampling import SamplingKind

TOP_K = 5


class ClassAccuracy(NamedTuple):
    """How often one class is recognised.

    Attributes:
        label: its name.
        num_videos: of this class, those that failed too.
        accuracy: part of them whose best label it is, in [0, 1].
    """

    label: str
    num_videos: int
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """What came out. A video that failed has no label, so it is never a right one: it lowers every accuracy.

    Attributes:
        num_videos: all of them.
        num_failed: of them, those that could not be read or classified.
        top1: part of the videos whose best label is the true one, in [0, 1].
        top5: part of the videos with the true label among the best five, or among all where there are fewer classes.
        mean_class: mean of the accuracies of `per_class`.
        per_class: the classes that have videos, in the order of the labels.
        confusion: numbers of videos; row truth, column prediction; failed ones are in no column.
        labels: the name of each row and column.
        records: what was said of each video, in the order of the manifest.
        truths: the true class of each of them, an index of `labels`.
    """

    num_videos: int
    num_failed: int
    top1: float
    top5: float
    mean_class: float
    per_class: tuple[ClassAccuracy, ...]
    confusion: list[list[int]]
    labels: tuple[str, ...]
    records: tuple[Record, ...]
    truths: tuple[int, ...]

    @property
    def totals(self) -> dict[str, float]:
        """What is said of all videos together, by name: counts are int, accuracies float."""
        names = ("num_videos", "num_failed", "top1", "top5", "mean_class")
        return {name: getattr(self, name) for name in names}


def evaluate(
    classifier: VideoClassifier,
    manifest: Manifest,
    *,
    views: tuple[int, int] = (1, 1),
    stride: int | None = None,
    sampling: SamplingKind | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    processes: DecodeProcesses | None = None,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[Record], object] = lambda record: None,
) -> Evaluation:
    """Classify every video, and compare.

    Nothing is random: the views are fixed, and what shares a pass changes nothing, nor does the number of processes. A
    video that cannot be read is a failure; no other takes its place.

    Args:
        classifier: the model, with its labels.
        manifest: the videos, with the same labels.
        views: temporal x spatial views, whose probabilities are averaged.
        stride: distance of sampled frames; None is the checkpoint's own.
        sampling: "dense" or "segments"; None is the checkpoint's own.
        batch_size: views in one forward pass, of several videos; None takes what suits model and machine.
        num_workers: videos that are decoded at once; None is one a core, at most 16.
        processes: decode in them; None decodes in threads.
        rank: of this process; it takes every `world_size`-th video.
        world_size: how many processes share the videos; all must call this, with a process group at hand.
        progress: is told each record of this process as it is known.

    Returns:
        The same in every process.

    Raises:
        UsageError: the labels of the videos are not those of the model.
        MachineError: out of memory.
    """
    _check_labels(manifest, classifier.labels)
    look = Look(views, stride, TOP_K, batch_size, num_workers, sampling_kind=sampling)
    share = [sample.path for sample in manifest.samples[rank::world_size]]
    records = []
    with closing(classify_files(classifier, share, look, processes=processes)) as found:
        for record in found:
            progress(record)
            records.append(record)
    return merge(manifest, records if world_size == 1 else _gather(records))


def merge(manifest: Manifest, records: Iterable[Record]) -> Evaluation:
    """Bring what was said of the videos together with their true classes: by the whole path, in any order.

    Args:
        manifest: the videos, each with its class.
        records: one at least for each of its paths.
    """
    by_path = {record.path: record for record in records}
    found = tuple(by_path[sample.path] for sample in manifest.samples)
    truths = tuple(sample.label for sample in manifest.samples if sample.label is not None)
    assert len(truths) == len(found), "a video without a class cannot be judged"
    num_classes = len(manifest.labels)
    confusion = [[0] * num_classes for _ in range(num_classes)]
    num_videos, num_among_best = [0] * num_classes, 0
    for record, truth in zip(found, truths, strict=True):
        num_videos[truth] += 1
        if isinstance(record, Prediction):
            confusion[truth][record.predictions[0].index] += 1
            num_among_best += truth in [scored.index for scored in record.predictions[:TOP_K]]
    per_class = tuple(
        ClassAccuracy(label, num, confusion[k][k] / num)
        for k, (label, num) in enumerate(zip(manifest.labels, num_videos, strict=True))
        if num
    )
    return Evaluation(
        num_videos=len(found),
        num_failed=sum(isinstance(record, Failure) for record in found),
        top1=sum(confusion[k][k] for k in range(num_classes)) / len(found),
        top5=num_among_best / len(found),
        mean_class=sum(one.accuracy for one in per_class) / len(per_class),
        per_class=per_class,
        confusion=confusion,
        labels=manifest.labels,
        records=found,
        truths=truths,
    )


def _gather(records: Sequence[Record]) -> list[Record]:
    """The records of all processes, in each of them."""
    # The exception of an internal error need not survive the way to another process.
    plain = [replace(record, cause=None) if isinstance(record, Failure) else record for record in records]
    shares: list[list[Record]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(shares, plain)
    return [record for share in shares for record in share]


def _check_labels(manifest: Manifest, labels: tuple[str, ...]) -> None:
    """Refuse videos whose classes are not the model's, in its order."""
    if not manifest.samples:
        raise UsageError("there is no video to evaluate on")
    if manifest.labels == labels:
        return
    unknown = [label for label in manifest.labels if label not in labels]
    what = f"the model does not know {', '.join(map(repr, unknown[:10]))}" if unknown else "the order is another"
    raise UsageError(
        f"the videos are of {len(manifest.labels)} classes, the model of {len(labels)}: {what}",
        "Read the videos with the labels of the model.",
    )
