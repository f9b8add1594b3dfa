"""List files -> rows of (line, path, label): the format is found out, what the rows mean is `manifest.py`'s.

A row holds a path and, where there are labels, a label, parted by tabs, commas or spaces; quotes are as in CSV. There
may be a header, further columns, blank lines and lines that begin with `#`.
"""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import UsageError
from ..video.suffixes import VIDEO_SUFFIXES

_PATH_HEADERS = frozenset("path video video_path filename file_name file filepath file_path clip".split())
_LABEL_HEADERS = frozenset("label labels class class_name category target action label_idx class_index".split())
_NUM_SNIFFED = 100  # lines that the format is judged by
_NUM_BYTES_JUDGED = 65_536
_MAX_FAULTS = 10
_FILE_AND_REST = re.compile(rf"(.*(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))}))\s+(.+)", re.I)
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list.

    Args:
        line: its number, from 1.
        path: as it is written.
        label: likewise; None in a list that is read without labels.
    """

    line: int
    path: str
    label: str | None


@dataclass
class Faults:
    """Everything wrong with one list, to be told at once.

    Args:
        path: of the list.
    """

    path: str
    lines: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, what: str) -> None:
        """Note what is wrong with a line."""
        self.lines.append((line, what))

    def raise_if_any(self) -> None:
        """Tell them, if there are any.

        Raises:
            UsageError: names the first ten lines, and says how many there are.
        """
        if not self.lines:
            return
        shown = [f"{self.path}:{line}: {what}" for line, what in sorted(self.lines)[:_MAX_FAULTS]]
        if more := len(self.lines) - len(shown):
            shown.append(f"and {more} more")
        lines = "1 line" if len(self.lines) == 1 else f"{len(self.lines)} lines"
        raise UsageError(
            "\n  ".join([f"{lines} of {self.path!r} cannot be used:", *shown]),
            "A line is a path and a label, parted by a comma, a tab or a space.",
        )


def read_rows(path: str, *, root: str, labelled: bool, faults: Faults) -> list[Row]:
    """The rows of a list.

    Args:
        path: of the list; UTF-8 with or without a byte order mark, other bytes in file names are kept.
        root: what its paths are relative to: where nothing else tells a path from a label, the file's presence does.
        labelled: whether there are labels; without, only paths are looked for.
        faults: takes the lines that are wrong.

    Raises:
        UsageError: the file cannot be read, or is no list.
    """
    lines = _content(path)

    def evidence(cell: str) -> int:
        """Whether a cell is a video: by its name, else by its presence, which the folder of a class may have too."""
        return 2 if _has_video_name(cell) else int(bool(cell) and os.path.exists(os.path.join(root, cell)))

    split = _sniff([text for _, text in lines[:_NUM_SNIFFED]], labelled, evidence)
    table = []
    for number, text in lines:
        try:
            table.append((number, split(text)))
        except csv.Error as error:
            faults.add(number, f"cannot be parted into columns: {error}")
    if not table:
        return []
    path_column = _path_column([cells for _, cells in table[:_NUM_SNIFFED]], evidence)
    label_column = None
    header = [cell.lower() for cell in table[0][1]]
    if _PATH_HEADERS.intersection(header) and not any(map(_has_video_name, header)):
        path_column = next((k for k, cell in enumerate(header) if cell in _PATH_HEADERS), path_column)
        label_column = next((k for k, cell in enumerate(header) if cell in _LABEL_HEADERS), None)
        table = table[1:]
    return [Row(number, *_pick(cells, path_column, label_column, labelled)) for number, cells in table]


def _content(path: str) -> list[tuple[int, str]]:
    """Numbered lines that hold something."""
    hint = "Give a folder with a folder for each class, or a text file with a path and a label on each line."
    try:
        with open(path, "rb") as file:
            data = file.read(_NUM_BYTES_JUDGED)
            data += b"" if b"\0" in data else file.read()  # not all of a video
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the list {path!r}: {error}", hint) from error
    if b"\0" in data:
        raise UsageError(f"{path!r} is no list: it holds zero bytes", hint)
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    lines = enumerate(text.split("\n"), 1)  # not splitlines, which parts file names at odd characters
    return [(k, line.strip()) for k, line in lines if line.strip() and not line.lstrip().startswith("#")]


# ---- the format ------------------------------------------------------------------------------------------------------

Splitter = Callable[[str], list[str]]


def _by_commas(line: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True, strict=True))]


def _by_tabs(line: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter="\t", strict=True))]


def _by_spaces(line: str) -> list[str]:
    """Path and label, either with spaces in it; numbers between are V1's counts of frames, and are passed over."""
    if line.startswith('"'):
        return [cell for cell in next(csv.reader([line], delimiter=" ", strict=True)) if cell]
    if match := _FILE_AND_REST.fullmatch(line):
        path, label = match.groups()
    elif line.endswith('"'):
        path, _, label = line[:-1].rpartition('"')
    else:  # a folder of pictures, and one word
        path, label = [*line.rsplit(None, 1), ""][:2]
        if not label or _has_video_name(label):  # the end of a path: there is no label
            return [line]
    return [re.sub(r"(\s+[+-]?[0-9]+)+$", "", path.rstrip()), re.sub(r"^([+-]?[0-9]+\s+)+", "", label).strip('"')]


def _as_one(line: str) -> list[str]:
    return [line.strip('"')]


def _sniff(lines: Sequence[str], labelled: bool, evidence: Callable[[str], int]) -> Splitter:
    """The way of parting that shows the most videos, then the one that gives the most lines two columns."""

    def score(split: Splitter) -> tuple[int, int]:
        found = num_parted = 0
        for line in lines:
            try:
                cells = split(line)
            except csv.Error:
                continue
            is_parted = len(cells) > 1
            found += max(map(evidence, cells)) if is_parted or not labelled else 0
            num_parted += is_parted and labelled
        return found, num_parted

    splitters = [_by_tabs, _by_commas, _by_spaces]
    return max(splitters if labelled else [_as_one, *splitters], key=score)  # the first of equals


def _path_column(rows: Sequence[Sequence[str]], evidence: Callable[[str], int]) -> int:
    num_columns = max(map(len, rows))
    found = [sum(evidence(cells[k]) for cells in rows if len(cells) > k) for k in range(num_columns)]
    return found.index(max(found))  # the first of equals


def _pick(cells: Sequence[str], path_column: int, label_column: int | None, labelled: bool) -> tuple[str, str | None]:
    """Path and label of a row; empty where the row has no such column."""
    path = cells[path_column] if len(cells) > path_column else ""
    if not labelled:
        return path, None
    if label_column is None:  # the last that is not the path
        label_column = len(cells) - 1 if len(cells) - 1 != path_column else len(cells) - 2
    return path, cells[label_column] if 0 <= label_column < len(cells) else ""


def _has_video_name(cell: str) -> bool:
    return os.path.splitext(cell)[1].lower() in VIDEO_SUFFIXES
