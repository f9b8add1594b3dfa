"""Where records go: stdout, or a file that is whole whenever it carries its name."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import MachineError, UsageError
from ..report.formats import FORMATS, SUBTITLES, FormatName, make_renderer
from ..report.parquet import require_pyarrow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import FileIO

    from rich.console import Console

    from ..inference.records import Record
    from ..report.html import PageRenderer


def choose_format(asked: str | None, output: Path | None) -> FormatName:
    """The format that was asked for, else the one that the file's suffix names, else text.

    Raises:
        UsageError: the name or the suffix is none of ours, or a package is not installed that it needs.
    """
    name = asked or (output.suffix.lower().removeprefix(".") if output else "text")
    name = "text" if name in ("txt", "tsv") else name
    for known in FORMATS:
        if name == known:
            if known == "parquet":
                require_pyarrow()
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

    On stdout and in a .jsonl file records appear one by one, each whole or not at all. Any other file is written under
    a temporary name in the same folder and renamed at the end. As a context manager it is finished on the way out, also
    when the loop was interrupted: what was done is there, and it parses.

    Args:
        name: the format, or what writes a page.
        path: the file; None is stdout.
        append: go on behind the records that a .jsonl file holds.
        at_once: let a .jsonl file too have its name only when it is done.
        console: for text on a terminal.
        about: what the records of JSON lines say besides, from the path of the input.
        by_segment: see `Renderer`.
        page: another output, which gets the same records.
    """

    def __init__(
        self,
        name: FormatName | PageRenderer,
        path: Path | None = None,
        *,
        append: bool = False,
        at_once: bool = False,
        console: Console | None = None,
        about: Callable[[str], Mapping[str, Any]] | None = None,
        by_segment: bool = False,
        page: RecordOutput | None = None,
    ) -> None:
        self._renderer = make_renderer(name, console, by_segment=by_segment) if isinstance(name, str) else name
        self._page = page
        self._lacks_labels = name in SUBTITLES  # no file is better than an empty one
        self._about = about
        self._path = path
        self._temporary: Path | None = None
        self._failed = False
        if path is None:  # unbuffered, so that a record is out when it is said to be
            self._stream: FileIO = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
        elif name == "jsonl" and not at_once:
            self._stream = path.open("ab" if append else "wb", buffering=0)
        else:
            self._temporary = path.resolve().with_name(f".videomae-{uuid4().hex}")
            self._stream = self._temporary.open("wb", buffering=0)

    def __enter__(self) -> RecordOutput:
        self._write(self._renderer.head())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._failed and (self._path is None or not self._renderer.ends_anywhere):
                return
            self._write(self._renderer.tail())
            if self._path and self._temporary and self._lacks_labels:
                return
            if self._path and self._temporary:
                from ..weights.write import publish  # not at the top: --help does without it

                publish(self._temporary, self._path.resolve())
            elif self._path:
                os.fsync(self._stream.fileno())
        finally:
            self._stream.close()
            if self._temporary:
                self._temporary.unlink(missing_ok=True)

    def write(self, record: Record) -> None:
        """Write one record.

        Raises:
            MachineError: the disk is full, or the like; a file then ends with the record before.
        """
        self._lacks_labels &= record.status == "error"
        self._write(self._renderer.record(record, self._about(record.path) if self._about else {}))
        if self._page:
            self._page.write(record)

    def write_values(self, values: Mapping[str, Any]) -> None:
        """Write one record that is plain values already.

        Args:
            values: as they are read back from JSON lines.

        Raises:
            MachineError: as `write`.
        """
        self._write(self._renderer.values(values))

    def _write(self, data: str | bytes) -> None:
        whole = os.fstat(self._stream.fileno()).st_size if self._path else 0
        rest = memoryview(data.encode() if isinstance(data, str) else data)
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
                os.truncate(self._stream.fileno(), whole)
                self._stream.seek(whole)
            raise _cannot_write(str(self._path or "stdout"), error) from None


def _cannot_write(where: str, error: OSError) -> MachineError:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    hint = "Free some space, or write elsewhere." if is_full else "Write to a folder that is there and writable."
    return MachineError(f"cannot write {where!r}: {error.strerror}", hint)
