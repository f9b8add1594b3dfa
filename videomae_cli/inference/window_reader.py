"""What reads a long video for the model, in a process that can be killed, or in a thread where none can be forked.

Either runs one batch of windows ahead: a process holds the next one ready while the forward pass is at work.

Letters: B windows, T frames, C channels, h w pixels of the model.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch

from ..errors import MachineError
from .decode_worker import Incoming, Message, receive, send, send_trouble
from .device import memory_told
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
_PULSE_SECONDS = 0.25
SMALLER = "Use a smaller --batch-size, or a longer --hop."


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

    def __call__(self, path: str, pulse: Callable[[], object] = lambda: None) -> Generator[Part, None, None]:
        """Open a video, give its windows, and end.

        Args:
            path: a video file.
            pulse: called at every packet that is read, from any thread.

        Raises:
            VideoError: this file cannot be read.
        """
        with (
            WindowedVideo(
                path,
                self.windowing,
                self.sampling,
                self.processor,
                spread=self.spread,
                max_pixels=self.max_pixels,
                allow_images=self.allow_images,
                num_thumbnails=self.num_thumbnails,
                pulse=pulse,
            ) as video,
            closing(video.clips()) as clips,
        ):
            if self.strict:
                refuse_damage(path, video.warnings)
            yield Opened(video.info, video.duration_seconds, tuple(video.windows))
            while batch := list(islice(clips, self.batch_size)):
                yield Clips([place for place, _ in batch], torch.stack([clip for _, clip in batch]))
            if self.strict:
                refuse_damage(path, video.warnings)
            yield Finished(video.warnings, tuple(video.thumbnails))


def serve_windows(channel: socket.socket) -> None:
    """Be a decoding process: take a `WindowReader` and paths, and tell the parts of each, until the other end closes.

    Between them, empty messages tell that it goes on.

    Args:
        channel: our end of the socket.
    """
    read, pulse = receive(channel), _Pulse(channel)
    while (path := receive(channel)) is not None:
        try:
            try:
                with memory_told(f"while {path!r} was decoded", SMALLER), closing(read(path, pulse)) as parts:
                    for part in parts:
                        with pulse.lock:
                            send(channel, *part) if isinstance(part, Clips) else send(channel, part)
            except Exception as error:
                send_trouble(channel, blame(path, error))
        except MachineError as error:
            send_trouble(channel, error)


class _Pulse:
    """Sends a sign of life now and then; whoever sends anything else holds the lock meanwhile."""

    def __init__(self, channel: socket.socket) -> None:
        self.lock = threading.Lock()
        self._channel = channel
        self._last_seconds = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last_seconds > _PULSE_SECONDS and self.lock.acquire(blocking=False):
            try:
                send(self._channel, None)
            finally:
                self.lock.release()
            self._last_seconds = time.monotonic()


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
        timeout_seconds: for each sign of life. It may take any time over a part, as long as it goes on reading.
        halt: asked again and again; something true ends it at once.

    Raises:
        MachineError: out of memory, or no process can be started.
    """
    from .decode_ahead import crashed  # not where there are no processes to be forked

    pid, channel = processes.start()
    try:
        send(channel, read)
        send(channel, path)
        channel.setblocking(False)
        while not halt():
            message = _next_message(channel, timeout_seconds, halt)
            if message is None or (message.pixels is None and message.about is None):
                continue
            yield (part := _part_of(message))
            if isinstance(part, Finished | Failure):
                return
    except TimeoutError:
        what = f"{path!r}: its decoder stood still for {timeout_seconds:g} s and was stopped"
        yield Failure(path, "timeout", what, "Give it more time with --decode-timeout, or leave the file out.")
    except OSError:
        ended, pid = processes.end(pid), 0
        yield crashed(path, ended)
    finally:
        channel.close()
        if pid:
            processes.end(pid)


def _next_message(channel: socket.socket, timeout_seconds: float, halt: Callable[[], object]) -> Message | None:
    """The next message; None to halt.

    Raises:
        TimeoutError: it does not come in time.
        ConnectionError: it does not come at all.
    """
    incoming, waited_seconds = Incoming(), 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while not halt():
            try:
                message = incoming.read(channel)
            except EOFError:
                raise ConnectionError from None
            if message is not None:
                return message
            if waited_seconds > timeout_seconds:
                raise TimeoutError
            start = time.monotonic()
            selector.select(_TICK_SECONDS)
            # Longer than asked for: we were stopped (Ctrl-Z), and the process with us.
            waited_seconds += min(time.monotonic() - start, 2 * _TICK_SECONDS)
    return None


def _part_of(message: Message) -> Part | Failure:
    if message.pixels is not None:
        return Clips(message.about, message.pixels)
    if isinstance(message.about, MachineError):
        raise message.about
    assert isinstance(message.about, Opened | Finished | Failure)
    return message.about
