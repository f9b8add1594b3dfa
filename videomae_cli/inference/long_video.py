"""A long video, labelled window by window.

`window_reader.py` is the half that reads, and knows no model; this is the other.

Letters: B windows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..errors import VideoError
from ..video.container import DEFAULT_MAX_PIXELS
from ..video.sequence import ahead
from .classifier import to_scores
from .device import memory_told
from .forward import BoundedForward
from .prepare import blame
from .records import Failure, SampledFrames, ScoredLabel
from .timeline import LabelHolder, ScoredWindow, WindowedPrediction, merge_windows
from .window_reader import SMALLER, Clips, Finished, Opened, Part, WindowReader, read_in_process

if TYPE_CHECKING:
    from .classifier import VideoClassifier
    from .decode_processes import DecodeProcesses
    from .look import Look
    from .records import Record


@dataclass(frozen=True)
class Step:
    """One more window of a video is done.

    Attributes:
        window: what is said of it.
        duration_seconds: of the whole video.
    """

    window: ScoredWindow
    duration_seconds: float


def classify_windows(
    classifier: VideoClassifier,
    path: str,
    look: Look,
    *,
    forward: BoundedForward | None = None,
    processes: DecodeProcesses | None = None,
    halt: Callable[[], object] = lambda: "",
) -> Generator[Step | Record, None, None]:
    """Label a long video: its windows one by one as they are known, and then its record.

    Decoding runs one batch ahead of the forward pass.

    Args:
        classifier: the loaded checkpoint.
        path: a video file.
        look: with `windowing`; each window is one view.
        forward: shared by several videos, so that how much fits is found out once.
        processes: decode in one of them; None decodes in a thread, which cannot be stopped when a decoder hangs.
        halt: asked again and again; something true ends it soon, without a record.

    Yields:
        A step for each window, and last a `WindowedPrediction` or a failure.

    Raises:
        MachineError: out of memory and the like.
    """
    forward = forward or BoundedForward(classifier, look.batch_size)
    try:
        with (
            memory_told(f"while {path!r} was labelled", SMALLER),
            closing(_parts(classifier, path, look, forward.max_views, processes, halt)) as parts,
        ):
            yield from _Labelling(classifier, path, look, forward).steps(parts, halt)
    except Exception as error:
        yield blame(path, error)


def _parts(
    classifier: VideoClassifier,
    path: str,
    look: Look,
    batch_size: int,
    processes: DecodeProcesses | None,
    halt: Callable[[], object],
) -> Generator[Part | Failure, None, None]:
    assert look.windowing is not None
    read = WindowReader(
        look.windowing,
        classifier.sampling(look.stride, look.sampling_kind),
        classifier.processor,
        batch_size=batch_size,
        spread=look.stride is None,
        max_pixels=look.max_pixels or DEFAULT_MAX_PIXELS,
        allow_images=look.allow_images,
        strict=look.strict,
        num_thumbnails=look.num_thumbnails,
    )
    if processes is None:
        return ahead(read(path))
    return read_in_process(processes, read, path, timeout_seconds=look.decode_timeout_seconds, halt=halt)


class _Labelling:
    """One video on the way from its windows to its record.

    Args:
        classifier: the loaded checkpoint.
        path: of the video.
        look: see `classify_windows`.
        forward: likewise.
    """

    def __init__(self, classifier: VideoClassifier, path: str, look: Look, forward: BoundedForward) -> None:
        assert look.windowing is not None
        self._classifier, self._path, self._look = classifier, path, look
        self._windowing = look.windowing
        self._forward = forward
        self._holder = LabelHolder(look.windowing.threshold, look.windowing.hysteresis)
        self._windows: list[ScoredWindow] = []
        self._held: list[ScoredLabel | None] = []
        self._total = torch.zeros(len(classifier.labels), dtype=torch.float64)

    def steps(
        self, parts: Iterator[Part | Failure], halt: Callable[[], object]
    ) -> Generator[Step | Record, None, None]:
        """See `classify_windows`."""
        first = next(parts, None)
        if isinstance(first, Failure):
            yield first
        if not isinstance(first, Opened):
            return
        for part in parts:
            if isinstance(part, Failure):
                yield part
            elif isinstance(part, Finished):
                yield self._conclude(first, part)
            elif isinstance(part, Clips):
                found = self._scores(part.pixels)
                if found is None:
                    return
                for place, scores in zip(part.places, found, strict=True):
                    if halt():
                        return
                    yield Step(self._label(first, place, scores), first.duration_seconds)

    def _scores(self, pixels: torch.Tensor) -> torch.Tensor | None:
        """(B, num_labels) of some windows; None where we are to stop."""
        logits = self._forward(pixels)
        if logits is None:
            return None
        scores = to_scores(logits, self._classifier.model.config)
        if not scores.isfinite().all():
            what = f"the model's output for {self._path!r} is not finite ({self._classifier.dtype})"
            raise VideoError("non_finite", what)
        return scores

    def _label(self, opened: Opened, place: int, scores: torch.Tensor) -> ScoredWindow:
        """What is said of one window; scores are (num_labels,)."""
        window, labels = opened.windows[place], self._classifier.labels
        best = self._classifier.best(scores, self._look.top_k)
        self._windows.append(ScoredWindow(window.start_seconds, window.end_seconds, best))
        index = self._holder.next(scores.tolist())
        self._held.append(None if index is None else ScoredLabel(labels[index], index, float(scores[index])))
        self._total += scores
        return self._windows[-1]

    def _conclude(self, opened: Opened, finished: Finished) -> WindowedPrediction:
        sampling = self._classifier.sampling(self._look.stride, self._look.sampling_kind)
        mean = (self._total / len(self._windows)).float()
        return WindowedPrediction(
            path=self._path,
            predictions=self._classifier.best(mean, self._look.top_k),
            sampling=SampledFrames(
                views=f"{len(self._windows)}x1",
                stride=sampling.stride if sampling.kind == "dense" and self._look.stride is not None else None,
                frames=tuple(window.frames for window in opened.windows),
            ),
            video=opened.video,
            warnings=finished.warnings,
            windows=tuple(self._windows),
            segments=merge_windows(self._windows, self._held),
            windowing=self._windowing,
            thumbnails=finished.thumbnails,
        )
