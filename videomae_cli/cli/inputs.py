"""Command-line inputs -> the list of files to classify, before anything heavy is imported.

A path named by the user and not there is a usage error; a path that a list or a folder turns up, and that cannot be
read, is an error record. Every file appears once, in the order of the inputs; folders are walked in sorted order.
"""

from __future__ import annotations

import codecs
import errno
import glob
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..inference.records import Failure
from ..video.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES


@dataclass
class Inputs:
    """What the command line asks for.

    Attributes:
        items: files to classify, and failures that are known already, in order.
        num_repeated: how many inputs named a file that was there before.
    """

    items: list[str | Failure] = field(default_factory=list)
    num_repeated: int = 0


def collect_inputs(arguments: list[str], files_from: str | None = None, *, allow_images: bool = False) -> Inputs:
    """Expand files, folders, globs and lists.

    Args:
        arguments: paths and glob patterns, as the user gave them.
        files_from: a text file with a path on each line, or "-" for stdin.
        allow_images: take still images from folders too.

    Raises:
        UsageError: a named path is missing or is no file or folder; nothing matches; the list cannot be read.
    """
    walk = _Walk(VIDEO_SUFFIXES | IMAGE_SUFFIXES if allow_images else VIDEO_SUFFIXES)
    unmatched: list[str] = []
    for argument in arguments:
        if _is_there(argument):
            _refuse_special(argument)
            walk.add(argument)
            continue
        matches = sorted(glob.glob(argument, recursive=True)) if glob.has_magic(argument) else []
        for match in matches:
            walk.add(match)
        if not matches:
            unmatched.append(argument)
    if unmatched:
        raise UsageError(
            f"no such file or folder: {', '.join(map(repr, unmatched))}",
            "Check the path. Quote a glob pattern; put -- before a name that starts with a dash.",
        )
    for line in read_list(files_from) if files_from else []:
        walk.add(line)
    if not walk.inputs.items:
        named = [*arguments, *([files_from] if files_from else [])]
        if not named:
            raise UsageError("no input is given", "Name videos or folders, or a list with --files-from.")
        found = f"no video found in {', '.join(map(repr, named))}"
        raise UsageError(found, "Folders are searched by file suffix (.mp4, .mkv, ...).")
    return walk.inputs


def read_list(files_from: str) -> list[str]:
    """The paths in a list, one a line; empty lines are skipped. File names need not be UTF-8.

    Raises:
        UsageError: the list cannot be read.
    """
    hint = "Give a text file with a path on each line, or - for stdin."
    try:
        if files_from == "-":
            data = sys.stdin.buffer.read() if sys.stdin else b""  # None where the shell closed it: <&-
        else:
            data = Path(files_from).read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the list {files_from!r}: {error}", hint) from error
    if b"\0" in data:
        raise UsageError(f"{files_from!r} is no list of paths: it holds zero bytes", hint)
    lines = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").split(b"\n")
    return [os.fsdecode(line) for line in lines if line.strip()]


class _Walk:
    """Collects files once each; the state of one `collect_inputs` call."""

    def __init__(self, suffixes: frozenset[str]) -> None:
        self.inputs = Inputs()
        self._suffixes = suffixes
        self._seen: set[str] = set()  # real paths
        self._folders: set[tuple[int, int]] = set()  # (device, inode): a symlink loop comes back to one of them

    def add(self, path: str) -> None:
        """A file, or every video below a folder."""
        if os.path.isdir(path):
            self._add_folder(path)
        else:
            self._add_file(path)

    def _add_file(self, path: str) -> None:
        if self._is_new(path):
            self.inputs.items.append(path)

    def _is_new(self, path: str) -> bool:
        try:
            real = os.path.realpath(path)
        except (OSError, ValueError):  # no working folder, or no name at all: the reader says what is wrong
            real = path
        if real in self._seen:
            self.inputs.num_repeated += 1
            return False
        self._seen.add(real)
        return True

    def _add_folder(self, top: str) -> None:
        for folder, subfolders, names in os.walk(top, onerror=self._note_unreadable, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in self._folders:
                subfolders.clear()
                continue
            self._folders.add((status.st_dev, status.st_ino))
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                path = os.path.join(folder, name)
                if Path(name).suffix.lower() in self._suffixes and not name.startswith(".") and not _is_special(path):
                    self._add_file(path)

    def _note_unreadable(self, error: OSError) -> None:
        folder = error.filename
        if self._is_new(folder):
            self.inputs.items.append(
                Failure(folder, "unreadable", f"cannot list the folder {folder!r}: {error.strerror}")
            )


def _is_there(path: str) -> bool:
    """Whether the path names something. A place that may not be looked into counts: the reader says what is wrong."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
    except ValueError:  # a zero byte in the name
        return False
    return True


def _is_special(path: str) -> bool:
    """Whether this is a pipe, device or socket: nothing that can be seeked in."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False  # the reader says what is wrong
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _refuse_special(path: str) -> None:
    if _is_special(path):
        raise UsageError(
            f"{path!r} is neither a file nor a folder",
            "Pipes, devices and sockets cannot be read: save it to a file.",
        )
