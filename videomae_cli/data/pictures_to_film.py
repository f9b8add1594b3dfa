"""Still pictures for a camera to move over: drawn ones, and those that a folder's pictures and videos hold.

Letters: H W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

from ..errors import UsageError
from ..video.container import DEFAULT_MAX_PIXELS
from ..video.picture_file import Picture
from ..video.pictures import is_picture_name
from ..video.reader import VideoReader
from ..video.resize import resize
from ..video.suffixes import VIDEO_SUFFIXES
from .camera_path import CLASSES
from .dataset import random_at
from .manifest import Manifest, Sample
from .procedural_pictures import procedural_picture

_NUM_KEPT = 1024
"""Pictures that a process keeps, drawn or read: at 256 pixels, about 300 MB."""


class Pictures(Protocol):
    """Pictures by number; they go to worker processes, so they pickle."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, number: int) -> Picture:
        """The picture, uint8 RGB (H, W, 3); nobody writes to it.

        Raises:
            VideoError: it cannot be read.
        """

    def name(self, number: int) -> str:
        """What messages call it."""


@dataclass(frozen=True)
class DrawnPictures:
    """Pictures of `procedural_picture`.

    Args:
        number: how many.
        size_px: height and width.
        seed: at least 0; others give other pictures.
    """

    number: int
    size_px: int
    seed: int

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, number: int) -> Picture:
        """See `Pictures`."""
        return _drawn(self.seed, number, self.size_px)

    def name(self, number: int) -> str:
        """See `Pictures`."""
        return f"drawn picture {number}"


@dataclass(frozen=True)
class Still:
    """A picture in a file.

    Args:
        path: of a picture or a video.
        position: in the video: 0 is its first frame, 1 its last.
    """

    path: str
    position: float = 0.0


@dataclass(frozen=True)
class FoundPictures:
    """Pictures in files.

    Args:
        stills: where they are.
        size_px: larger ones are shrunk to this shorter side.
        max_pixels: pictures of more are refused.
    """

    stills: tuple[Still, ...]
    size_px: int
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __len__(self) -> int:
        return len(self.stills)

    def __getitem__(self, number: int) -> Picture:
        """See `Pictures`."""
        return _read(self.stills[number], self.size_px, self.max_pixels)

    def name(self, number: int) -> str:
        """See `Pictures`."""
        return self.stills[number].path


def find_pictures(folder: str) -> Manifest:
    """The picture and video files below a folder, in sorted order; hidden ones are passed over.

    Args:
        folder: where to look, at any depth.

    Returns:
        A sample without a label for each file. The labels are those of the films, `CLASSES`.

    Raises:
        UsageError: there are none, or a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        hint = "Name a folder that can be read, with pictures or videos in it."
        raise UsageError(f"cannot list the folder {error.filename!r}: {error.strerror}", hint) from error

    samples: list[Sample] = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        samples += [Sample(os.path.join(place, name), None, place) for name in sorted(names) if _is_filmable(name)]
    if not samples:
        raise UsageError(f"no picture and no video found in {folder!r}", "They are looked for by suffix, at any depth.")
    return Manifest(tuple(samples), CLASSES)


def stills_of(paths: Iterable[str], frames_per_video: int = 8) -> tuple[Still, ...]:
    """The pictures in files: one of a picture, some of a video.

    Args:
        paths: of the files.
        frames_per_video: spread over each video.
    """
    stills: list[Still] = []
    for path in paths:
        if is_picture_name(os.path.basename(path)):
            stills.append(Still(path))
        else:
            stills += [Still(path, (k + 0.5) / frames_per_video) for k in range(frames_per_video)]
    return tuple(stills)


def _is_filmable(name: str) -> bool:
    is_video = os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES
    return is_picture_name(name) or (is_video and not name.startswith("."))


@lru_cache(_NUM_KEPT)
def _drawn(seed: int, number: int, size_px: int) -> Picture:
    return procedural_picture(random_at(seed, number), size_px)


@lru_cache(_NUM_KEPT)
def _read(still: Still, size_px: int, max_pixels: int) -> Picture:
    with VideoReader(still.path, max_pixels=max_pixels, allow_images=True, num_threads=1) as video:
        last = video.info.num_frames - 1
        (picture,) = video.read([round(still.position * last)]).frames  # (H, W, 3)
    height_px, width_px = picture.shape[:2]
    shrink = size_px / min(height_px, width_px)
    if shrink >= 1:
        return np.ascontiguousarray(picture)
    pixels = torch.from_numpy(picture).movedim(-1, 0)[None]  # (1, 3, H, W)
    small = resize(pixels, round(height_px * shrink), round(width_px * shrink))
    return np.ascontiguousarray(small[0].movedim(0, -1).numpy())
