"""Where records go: stdout, or a file that is whole whenever it carries its name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import MachineError, UsageError
from ..report.formats import FORMATS, FormatName, Renderer

if TYPE_CHECKING:
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
    raise UsageError(what, f"Use -f {', '.join(FORMATS)}.")


def check_writable(output: Path) -> None:
    """Find out that a file cannot be written there before hours are spent on its content.

    Raises:
        MachineError: the folder is missing or cannot be written, or a folder is in the way.
    """
    if output.is_dir():
        raise MachineError(f"cannot write {str(output)!r}: it is a folder", "Name a file in it.")
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}."):
            pass
        if output.exists():
            with output.open("ab"):
                pass
    except OSError as error:
        raise MachineError(f"cannot write {str(output)!r}: {error.strerror}", "Write elsewhere with -o.") from error


class RecordOutput:
    """Writes records in one format, each as soon as it is known.

    On stdout and in a .jsonl file records appear one by one, each in one write. Any other file is written at the end,
    at once. As a context manager it is finished on the way out, also when the loop was interrupted: what was done is
    there, and it parses.

    Args:
        name: the format.
        path: the file; None is stdout.
        append: go on behind the records that a .jsonl file holds.
        console: for text on a terminal.
    """

    def __init__(
        self,
        name: FormatName,
        path: Path | None = None,
        *,
        append: bool = False,
        console: Console | None = None,
    ) -> None:
        self._renderer = Renderer(name, console)
        self._path = path
        self._held: list[str] | None = [] if path and name != "jsonl" else None
        self._stream: BinaryIO | None = None
        if path is None:
            self._stream = sys.stdout.buffer
        elif name == "jsonl":
            self._stream = path.open("ab" if append else "wb")

    def __enter__(self) -> RecordOutput:
        self._write(self._renderer.head())
        return self

    def __exit__(self, *_: object) -> None:
        self._write(self._renderer.tail())
        if self._path and self._held is not None:
            from ..weights.write import write_atomically

            write_atomically(self._path, "".join(self._held).encode())
        elif self._path and self._stream:
            os.fsync(self._stream.fileno())
            self._stream.close()

    def write(self, record: Record) -> None:
        """Write one record."""
        self._write(self._renderer.record(record))

    def _write(self, text: str) -> None:
        if self._held is not None:
            self._held.append(text)
        elif self._stream and text:
            self._stream.write(text.encode())
            self._stream.flush()
