"""Many files, one after the other: decoding runs a little ahead of the forward pass, records come in input order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MachineError, UsageError, VideoError
from .records import Failure

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ..video.sampling import SamplingKind
    from .classifier import PreparedVideo, VideoClassifier
    from .records import Record


@dataclass(frozen=True)
class Look:
    """How each video is looked at.

    Attributes:
        views: temporal x spatial views.
        stride: distance of sampled frames; None is the checkpoint's own.
        top_k: labels for each video.
        batch_size: views in one forward pass; None takes all views of a video.
        num_workers: videos decoded ahead, each in a thread.
        max_pixels: refuse videos with more pixels in a frame; None is the reader's own limit.
        allow_images: take still images as one-frame videos.
        strict: count truncated and partly corrupt videos as failed.
        sampling_kind: "dense" or "segments"; None follows the data set that the checkpoint was trained on.
    """

    views: tuple[int, int] = (1, 1)
    stride: int | None = None
    top_k: int = 5
    batch_size: int | None = None
    num_workers: int = 1
    max_pixels: int | None = None
    allow_images: bool = False
    strict: bool = False
    sampling_kind: SamplingKind | None = None


def classify_files(
    classifier: VideoClassifier, items: Sequence[str | Failure], look: Look
) -> Generator[Record, None, None]:
    """One record for each item, in order. At most `look.num_workers` videos wait decoded.

    Args:
        classifier: the loaded checkpoint.
        items: files, and failures that are known already and passed on.
        look: how each video is looked at.

    Yields:
        A prediction or a failure for each item. A bug of ours on one file is that file's failure ("internal").

    Raises:
        MachineError: out of memory and the like, which no other file would escape.
    """
    with ThreadPoolExecutor(look.num_workers, thread_name_prefix="decode") as pool:
        ahead: deque[Future[PreparedVideo | Failure]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(_prepare, classifier, item, look))
                if len(ahead) > look.num_workers:
                    yield _predict(classifier, ahead.popleft().result(), look)
            while ahead:
                yield _predict(classifier, ahead.popleft().result(), look)
        finally:  # also when the caller stops listening
            for future in ahead:
                future.cancel()


def _prepare(classifier: VideoClassifier, item: str | Failure, look: Look) -> PreparedVideo | Failure:
    if isinstance(item, Failure):
        return item
    try:
        return classifier.prepare(
            item,
            views=look.views,
            stride=look.stride,
            sampling_kind=look.sampling_kind,
            max_pixels=look.max_pixels,
            allow_images=look.allow_images,
            strict=look.strict,
        )
    except Exception as error:
        return blame(item, error)


def _predict(classifier: VideoClassifier, prepared: PreparedVideo | Failure, look: Look) -> Record:
    if isinstance(prepared, Failure):
        return prepared
    try:
        return classifier.predict(prepared, top_k=look.top_k, batch_size=look.batch_size)
    except Exception as error:
        return blame(prepared.path, error)


def blame(path: str, error: Exception) -> Failure:
    """The record of an error that is this file's; others are raised again."""
    if isinstance(error, VideoError):
        names_it = repr(path) in error.message
        return Failure(path, error.kind, error.message if names_it else f"{path!r}: {error.message}", error.hint)
    if isinstance(error, UsageError):  # of the model, about the shape that this file's frames come out in
        return Failure(path, "unfit", f"{path!r} does not fit the model: {error.message}", error.hint)
    if isinstance(error, MachineError | MemoryError):
        raise error
    message = f"{path!r}: internal error: {type(error).__name__}: {error}"
    return Failure(path, "internal", message, cause=error)
