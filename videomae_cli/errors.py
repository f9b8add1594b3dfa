"""One family of user errors: what was wrong, what to do about it, and the exit code that the command ends with.

Every error that a user can cause or cure is a `VideoMAEError`. It carries a `message` (what was wrong, with the
value) and a `hint` (what to do). Only `cli/` prints them or turns them into exit codes.
"""

from __future__ import annotations

from typing import Literal

VideoErrorKind = Literal[
    "missing",  # no file at this path
    "unreadable",  # the operating system refuses to open it
    "empty",  # zero bytes
    "not_video",  # text, random bytes: no demuxer knows it
    "refused",  # a playlist, concat or session description that points elsewhere
    "no_video",  # audio only, or a cover picture only
    "image",  # a still picture, without --allow-images
    "too_large",  # more pixels a frame than --max-pixels
    "damaged",  # it is a video, and not one wanted frame can be decoded
    "truncated",  # ends early, under --strict
    "corrupt",  # some packets do not decode, under --strict
    "unfit",  # its frames do not fit the model, which a checkpoint without a centre crop cannot rule out
    "timeout",  # its decoding took longer than --decode-timeout and was stopped
    "crashed",  # its decoder took the process down that it ran in
    "changed",  # the file changed while it was read
    "non_finite",  # the model's output holds NaN or Inf
    "internal",  # a bug of ours, blamed on this file so that the rest goes on
]
"""Why one input failed; the `kind` of its record."""


class VideoMAEError(ValueError):
    """Base of all user errors.

    Args:
        message: what was wrong, with the offending value; one sentence, no trailing newline.
        hint: what the user can do; empty when there is nothing to add.
    """

    exit_code = 70

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VideoMAEError):
    """A wrong option, argument or configuration value."""

    exit_code = 2


class VideoError(VideoMAEError):
    """One input that cannot be read or classified; a batch goes on without it.

    Args:
        kind: why, one of `VideoErrorKind`.
        message: what was wrong, with the value.
        hint: what the user can do.
    """

    exit_code = 1

    def __init__(self, kind: VideoErrorKind, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind: VideoErrorKind = kind

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str, str]]:
        return type(self), (self.kind, self.message, self.hint)


class ModelError(VideoMAEError):
    """A checkpoint or hub repository that cannot be found, fetched, trusted or loaded."""

    exit_code = 3


class MachineError(VideoMAEError):
    """The machine falls short: device, memory, disk, or a place that cannot be written."""

    exit_code = 4


class DivergedError(VideoMAEError):
    """A training whose loss or gradient is no longer a number."""

    exit_code = 5
