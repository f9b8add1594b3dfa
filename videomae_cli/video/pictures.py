"""A folder of pictures as a video: frame k is the k-th picture by name, as data sets of extracted frames have it.

`open_video` takes either kind, and what it gives is used in the same way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, VideoError
from .clip import Clip
from .container import DEFAULT_MAX_PIXELS, printable
from .reader import VideoInfo, VideoReader
from .suffixes import IMAGE_SUFFIXES


def open_video(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    allow_images: bool = False,
    num_threads: int = 2,
) -> VideoReader | PictureReader:
    """Open a video file or a folder of pictures; use it in a `with` statement.

    Args:
        path: the file or the folder.
        max_pixels: frames of more are refused.
        allow_images: takes a still picture for a video of one frame.
        num_threads: for decoding a video, 0 for one a core.

    Raises:
        VideoError: it cannot be read as a video; its `kind` says why.
    """
    if os.path.isdir(path):
        return PictureReader(os.fspath(path), max_pixels=max_pixels)
    return VideoReader(path, max_pixels=max_pixels, allow_images=allow_images, num_threads=num_threads)


class PictureReader:
    """A folder of pictures of one size, read as `VideoReader` reads a file.

    Args:
        folder: where the pictures are; other files in it, and hidden ones, are passed over.
        max_pixels: pictures of more are refused.

    Attributes:
        info: as of a video; the first picture gives size and codec, and there is no frame rate.

    Raises:
        VideoError: there is no picture, or the first one cannot be read.
    """

    def __init__(self, folder: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self._folder, self._max_pixels = folder, max_pixels
        self._names = picture_names(folder)
        if not self._names:
            raise VideoError("no_video", f"the folder {printable(folder)} holds no pictures")
        with self._open(self._names[0]) as first:
            width, height, codec = first.info.width, first.info.height, first.info.codec
        self.info = VideoInfo(len(self._names), None, None, width, height, codec, rotation=0)

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """No file stays open between reads."""

    def read(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Clip:
        """Read frames by number.

        Args:
            indices: from 0 to `info.num_frames - 1`, in any order, repeats allowed, at least one.

        Returns:
            The frames in the order of `indices`; their times are not known (NaN).

        Raises:
            UsageError: an index is out of range, or there are none.
            VideoError: a picture cannot be read, or is not of the size of the first.
        """
        wanted = [int(index) for index in indices]
        if not wanted or not 0 <= min(wanted) <= max(wanted) < len(self._names):
            raise UsageError(f"frames {wanted} are not among the {len(self._names)} of {printable(self._folder)}")
        pictures = {number: self._read_picture(self._names[number]) for number in set(wanted)}
        return Clip(np.concatenate([pictures[number] for number in wanted]), np.full(len(wanted), np.nan))

    def _read_picture(self, name: str) -> npt.NDArray[np.uint8]:
        with self._open(name) as reader:
            frames = reader.read([0]).frames  # (1, H, W, 3)
        height, width = frames.shape[1:3]
        if (width, height) != (self.info.width, self.info.height):
            raise VideoError(
                "damaged",
                f"{printable(os.path.join(self._folder, name))} is {width} x {height}, "
                f"the first picture of its folder {self.info.width} x {self.info.height}",
                "The pictures of a folder are the frames of one video: give them one size.",
            )
        return frames

    def _open(self, name: str) -> VideoReader:
        path = os.path.join(self._folder, name)
        return VideoReader(path, max_pixels=self._max_pixels, allow_images=True, num_threads=1)


def picture_names(folder: str) -> list[str]:
    """The pictures of a folder in the order of their names, numbers in them by value: 2.jpg before 10.jpg.

    Args:
        folder: where to look; not below.

    Raises:
        VideoError: the folder cannot be listed.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise VideoError("unreadable", f"cannot list the folder {printable(folder)}: {error.strerror}") from error
    return sorted(filter(is_picture_name, names), key=_by_numbers)


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture.

    Args:
        name: of a file, without its folder.
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _by_numbers(name: str) -> tuple[list[str | int], str]:
    """Text and numbers in turn, then the name itself for those that are alike: 1.jpg and 01.jpg."""
    parts = re.split(r"([0-9]+)", os.path.splitext(name)[0])  # text, number, text, number, ..., text
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
