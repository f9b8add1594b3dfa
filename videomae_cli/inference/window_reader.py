"""What reads a long video for the model, in a process that can be killed, or in a thread where none can be forked.

Either runs one batch of windows ahead: a process holds the next one ready while the forward pass is at work.

Letters: B windows, T frames, C channels, h w pixels of the model.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch

from ..errors import MachineError
from .decode_worker import Incoming, Message, receive, send, send_trouble
from .prepare import blame, refuse_damage
from .records import Failure
from .windowed_video import WindowedVideo

if TYPE_CHECKING:
    from ..video.processor import VideoMAEImageProcessor
    from ..video.reader import VideoInfo
    from ..video.sampling import Sampling
    from .decode_processes import DecodeProcesses
    from .windows import Window, Windowing

_TICK_SECONDS = 0.1  # between looks at whether to stop
_SLOWEST_SPEED = 10  # times as fast as the video plays: what decoding may take that begins at the start again


@dataclass(frozen=True)
class Opened:
    """The first part of a video.

    Attributes:
        video: what the file says of itself.
        duration_seconds: from its first frame to the end of its last.
        windows: with their frames, in order.
    """

    video: VideoInfo
    duration_seconds: float
    windows: tuple[Window, ...]


class Clips(NamedTuple):
    """Some windows.

    Attributes:
        places: their numbers.
        pixels: uint8 (B, T, C, h, w).
    """

    places: list[int]
    pixels: torch.Tensor


@dataclass(frozen=True)
class Finished:
    """The last part of a video.

    Attributes:
        warnings: what was not as it should be.
        thumbnails: number and JPEG of some frames, where they were asked for.
    """

    warnings: tuple[str, ...]
    thumbnails: tuple[tuple[int, bytes], ...]


Part = Opened | Clips | Finished


@dataclass(frozen=True)
class WindowReader:
    """Reads a video in parts. It can be sent to another process.

    Attributes:
        windowing: length of the windows and their distance.
        sampling: number, kind and stride of the frames of a window.
        processor: resizes and crops.
        batch_size: windows in one part.
        spread: see `plan_windows`.
        max_pixels: refuse frames with more.
        allow_images: take a still image for a video of one frame.
        strict: refuse files that end early or hold packets that do not decode.
        num_thumbnails: small pictures, spread over the video, at most.
    """

    windowing: Windowing
    sampling: Sampling
    processor: VideoMAEImageProcessor
    batch_size: int
    spread: bool
    max_pixels: int
    allow_images: bool
    strict: bool
    num_thumbnails: int

    def __call__(self, path: str) -> Iterator[Part]:
        """Open a video, give its windows, and end.

        Args:
            path: a video file.

        Raises:
            VideoError: this file cannot be read.
        """
        with WindowedVideo(
            path,
            self.windowing,
            self.sampling,
            self.processor,
            spread=self.spread,
            max_pixels=self.max_pixels,
            allow_images=self.allow_images,
            num_thumbnails=self.num_thumbnails,
        ) as video:
            if self.strict:
                refuse_damage(path, video.warnings)
            yield Opened(video.info, video.duration_seconds, tuple(video.windows))
            clips = video.clips()
            while batch := list(islice(clips, self.batch_size)):
                yield Clips([place for place, _ in batch], torch.stack([clip for _, clip in batch]))
            if self.strict:
                refuse_damage(path, video.warnings)
            yield Finished(video.warnings, tuple(video.thumbnails))


def serve_windows(channel: socket.socket) -> None:
    """Be a decoding process: take a `WindowReader` and paths, and tell the parts of each, until the other end closes.

    Args:
        channel: our end of the socket.
    """
    read = receive(channel)
    while (path := receive(channel)) is not None:
        try:
            try:
                for part in read(path):
                    send(channel, *part) if isinstance(part, Clips) else send(channel, part)
            except Exception as error:
                send_trouble(channel, path, blame(path, error))
        except (MachineError, MemoryError) as error:
            send_trouble(channel, path, error)


def read_in_process(
    processes: DecodeProcesses,
    read: WindowReader,
    path: str,
    *,
    timeout_seconds: float,
    halt: Callable[[], object],
) -> Generator[Part | Failure, None, None]:
    """The parts of a video, from a process of its own; the last is `Finished` or a failure.

    Args:
        processes: that start it.
        read: what it does.
        path: of the video.
        timeout_seconds: for each part. As damage has decoding begin at the start again, the time that this takes is
            given too, as far as the video was read.
        halt: asked again and again; something true ends it at once.

    Raises:
        MachineError: out of memory, or no process can be started.
    """
    from .decode_ahead import crashed, overdue  # not where there are no processes to be forked

    pid, channel = processes.start()
    windows: tuple[Window, ...] = ()
    allowed_seconds = timeout_seconds
    try:
        send(channel, read)
        send(channel, path)
        channel.setblocking(False)
        while True:
            part = _next_part(channel, allowed_seconds, halt)
            if part is None:
                return
            if isinstance(part, Opened):
                windows = part.windows
            elif isinstance(part, Clips):
                allowed_seconds = timeout_seconds + windows[part.places[-1]].end_seconds / _SLOWEST_SPEED
            yield part
            if isinstance(part, Finished | Failure):
                return
    except TimeoutError:
        yield overdue(path, allowed_seconds)
    except OSError:
        ended, pid = processes.end(pid), 0
        yield crashed(path, ended)
    finally:
        channel.close()
        if pid:
            processes.end(pid)


def _next_part(channel: socket.socket, timeout_seconds: float, halt: Callable[[], object]) -> Part | Failure | None:
    """The next part; None to halt.

    Raises:
        TimeoutError: it does not come in time.
        ConnectionError: it does not come at all.
        MachineError: the other process ran out of memory.
    """
    incoming, waited_seconds = Incoming(), 0.0
    while not halt():
        try:
            message = incoming.read(channel)
        except EOFError:
            raise ConnectionError from None
        if message is not None:
            return _part_of(message)
        if waited_seconds > timeout_seconds:
            raise TimeoutError
        start = time.monotonic()
        select.select([channel], [], [], _TICK_SECONDS)
        waited_seconds += min(time.monotonic() - start, 2 * _TICK_SECONDS)  # more: we were stopped (Ctrl-Z), and it too
    return None


def _part_of(message: Message) -> Part | Failure:
    if message.pixels is not None:
        return Clips(message.about, message.pixels)
    if isinstance(message.about, MachineError):
        raise message.about
    assert isinstance(message.about, Opened | Finished | Failure)
    return message.about
