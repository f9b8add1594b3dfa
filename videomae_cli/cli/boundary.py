"""The boundary between the commands and the shell: errors -> two lines on stderr, everything -> an exit code.

0 all done, 1 some inputs failed, 2 usage or configuration, 3 model or hub, 4 environment, 5 training diverged,
70 internal bug, 130 SIGINT, 143 SIGTERM. A closed stdout pipe is a silent 0.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, NoReturn

import typer

from ..errors import MachineError, VideoMAEError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

EXIT_USAGE = 2
EXIT_INTERNAL = 70
EXIT_SIGINT = 128 + signal.SIGINT
EXIT_SIGTERM = 128 + signal.SIGTERM
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no `except Exception` on the way swallows it."""


class Interruption:
    """Turns signals into a flag while a loop runs, so that it stops between two records and not inside one.

    As a context manager: the first SIGINT or SIGTERM sets `exit_code`; a second one raises at once.
    """

    def __init__(self) -> None:
        self.exit_code = 0

    def __enter__(self) -> Interruption:
        self._previous = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.exit_code:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated
        self.exit_code = 128 + number


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def print_error(error: VideoMAEError | typer.TyperException) -> None:
    """`error: ...` and, when there is something to do about it, `hint: ...` on stderr."""
    if isinstance(error, VideoMAEError):
        message, hint = error.message, error.hint
    else:
        message, hint = error.format_message(), "Run videomae --help, or the command with --help."
    print(f"error: {_encodable(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {_encodable(hint)}", file=sys.stderr)


def _encodable(text: str) -> str:
    encoding = sys.stderr.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a command and say how it ended.

    Args:
        app: the commands.
        arguments: the command line, without the program's name.

    Returns:
        The exit code; nothing is raised.
    """
    signal.signal(signal.SIGTERM, _terminate)
    debug = "--debug" in arguments
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")  # what users should know, the commands say themselves
            code = app(list(arguments), standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        if debug and not isinstance(error, typer.TyperException | typer.Exit):
            traceback.print_exc()
        code = _exit_code(error)
    return code if isinstance(code, int) else 0


def _pipe_closed(error: BaseException | None) -> bool:
    """Whether the reader of our output went away. Typer and rich turn that into SystemExit(1) on the way here."""
    while error is not None:
        if isinstance(error, BrokenPipeError):
            return True
        error = error.__context__ if isinstance(error, SystemExit) else None
    return False


def _exit_code(error: BaseException) -> int:
    """Tell the user about `error`, and say what the process exits with."""
    if isinstance(error, typer.Exit):  # typer turns KeyboardInterrupt into this, with 130
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return EXIT_SIGINT
    if isinstance(error, Terminated):
        return EXIT_SIGTERM
    if _pipe_closed(error):
        # Python flushes stdout once more on exit; let that go nowhere instead of failing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        error = MachineError(f"no space left: {error}", "Free some space, or write elsewhere.")
    if isinstance(error, MemoryError):
        error = MachineError("out of memory", "Close other programs, or use a smaller model or --batch-size.")
    if isinstance(error, VideoMAEError | typer.TyperException):
        print_error(error)
        return error.exit_code
    print(f"error: internal error: {type(error).__name__}: {_encodable(str(error))}", file=sys.stderr)
    print("hint: This is a bug. Please report it with the traceback that --debug prints.", file=sys.stderr)
    return EXIT_INTERNAL
