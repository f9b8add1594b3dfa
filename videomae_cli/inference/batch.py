"""Many files: decoded ahead, passed through the model together whatever files their views are of, told one by one.

How many views share a pass is not planned: the pass takes what is ready, up to a limit. Where the pass is the slower
part, views pile up meanwhile and the next one takes many. Where decoding is, a pass waits a moment for others to join:
many views at once take less of the cores that decode.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from ..errors import MachineError
from .decode import DecodeThreads, usable_cores
from .forward import BoundedForward
from .prepare import PreparedVideo, blame
from .records import Failure
from .times import Times

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .classifier import VideoClassifier
    from .decode import Arrival, Decoder
    from .decode_processes import DecodeProcesses
    from .forward import Halt
    from .look import Look
    from .records import Record

_WAIT_SECONDS = 0.1  # between looks at whether to stop
_JOIN_SECONDS = 0.25  # that a video waits for others to share its pass


def classify_files(
    classifier: VideoClassifier,
    items: Sequence[str | Failure],
    look: Look,
    *,
    processes: DecodeProcesses | None = None,
    halt: Callable[[], Halt] | None = None,
    times: Times | None = None,
) -> Generator[Record, None, None]:
    """One record for each item.

    Args:
        classifier: the loaded checkpoint.
        items: files, and failures that are known already and passed on.
        look: how each video is looked at, and whether records keep the order of `items`.
        processes: decode in them; None decodes in threads, which cannot be stopped when a decoder hangs.
        halt: asked again and again: "drain" begins with no other file, and finishes those that are begun; "now" leaves
            these too, and the pass under way. What is known by then is still told. None: passes run in this thread.
        times: where it went is added to it.

    Yields:
        A prediction or a failure for each item. A bug of ours on one file is that file's failure ("internal").

    Raises:
        MachineError: out of memory and the like, which no other file would escape.
    """
    decoder = _make_decoder(classifier, items, look, processes)
    with closing(decoder), closing(_Passes(classifier, look, decoder, halt, times or Times()).run()) as found:
        if look.ordered:
            yield from _in_order(found)
        else:
            for _, record in found:
                yield record


def _make_decoder(
    classifier: VideoClassifier, items: Sequence[str | Failure], look: Look, processes: DecodeProcesses | None
) -> Decoder:
    prepare = classifier.preparer(
        views=look.views,
        stride=look.stride,
        sampling_kind=look.sampling_kind,
        max_pixels=look.max_pixels,
        allow_images=look.allow_images,
        strict=look.strict,
        num_thumbnails=look.num_thumbnails,
    )
    if processes is None:
        return DecodeThreads(prepare, items, num_workers=look.num_workers or usable_cores())
    from .decode_ahead import DecodeAhead  # not where there are no processes to be forked

    return DecodeAhead(
        processes, prepare, items, num_workers=look.num_workers, timeout_seconds=look.decode_timeout_seconds
    )


def _in_order(found: Generator[tuple[int, Record], None, None]) -> Generator[Record, None, None]:
    """Hold back what comes too early; at the end, or before an error goes on, tell it nevertheless."""
    held: dict[int, Record] = {}
    next_index = 0
    try:
        for index, record in found:
            held[index] = record
            while next_index in held:
                yield held.pop(next_index)
                next_index += 1
    except (MachineError, MemoryError):
        yield from (held.pop(index) for index in sorted(held))
        raise
    yield from (held.pop(index) for index in sorted(held))


@dataclass(eq=False)
class _OpenVideo:
    """A video some of whose views have not passed yet."""

    index: int
    prepared: PreparedVideo
    num_taken: int = 0
    logits: list[torch.Tensor] = field(default_factory=list)  # (views, num_labels) each
    arrived_seconds: float = field(default_factory=time.monotonic)

    @property
    def num_left(self) -> int:
        return len(self.prepared.pixels) - self.num_taken

    def take(self, num_views: int) -> torch.Tensor:
        """The next views."""
        taken = self.prepared.pixels[self.num_taken : self.num_taken + num_views]
        self.num_taken += len(taken)
        return taken


class _Passes:
    """The forward passes of one `classify_files`.

    Args:
        classifier: whose they are.
        look: how many views share a pass, and how many labels are told.
        decoder: where videos come from.
        halt: see `classify_files`.
        times: are added up.
    """

    def __init__(
        self, classifier: VideoClassifier, look: Look, decoder: Decoder, halt: Callable[[], Halt] | None, times: Times
    ) -> None:
        self._classifier, self._top_k, self._decoder = classifier, look.top_k, decoder
        self._forward = BoundedForward(classifier, look.batch_size, halt)
        self._halt, self._times = halt, times
        self._open: deque[_OpenVideo] = deque()

    def run(self) -> Generator[tuple[int, Record], None, None]:
        """Each input's place and record, as they are known."""
        while (wish := self._halt() if self._halt else "") != "now":
            if wish:
                self._decoder.drain()
            is_full = self._num_waiting() >= self._forward.max_views
            is_late = bool(self._open) and time.monotonic() - self._open[0].arrived_seconds >= _JOIN_SECONDS
            arrival = None if is_full else self._take(0.0 if is_late else _WAIT_SECONDS)
            if arrival:
                if isinstance(arrival.found, Failure):
                    yield arrival.place, arrival.found
                else:
                    self._open.append(_OpenVideo(arrival.place, arrival.found))
            elif self._open and (is_full or is_late or self._decoder.is_done()):
                yield from self._pass()
            elif not self._open and self._decoder.is_done():
                return

    def _num_waiting(self) -> int:
        return sum(video.num_left for video in self._open)

    def _take(self, wait_seconds: float) -> Arrival | None:
        """A video that is ready."""
        start = time.monotonic()
        arrival = self._decoder.take(wait_seconds)
        self._times.wait_seconds += time.monotonic() - start
        if arrival and isinstance(arrival.found, PreparedVideo):
            decode_seconds, preprocess_seconds = arrival.found.seconds
            self._times.decode_seconds += decode_seconds
            self._times.preprocess_seconds += preprocess_seconds
        return arrival

    def _pass(self) -> Generator[tuple[int, Record], None, None]:
        """One forward pass, and the videos that it finishes."""
        batch, start = self._next_views(), time.monotonic()
        found = self._compute([(video.prepared.path, views) for video, views in batch])
        self._times.forward_seconds += time.monotonic() - start
        for (video, _), logits in zip(batch, found, strict=False):
            if isinstance(logits, Failure):
                self._open.remove(video)
                yield video.index, logits
                continue
            video.logits.append(logits)
            if not video.num_left:
                self._open.remove(video)
                yield video.index, self._conclude(video)

    def _next_views(self) -> list[tuple[_OpenVideo, torch.Tensor]]:
        """What shares a pass: the views that have waited longest, of one shape, at most one share of each video."""
        batch: list[tuple[_OpenVideo, torch.Tensor]] = []
        room = self._forward.max_views
        shape = self._open[0].prepared.pixels.shape[1:]
        for video in self._open:
            if not room or video.prepared.pixels.shape[1:] != shape:
                break
            views = video.take(room)
            batch.append((video, views))
            room -= len(views)
        return batch

    def _compute(self, shares: list[tuple[str, torch.Tensor]]) -> list[torch.Tensor | Failure]:
        """The logits of each share (path and its views), or why there are none; fewer where we are to stop."""
        try:
            logits = self._forward(torch.cat([views for _, views in shares]))
        except Exception as error:
            if len(shares) == 1 or isinstance(error, MachineError | MemoryError):
                return [blame(shares[0][0], error)]
        else:
            return [] if logits is None else list(torch.split(logits, [len(views) for _, views in shares]))
        found: list[torch.Tensor | Failure] = []
        for share in shares:  # to see whose it is
            one = self._compute([share])
            if not one:
                break
            found += one
        return found

    def _conclude(self, video: _OpenVideo) -> Record:
        try:
            return self._classifier.conclude(video.prepared, torch.cat(video.logits), self._top_k)
        except Exception as error:
            return blame(video.prepared.path, error)
