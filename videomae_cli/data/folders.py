"""Videos below a folder: files by suffix, and folders of pictures, each of which is one video."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ..errors import UsageError
from ..video.pictures import is_picture_name
from ..video.suffixes import VIDEO_SUFFIXES


def subfolders(folder: str) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are passed over.

    Args:
        folder: where to look; not below.

    Raises:
        UsageError: the folder cannot be listed.
    """
    return _folders(_entries(folder))


def videos_in(folder: str) -> list[str]:
    """Names of the video files in a folder, sorted; hidden ones, pipes and devices are passed over.

    Args:
        folder: where to look; not below.

    Raises:
        UsageError: the folder cannot be listed.
    """
    return _videos(_entries(folder))


def walk_videos(top: str) -> Iterator[str]:
    """Every video below a folder, in sorted order; a loop of symbolic links is walked once.

    A folder below `top` that holds pictures, and neither videos nor folders, is one video.

    Args:
        top: where to begin.

    Yields:
        Paths that begin with `top`.

    Raises:
        UsageError: a folder cannot be listed.
    """
    seen: set[str] = set()  # real paths
    pending = [top]
    while pending:
        folder = pending.pop()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        entries = _entries(folder)
        folders, videos = _folders(entries), _videos(entries)
        if folder != top and not folders and not videos and any(is_picture_name(entry.name) for entry in entries):
            yield folder
        yield from (os.path.join(folder, name) for name in videos)
        pending.extend(os.path.join(folder, name) for name in reversed(folders))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UsageError(
            f"cannot list the folder {folder!r}: {error.strerror}", "Make it readable, or move it elsewhere."
        ) from error


def _folders(entries: Sequence[os.DirEntry[str]]) -> list[str]:
    return sorted(entry.name for entry in entries if entry.is_dir())


def _videos(entries: Sequence[os.DirEntry[str]]) -> list[str]:
    return sorted(entry.name for entry in entries if _is_video(entry))


def _is_video(entry: os.DirEntry[str]) -> bool:
    """A file or a link by a video's name. A link that leads nowhere counts: it is told of when it is read."""
    is_named_so = os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES
    return is_named_so and (entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)))
