"""The two ways through a file that give frames by number, and a stream of frames that stands on them.

Frames come in presentation order, each as soon as it is decoded. `reader.py` says when which way is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from ..errors import VideoError
from .clip import Pictures
from .container import VideoPath, printable
from .index import PacketIndex
from .source import Source

Item = TypeVar("Item")

_NUM_FRAMES_AHEAD = 4  # what is decoded between two wanted frames differs: some slack for that
_SEEK_PAYS_PACKETS = 8  # a seek costs about as much as decoding a few packets


class Passes:
    """Finds frames in an open file, and notes the damage on the way.

    Args:
        path: the file, for messages.
        source: its packets and decoder.
        index: of its packets.

    Attributes:
        met_damage: the pass by keyframes broke off; what damage does to later frames depends on all packets before,
            of which it skips some.
    """

    def __init__(self, path: VideoPath, source: Source, index: PacketIndex) -> None:
        self._path, self._source, self._index = path, source, index
        self._num_corrupt = 0
        self.met_damage = False

    def by_keyframes(self, numbers: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Decodes each wanted frame from the keyframe before it. What does not turn up is left out.

        Args:
            numbers: of the wanted frames, ascending.
        """
        index, source = self._index, self._source
        if index.timeless:
            return
        source.damaged.clear()
        may_skip = index.is_steady  # where frames are missing, the decoder's guesses at them depend on all packets
        wanted = {index.times[number]: number for number in numbers}
        for keyframe, last in index.runs(wanted, _SEEK_PAYS_PACKETS):
            start = keyframe.pts if keyframe.is_shown else None  # None once it has come out, which it must do first
            for packet in source.packets_between(keyframe, last, index.order):
                is_wanted = packet is None or packet.pts in wanted
                for frame in source.decode(packet, skippable=may_skip and not is_wanted):
                    if frame.is_corrupt and (frame.pts is None or frame.pts >= keyframe.pts):
                        self._num_corrupt, self.met_damage = 1, True
                        return
                    if frame.pts == start:
                        start = None
                    if frame.pts in wanted and start is None:
                        yield wanted.pop(frame.pts), frame
                if source.damaged:
                    self.met_damage = True
                    return

    def from_start(self, numbers: Sequence[int]) -> Iterator[tuple[int, VideoFrame, bool]]:
        """Decodes everything up to the last wanted frame, as a player would.

        The nearest frame before stands in for one that cannot be decoded (at the very start, the one after).

        Args:
            numbers: of the wanted frames, ascending.

        Yields:
            The number, the frame, and whether it stands in.
        """
        self._source.damaged.clear()
        self._num_corrupt = 0
        times = self._index.times
        missing = deque((times[number] if times else number, number) for number in numbers)
        before: VideoFrame | None = None
        for count, frame in enumerate(decoded_from_start(self._source)):
            self._num_corrupt += frame.is_corrupt
            here = frame.pts if times else count
            if here is None:
                continue
            while missing and missing[0][0] < here:
                yield missing.popleft()[1], before or frame, True
            if missing and missing[0][0] == here:
                yield missing.popleft()[1], frame, False
            if not missing:
                return
            before = frame
        if before is None:
            raise VideoError("damaged", f"not one frame of {printable(self._path)} can be decoded")
        for _, number in missing:
            yield number, before, True

    def warnings(self) -> list[str]:
        """The damage on the way: frames after it may show it."""
        found = {"packet{} damaged": len(self._source.damaged), "frame{} decoded with errors": self._num_corrupt}
        damage = [f"{count} {what.format('s' * (count > 1))}" for what, count in found.items() if count]
        return [f"corrupt: {', '.join(damage)}"] if damage else []


def decoded_from_start(source: Source) -> Iterator[VideoFrame]:
    """Every frame that a player would show."""
    source.restart()
    return chain.from_iterable(map(source.decode, source.packets()))


class FrameStream:
    """Wanted frames of a video, one by one in the order of the video: the pixels that `VideoReader.read` gives.

    The video is decoded once, some frames ahead, in a thread. On meeting damage, once more from the start up to there,
    because that is where its effects come from. Only wanted frames are converted to RGB. Where the size of the pictures
    changes on the way, each frame has its own (`read` scales those of one clip to the first).

    Args:
        numbers: of the wanted frames, ascending, without repeats.
        passes: through the file.
        blamed_on_file: turns what goes wrong inside it into a `VideoError`.

    Attributes:
        warnings: what was not as it should be; complete when the last frame has come.
    """

    def __init__(
        self, numbers: Sequence[int], passes: Passes, blamed_on_file: Callable[[], AbstractContextManager[None]]
    ) -> None:
        assert all(map(int.__lt__, numbers, numbers[1:])), "ascending, without repeats"
        self._numbers, self._passes, self._blamed_on_file = numbers, passes, blamed_on_file
        self.warnings: tuple[str, ...] = ()

    def __iter__(self) -> Generator[tuple[int, npt.NDArray[np.uint8]], None, None]:
        """Number and picture, uint8 RGB (H, W, 3), of each wanted frame.

        Raises:
            VideoError: nothing can be decoded, or the file changed meanwhile.
        """
        pictures = Pictures()
        first: tuple[int, ...] | None = None
        with self._blamed_on_file(), closing(ahead(self._frames(), _NUM_FRAMES_AHEAD)) as frames:
            for number, frame, stands_in in frames:
                pictures.note(frame, stands_in=stands_in)
                picture = pictures.upright_rgb(frame)
                first = first or picture.shape
                pictures.counts["unlike"] += picture.shape != first
                yield number, picture
        self.warnings = (*self._passes.warnings(), *pictures.warnings())

    def _frames(self) -> Generator[tuple[int, VideoFrame, bool], None, None]:
        place = 0
        for number, frame in self._passes.by_keyframes(self._numbers):
            if number != self._numbers[place]:
                break
            yield number, frame, False
            place += 1
        if place < len(self._numbers):
            yield from self._passes.from_start(self._numbers[place:])


def ahead(items: Generator[Item, None, None], num_ahead: int = 1) -> Generator[Item, None, None]:
    """The same items; while one is used, the next are made in a thread.

    Args:
        items: none of them None; closed when this is, after the thread is done.
        num_ahead: how many are made ahead.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    coming = deque(pool.submit(next, items, None) for _ in range(num_ahead))
    with closing(items):
        try:
            while (item := coming.popleft().result()) is not None:
                coming.append(pool.submit(next, items, None))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)
