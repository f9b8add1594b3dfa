"""Where records go: stdout, or a file that is whole whenever it carries its name."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MachineError, UsageError
from ..report.formats import FORMATS, FormatName, Renderer

if TYPE_CHECKING:
    from io import FileIO

    from rich.console import Console

    from ..inference.records import Record


def choose_format(asked: str | None, output: Path | None) -> FormatName:
    """The format that was asked for, else the one that the file's suffix names, else text.

    Raises:
        UsageError: the name or the suffix is none of ours.
    """
    name = asked or (output.suffix.lower().removeprefix(".") if output else "text")
    name = "text" if name in ("txt", "tsv") else name
    for known in FORMATS:
        if name == known:
            return known
    what = f"unknown format {asked!r}" if asked else f"cannot tell the format of {str(output)!r} from its suffix"
    raise UsageError(what, f"Use -f with one of {', '.join(FORMATS)}.")


def check_writable(output: Path) -> None:
    """Find out that a file cannot be written there before hours are spent on its content.

    Raises:
        MachineError: the folder is missing or cannot be written, or what is there is no regular file.
    """
    import tempfile

    if os.path.lexists(output) and not os.path.isfile(output):
        what = "a folder" if os.path.isdir(output) else "not a regular file"
        raise MachineError(f"cannot write {str(output)!r}: it is {what}", "Name a file; without -o, stdout is used.")
    try:
        with tempfile.NamedTemporaryFile(dir=output.resolve().parent, prefix=".videomae-"):
            pass
        if os.path.isfile(output):
            with output.open("ab"):
                pass
        with contextlib.suppress(FileNotFoundError):
            os.stat(output)  # a name that is too long shows here
    except OSError as error:
        raise _cannot_write(str(output), error) from None


class RecordOutput:
    """Writes records in one format, each as soon as it is known.

    On stdout and in a .jsonl file records appear one by one, each whole or not at all. Any other file is written at the
    end, at once. As a context manager it is finished on the way out, also when the loop was interrupted: what was done
    is there, and it parses.

    Args:
        name: the format.
        path: the file; None is stdout.
        append: go on behind the records that a .jsonl file holds.
        console: for text on a terminal.
        by_segment: see `Renderer`.
    """

    def __init__(
        self,
        name: FormatName,
        path: Path | None = None,
        *,
        append: bool = False,
        console: Console | None = None,
        by_segment: bool = False,
    ) -> None:
        self._renderer = Renderer(name, console, by_segment=by_segment)
        self._path = path
        self._held: list[str] | None = [] if path and name != "jsonl" else None
        self._stream: FileIO | None = None
        self._failed = False
        if path is None:  # unbuffered, so that a record is out when it is said to be
            self._stream = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
        elif name == "jsonl":
            self._stream = path.open("ab" if append else "wb", buffering=0)

    def __enter__(self) -> RecordOutput:
        self._write(self._renderer.head())
        return self

    def __exit__(self, *_: object) -> None:
        if not self._failed:
            self._write(self._renderer.tail())
        if self._path and self._held is not None and self._renderer.has_content:
            from ..weights.write import write_atomically

            write_atomically(self._path.resolve(), "".join(self._held).encode())
        if self._path and self._stream:
            os.fsync(self._stream.fileno())
        if self._stream:
            self._stream.close()

    def write(self, record: Record) -> None:
        """Write one record.

        Raises:
            MachineError: the disk is full, or the like; a file then ends with the record before.
        """
        self._write(self._renderer.record(record))

    def _write(self, text: str) -> None:
        if self._held is not None:
            self._held.append(text)
            return
        assert self._stream is not None
        whole = os.fstat(self._stream.fileno()).st_size if self._path else 0
        rest = memoryview(text.encode())
        try:
            while rest:
                written = self._stream.write(rest)
                if written is None:  # a pipe that somebody made non-blocking
                    raise BlockingIOError(None, "it takes no more")
                rest = rest[written:]
        except OSError as error:
            self._failed = True
            if isinstance(error, BrokenPipeError):
                raise
            if self._path:
                os.ftruncate(self._stream.fileno(), whole)
            raise _cannot_write(str(self._path or "stdout"), error) from None


def _cannot_write(where: str, error: OSError) -> MachineError:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    hint = "Free some space, or write elsewhere." if is_full else "Write to a folder that is there and writable."
    return MachineError(f"cannot write {where!r}: {error.strerror}", hint)
