"""Boxes made by hand, as ISO/IEC 14496-12 has them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from videomae_cli.video.mp4 import display_matrix, find_box, find_track, sample_times

TURNED = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # by 90 degrees clockwise


def box(name: bytes, *contents: bytes) -> bytes:
    data = b"".join(contents)
    return struct.pack(">I4s", 8 + len(data), name) + data


def table(name: bytes, row: str, rows: Sequence[tuple[int, ...]], version: int = 0) -> bytes:
    """Version, flags and number of rows, then the rows."""
    return box(name, struct.pack(">B3xI", version, len(rows)), *(struct.pack(row, *values) for values in rows))


def track_header(track_id: int, version: int = 0) -> bytes:
    times = struct.pack(">QQIxxxxQ" if version else ">IIIxxxxI", 1, 2, track_id, 3)
    return box(b"tkhd", struct.pack(">B3x", version), times, bytes(16), struct.pack(">9i", *TURNED), bytes(8))


def moov(*, version: int = 0, edits: bytes = b"", offsets: bytes = b"", more: bytes = b"") -> memoryview:
    """Two tracks, of which number 2 has 5 frames that last 10, 10, 10, 30 and 3 000 000 000 ticks."""
    durations = table(b"stts", ">II", [(3, 10), (1, 30), (1, 3_000_000_000)])
    media = box(b"mdia", box(b"mdhd", bytes(20)), box(b"minf", box(b"stbl", box(b"stsd"), durations, offsets)))
    first = box(b"trak", track_header(1, version))
    second = box(b"trak", track_header(2, version), box(b"edts", edits), media)
    return memoryview(box(b"mvhd", bytes(100)) + first + second + more)


OFFSETS = table(b"ctts", ">Ii", [(2, 20), (1, -10), (2, 0)], version=1)
ONE_EDIT, WIDE_EDIT = table(b"elst", ">Iii", [(70, 20, 1)]), table(b"elst", ">Qqi", [(70, 20, 1)], version=1)


@pytest.mark.parametrize(
    ("edits", "offsets", "expected"),
    [
        (b"", b"", [0, 0, 0, 0, 0]),
        (b"", OFFSETS, [20, 20, -10, 0, 0]),
        (ONE_EDIT, OFFSETS, [20, 20, -10, 0, 0]),
        (WIDE_EDIT, OFFSETS, [20, 20, -10, 0, 0]),
        (table(b"elst", ">Iii", [(9, -1, 1), (70, 20, 1)]), OFFSETS, [20, 20, -10, 0, 0]),  # starts late
        (table(b"elst", ">Qqi", [(9, -1, 1), (70, 20, 1)], version=1), OFFSETS, [20, 20, -10, 0, 0]),
    ],
)
@pytest.mark.parametrize("version", [0, 1])
def test_sample_times(version: int, edits: bytes, offsets: bytes, expected: list[int]) -> None:
    times = sample_times(moov(version=version, edits=edits, offsets=offsets), 2, num_frames=5)
    assert times is not None
    assert (times.offsets.tolist(), times.last_duration) == (expected, 3_000_000_000)


@pytest.mark.parametrize(
    "contents",
    [
        moov(more=box(b"mvex")),  # frames follow in fragments
        moov(edits=table(b"elst", ">Iii", [(30, 20, 1), (30, 0, 1)])),
        moov(edits=table(b"elst", ">Qqi", [(30, 20, 1), (30, 0, 1)], version=1)),
        moov(offsets=table(b"ctts", ">Ii", [(4, 20)])),  # one is left out
        moov(offsets=table(b"ctts", ">Ii", [(2**32 - 1, 20), (2**32 - 1, 20)])),
        moov(offsets=OFFSETS[:-8]),
        memoryview(b""),
        memoryview(bytes(100)),
    ],
    ids=range(8),
)
def test_tables_that_are_not_the_whole_truth(contents: memoryview) -> None:
    assert sample_times(contents, 2, num_frames=5) is None


def test_numbers_of_frames_and_tracks_have_to_match() -> None:
    assert sample_times(moov(), 2, num_frames=4) is None
    assert sample_times(moov(), 1, num_frames=5) is None
    assert sample_times(moov(), 3, num_frames=5) is None


@pytest.mark.parametrize("version", [0, 1])
def test_display_matrix(version: int) -> None:
    contents = moov(version=version)
    assert display_matrix(find_track(contents, 2)) == (0, 1 << 16, -(1 << 16), 0)
    assert display_matrix(find_track(contents, 7)) == (0, 0, 0, 0)


def test_find_box_ends_at_what_is_none() -> None:
    data = memoryview(box(b"edts", box(b"elst", b"12")) + bytes(8) + box(b"late"))
    assert find_box(data, b"edts", b"elst") == b"12"
    assert find_box(data, b"late") == b""
    assert find_box(data, b"edts", b"none", b"elst") == b""
