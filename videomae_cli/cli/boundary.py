"""The boundary between the commands and the shell: errors -> two lines on stderr, everything -> an exit code.

0 all done, 1 some inputs failed, 2 usage or configuration, 3 model or hub, 4 environment, 5 training diverged,
70 internal bug, 130 SIGINT, 143 SIGTERM. A closed stdout pipe is a silent 0.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
import traceback
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, NoReturn

import typer

from ..errors import MachineError, VideoMAEError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

EXIT_INTERNAL = 70
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
EXIT_SIGINT = 128 + signal.SIGINT
EXIT_SIGTERM = 128 + signal.SIGTERM


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no `except Exception` on the way swallows it."""


class Interruption:
    """Turns signals into a flag, so that what runs meanwhile stops where it is whole, and not in the middle.

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

    def halt(self) -> Literal["", "drain", "now"]:
        """How a batch is to stop: SIGINT lets it finish what is begun, SIGTERM has no time for that."""
        if not self.exit_code:
            return ""
        return "drain" if self.exit_code == EXIT_SIGINT else "now"

    def raise_if_noted(self) -> None:
        """Do now what the signal would have done at once."""
        if self.exit_code:
            raise KeyboardInterrupt if self.exit_code == EXIT_SIGINT else Terminated

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.raise_if_noted()
        self.exit_code = 128 + number


@contextmanager
def importing_torch() -> Iterator[None]:
    """Around the import of torch and what stands on it: undisturbed by signals, and a quarter of the time saved.

    Threads of torch's that have nothing to do are to sleep, not to spin: beside decoders that want the cores, spinning
    took a third of all time. OpenMP reads that wish from the environment, once, when torch is loaded.

    Imports make hundreds of thousands of objects that stay. The garbage collector would look through them again and
    again, and once more at the end of the process; it is off meanwhile and leaves them alone for good.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    gc.disable()
    try:
        with Interruption() as interruption:  # an exception in the middle of an import breaks more than that
            yield
    finally:
        gc.freeze()
        gc.enable()
    interruption.raise_if_noted()


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def say(text: str) -> None:
    """One line on stderr. A stderr that is closed or full takes nothing and stops nothing."""
    encoding = sys.stderr.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (it stays open to the end)


def say_error(message: str, hint: str) -> None:
    """What was wrong, and what to do about it."""
    say(f"error: {message}")
    if hint:
        say(f"hint: {hint}")


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a command and say how it ended.

    Args:
        app: the commands.
        arguments: the command line, without the program's name.

    Returns:
        The exit code; nothing is raised.
    """
    signal.signal(signal.SIGTERM, _terminate)
    if sys.stdout is None:  # the shell closed it: >&-
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options or os.environ.get("VIDEOMAE_DEBUG", "").lower() in ("1", "true", "yes", "on")
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")  # what users should know, the commands say themselves
            code = app(list(arguments), standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        if debug and not isinstance(error, typer.TyperException | typer.Exit):
            say(traceback.format_exc().rstrip())
        code = _exit_code(error)
    return code if isinstance(code, int) else 0


def leave(code: int) -> NoReturn:
    """End the process with an exit code: what is registered for the exit is done, what was printed is flushed.

    The interpreter is not taken down. With torch in it that takes 0.3 seconds, and threads of torch's process groups
    (2.13) now and then abort the process when they meet it half gone.

    Args:
        code: from `run`.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(code))  # whatever an exit function does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _discard_stdout() -> None:
    """Let what Python still holds for stdout go nowhere: it is flushed once more on exit, and would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        _discard_stdout()
        return 0
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        _discard_stdout()
        error = MachineError(f"cannot write: {error.strerror}", "Free some space, or write elsewhere.")
    if isinstance(error, MemoryError):
        error = MachineError("out of memory", "Close other programs, or use a smaller model or --batch-size.")
    if isinstance(error, VideoMAEError):
        say_error(error.message, error.hint)
        return error.exit_code
    if isinstance(error, typer.TyperException):
        if message := error.format_message():  # none where the help was printed instead
            say_error(message, "Run videomae --help, or the command with --help.")
        return error.exit_code
    say_error(
        f"internal error: {type(error).__name__}: {error}",
        "This is a bug. Please report it with the traceback that --debug prints.",
    )
    return EXIT_INTERNAL
