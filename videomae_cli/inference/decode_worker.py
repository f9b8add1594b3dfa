"""What a decoding process does, and how it is talked to: a header, a pickle of ours, and the bytes of the pixels.

Both ends are this program, in one copy, so that nothing foreign is ever unpickled.
"""

from __future__ import annotations

import pickle
import socket
import struct
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from ..errors import MachineError
from .prepare import PreparedVideo, blame
from .records import Failure

HEADER = struct.Struct("<IQ")  # bytes of the pickle, bytes of the pixels
Prepare = Callable[[str], PreparedVideo]
Answer = PreparedVideo | Failure | MachineError


class Message(NamedTuple):
    """What one process tells another.

    Attributes:
        about: an object of ours.
        pixels: that go with it.
    """

    about: Any
    pixels: torch.Tensor | None = None


class WorkerError(Exception):
    """Stands for an exception of another process, whose traceback it shows."""


def serve(channel: socket.socket) -> None:
    """Be a decoding process: take how to prepare a video, then paths, and answer each, until the other end closes.

    Args:
        channel: our end of the socket.
    """
    prepare = receive(channel)
    while (path := receive(channel)) is not None:
        answer = prepare_or_blame(prepare, path)
        if isinstance(answer, MemoryError):
            answer = MachineError(f"out of memory while {path!r} was decoded", "Use fewer --workers or --views.")
        if isinstance(answer, PreparedVideo):
            about = (answer.path, answer.sampling, answer.video, answer.warnings, answer.seconds, answer.thumbnails)
            send(channel, about, answer.pixels)
        else:
            send_trouble(channel, answer)


def answer_of(message: Message) -> Answer:
    """What `serve` answered.

    Args:
        message: as it came.
    """
    if message.pixels is None:
        assert isinstance(message.about, Failure | MachineError)
        return message.about
    path, *rest = message.about
    return PreparedVideo(path, message.pixels, *rest)


def portable(failure: Failure) -> Failure:
    """The same failure for another process: with the text of its cause in place of the cause.

    Args:
        failure: whose cause may be any object.
    """
    if failure.cause is None:
        return failure
    shown = "".join(traceback.format_exception(failure.cause)).rstrip()
    return replace(failure, cause=WorkerError(f"\n{shown}"))


def send_trouble(channel: socket.socket, trouble: Failure | MachineError) -> None:
    """Tell why a file cannot be had.

    Args:
        channel: to whom.
        trouble: what it is.
    """
    send(channel, portable(trouble) if isinstance(trouble, Failure) else trouble)


def prepare_or_blame(prepare: Prepare, path: str) -> PreparedVideo | Failure | MachineError | MemoryError:
    """Prepare a video; what goes wrong is returned, not raised.

    Args:
        prepare: see `prepare.Preparer`.
        path: of the video.
    """
    try:
        try:
            return prepare(path)
        except Exception as error:
            return blame(path, error)
    except (MachineError, MemoryError) as error:
        return error


def send(channel: socket.socket, about: object, pixels: torch.Tensor | None = None) -> None:
    """Send one message.

    Args:
        channel: to whom.
        about: is pickled.
        pixels: are sent as they are.
    """
    layout = None if pixels is None else (pixels.shape, pixels.dtype)
    data = b"" if pixels is None else _bytes_of(pixels.contiguous())
    pickled = pickle.dumps((about, layout))
    channel.sendall(HEADER.pack(len(pickled), len(data)) + pickled)
    if data:
        channel.sendall(data)


def receive(channel: socket.socket) -> Any:
    """One message without pixels, waited for.

    Args:
        channel: from whom.

    Returns:
        None where the other end is closed.
    """
    header = _receive_bytes(channel, HEADER.size)
    if header is None:
        return None
    about, _ = pickle.loads(_receive_bytes(channel, HEADER.unpack(header)[0]) or b"")
    return about


class Incoming:
    """A message that arrives piece by piece."""

    def __init__(self) -> None:
        self._missing = memoryview(bytearray(HEADER.size))
        self._header: memoryview | None = self._missing
        self._pickled: bytearray | None = None
        self._about: Any = None
        self._pixels: torch.Tensor | None = None

    def read(self, channel: socket.socket) -> Message | None:
        """Take what is there, without waiting.

        Args:
            channel: a socket that does not block.

        Returns:
            The message, once it is whole.

        Raises:
            EOFError: the other end is closed.
        """
        while True:
            try:
                num_bytes = channel.recv_into(self._missing)
            except BlockingIOError:
                return None
            except ConnectionError:
                num_bytes = 0
            if not num_bytes:
                raise EOFError
            self._missing = self._missing[num_bytes:]
            if not self._missing and (message := self._next_part()):
                return message

    def _next_part(self) -> Message | None:
        """A part is whole: what to read next, or the message."""
        if self._header is not None:
            num_pickled, self._num_pixel_bytes = HEADER.unpack(self._header)
            self._header, self._pickled = None, bytearray(num_pickled)
            self._missing = memoryview(self._pickled)
            return None
        if self._pickled is not None:
            (self._about, layout), self._pickled = pickle.loads(self._pickled), None
            if layout is None:
                return Message(self._about)
            shape, dtype = layout
            self._pixels = torch.empty(shape, dtype=dtype)
            self._missing = _bytes_of(self._pixels)
            assert len(self._missing) == self._num_pixel_bytes
            return None
        return Message(self._about, self._pixels)


def _bytes_of(pixels: torch.Tensor) -> memoryview:
    return pixels.view(torch.uint8).numpy().data.cast("B")


def _receive_bytes(channel: socket.socket, num_bytes: int) -> bytes | None:
    data = channel.recv(num_bytes, socket.MSG_WAITALL)
    return data if len(data) == num_bytes else None
