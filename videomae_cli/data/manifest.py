"""Which videos there are, and what they show: a folder for each class, or a list.

Whether the videos can be read is not looked at here: that is told when they are read.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np

from ..errors import UsageError
from .folders import subfolders, videos_in, walk_videos
from .lists import WHOLE_NUMBER, Faults, Row, read_rows

_MAX_NAMED = 10
_LABELS_FILE = "labels.txt"


@dataclass(frozen=True, slots=True)
class Sample:
    """One video.

    Args:
        path: a video file or a folder of frames, absolute or relative to the working folder.
        label: index of its class; None where there are no labels.
        source: where it was named, for messages: "list.csv:12", or a folder.
    """

    path: str
    label: int | None
    source: str


@dataclass(frozen=True)
class Manifest:
    """The videos of a data set.

    Args:
        samples: in the order of the folder or the list.
        labels: class names by index; empty without labels.
        notes: what its user may want to know, a sentence each.
    """

    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_manifest(
    path: str, *, root: str | None = None, labels: Sequence[str] | None = None, labelled: bool = True
) -> Manifest:
    """Read the videos of a folder or a list.

    A folder holds a folder for each class, whose index is its place among the sorted names. A list has a path and a
    label on each line (`lists.py` says how): class names, which are sorted likewise, or indices, whose names may be
    the lines of a `labels.txt` beside the list.

    Args:
        path: of the folder or the list.
        root: what the paths of a list are relative to, and may not leave. None is the folder of the list, which
            relative paths may not leave; absolute ones then may name any place.
        labels: the class names to use, of another part of the same data; None makes them from this one.
        labelled: False takes any tree of folders, or a list of paths, and no labels.

    Raises:
        UsageError: there are no videos, a class has none, or lines of the list are wrong: all are told at once.
    """
    if os.path.isdir(path):
        return _read_classes(path, labels) if labelled else _read_tree(path)
    if not os.path.exists(path):
        raise UsageError(f"no such file or folder: {path!r}", "Name a folder with a folder for each class, or a list.")
    return _read_list(path, root, labels, labelled)


# ---- folders ---------------------------------------------------------------------------------------------------------


def _read_tree(top: str) -> Manifest:
    samples = tuple(Sample(video, None, top) for video in walk_videos(top))
    if not samples:
        raise UsageError(
            f"no video found in {top!r}", "Videos are looked for by suffix (.mp4, .mkv, ...), at any depth."
        )
    return Manifest(samples, ())


def _read_classes(top: str, labels: Sequence[str] | None) -> Manifest:
    classes = subfolders(top)
    if not classes:
        raise UsageError(f"{top!r} holds no folders", "It must hold a folder for each class, with videos in it.")
    known = _unique(labels) if labels is not None else classes
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise UsageError(
            f"{top!r} has folders of classes that were not trained: {_named(map(repr, unknown))}",
            f"The classes are: {_named(known)}.",
        )
    index = {name: place for place, name in enumerate(known)}
    samples: list[Sample] = []
    empty = []
    for name in classes:
        folder = os.path.join(top, name)
        found = [Sample(video, index[name], folder) for video in walk_videos(folder)]
        samples += found
        if not found:
            empty.append(name)
    if empty:
        raise UsageError(
            f"{top!r} has classes without videos: {_named(map(repr, empty))}",
            "Videos are looked for by suffix (.mp4, .mkv, ...), at any depth; remove the folders that are no classes.",
        )
    stray = len(videos_in(top))
    notes = (f"{top!r} has {stray} videos outside of its class folders, which are left out",) if stray else ()
    return Manifest(tuple(samples), tuple(known), notes)


# ---- lists -----------------------------------------------------------------------------------------------------------


def _read_list(path: str, root: str | None, labels: Sequence[str] | None, labelled: bool) -> Manifest:
    if root is not None and not os.path.isdir(root):
        raise UsageError(f"there is no folder {root!r}", "data.root is the folder that the paths of a list begin at.")
    faults = Faults(path)
    top = (os.path.dirname(path) or ".") if root is None else root
    rows = [
        replace(row, path=_confined(row, top, may_be_absolute=root is None, faults=faults))
        for row in read_rows(path, root=top, labelled=labelled, faults=faults)
    ]
    if not rows and not faults.lines:
        raise UsageError(f"the list {path!r} names no video", "A line is a path and a label.")
    classes: tuple[str, ...] = ()
    indices: list[int] | list[None] = [None] * len(rows)
    if labelled:
        classes, indices = _classes(path, rows, labels, faults)
    samples: dict[str, tuple[Sample, int]] = {}
    num_repeated = 0
    for row, index in zip(rows, indices, strict=True):
        first, line = samples.setdefault(row.path, (Sample(row.path, index, f"{path}:{row.line}"), row.line))
        num_repeated += line != row.line
        if first.label != index and row.path:
            faults.add(row.line, f"{row.path!r} has the label {row.label!r} here, and another in line {line}")
    faults.raise_if_any()
    notes = (f"{path!r} repeats {num_repeated} of its lines; each video is taken once",) if num_repeated else ()
    return Manifest(tuple(sample for sample, _ in samples.values()), classes, notes)


def _confined(row: Row, root: str, may_be_absolute: bool, faults: Faults) -> str:
    """The path ready to open; empty where it is refused. By its letters: links in `root` may lead anywhere."""
    if not row.path:
        faults.add(row.line, "there is no path")
        return ""
    path = os.path.normpath(os.path.join(root, row.path))
    if os.path.isabs(row.path) and may_be_absolute:
        return path
    within, top = os.path.abspath(path), os.path.abspath(root)
    if within != top and os.path.commonpath([within, top]) == top:
        return path
    faults.add(row.line, f"{row.path!r} leads out of the folder {root!r}")
    return ""


def _classes(
    path: str, rows: Sequence[Row], labels: Sequence[str] | None, faults: Faults
) -> tuple[tuple[str, ...], list[int]]:
    """Class names, and the index of each row's class (-1 where it has none)."""
    words = [row.label or "" for row in rows]
    for row, word in zip(rows, words, strict=True):
        if not word:
            faults.add(row.line, "there is no label")
    are_names = set(words) <= set(labels or ())
    num_whole = sum(bool(WHOLE_NUMBER.fullmatch(word)) for word in words)
    if not are_names and 2 * num_whole > len(words):  # a misspelt index must not make names of all the others
        return _by_index(path, rows, labels, faults)
    names = tuple(_unique(labels)) if labels is not None else tuple(sorted(set(words) - {""}))
    index = {name: place for place, name in enumerate(names)}
    for row, word in zip(rows, words, strict=True):
        if word and word not in index:
            faults.add(row.line, f"the class {word!r} is not among those trained: {_named(names)}")
    return names, [index.get(word, -1) for word in words]


def _by_index(
    path: str, rows: Sequence[Row], labels: Sequence[str] | None, faults: Faults
) -> tuple[tuple[str, ...], list[int]]:
    names = _read_labels_file(path) if labels is None else _unique(labels)
    indices = []
    for row in rows:
        index = -1
        if row.label and not WHOLE_NUMBER.fullmatch(row.label):
            faults.add(
                row.line, f"the label {row.label!r} is no number, as most others are (a header has a column 'path')"
            )
        elif row.label and (index := int(row.label)) < 0:
            faults.add(row.line, f"the label {index} is negative")
        elif names and index >= len(names):
            faults.add(row.line, f"the label {index} is out of range: there are {len(names)} classes")
        indices.append(index)
    faults.raise_if_any()
    num_classes = len(names) or max(indices) + 1
    if labels is None and (num_empty := num_classes - len(seen := set(indices))):
        missing = islice((index for index in count() if index not in seen), min(num_empty, _MAX_NAMED))
        raise UsageError(
            f"{path!r} has labels up to {num_classes - 1}, and no video for {num_empty} of them: "
            f"{', '.join(map(str, missing))}{', ...' if num_empty > _MAX_NAMED else ''}",
            "Every class needs a video: number the classes from 0 without gaps, or use their names for labels.",
        )
    return tuple(names) or tuple(map(str, range(num_classes))), indices


def _read_labels_file(path: str) -> list[str]:
    """The class names beside a list; none when there is no such file."""
    file = os.path.join(os.path.dirname(path), _LABELS_FILE)
    if not os.path.isfile(file):
        return []
    with open(file, encoding="utf-8-sig", errors="replace") as lines:
        return _unique([line.strip() for line in lines if line.strip()])


def _unique(labels: Sequence[str]) -> list[str]:
    twice = [name for name, number in Counter(labels).items() if number > 1]
    if twice:
        raise UsageError(f"classes are named twice: {_named(map(repr, twice))}", "Each class has a name of its own.")
    return list(labels)


def _named(names: Iterable[str]) -> str:
    shown = list(names)
    more = len(shown) - _MAX_NAMED
    return ", ".join(shown[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


# ---- training and validation -----------------------------------------------------------------------------------------

_SOURCE_OF = (  # names of clips that were cut from one recording -> the recording
    re.compile(r"(?P<source>[\w-]{11})_[0-9]{6}_[0-9]{6}"),  # Kinetics: YouTube id, start and end in seconds
    re.compile(r"(?P<source>v_\w+_g[0-9]{2})_c[0-9]{2}"),  # UCF101: group and clip
)


def split(manifest: Manifest, fraction: float, seed: int) -> tuple[Manifest, Manifest]:
    """Hold part of the videos back for validation.

    Clips of one recording stay together: those that are the same file, and those that Kinetics
    (`ID_000010_000020`) or UCF101 (`v_Class_g01_c01`) name as parts of one. Of every class, recordings are drawn until
    the fraction is reached, one at least, and never more than half of the videos for the sake of a large recording;
    a class with one recording stays in training.

    Args:
        manifest: all videos.
        fraction: to hold back, in [0, 1).
        seed: of the draw.

    Returns:
        The videos for training and those for validation, each in the order that they had.

    Raises:
        UsageError: the fraction is out of range, or there are too few recordings to hold one back.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"the validation fraction is {fraction}", "It must be at least 0 and below 1.")
    groups: dict[str, list[int]] = {}
    for place, sample in enumerate(manifest.samples):
        groups.setdefault(_source_of(sample.path), []).append(place)
    sizes = Counter(sample.label for sample in manifest.samples)
    wanted = {label: min(max(1, round(fraction * size)), size - 1) for label, size in sizes.items()}
    taken: Counter[int | None] = Counter()
    held: set[int] = set()
    shuffled = list(groups.values()) if fraction else []
    np.random.default_rng(seed).shuffle(shuffled)
    for group in shuffled:
        adds = Counter(manifest.samples[place].label for place in group)
        if all(
            taken[label] < wanted[label] and taken[label] + number <= max(wanted[label], sizes[label] // 2)
            for label, number in adds.items()
        ):
            taken.update(adds)
            held.update(group)
    if fraction and not held:
        raise UsageError(
            f"{len(manifest.samples)} videos of {len(groups)} recordings are too few to hold {fraction} of them back",
            "Name videos for validation (data.validation), or set data.validation_fraction to 0.",
        )
    parts: tuple[list[Sample], list[Sample]] = ([], [])
    for place, sample in enumerate(manifest.samples):
        parts[place in held].append(sample)
    return replace(manifest, samples=tuple(parts[0])), replace(manifest, samples=tuple(parts[1]))


def _source_of(path: str) -> str:
    stem = os.path.splitext(os.path.basename(path))[0]
    match = next(filter(None, (pattern.fullmatch(stem) for pattern in _SOURCE_OF)), None)
    return match["source"] if match else os.path.realpath(path)
