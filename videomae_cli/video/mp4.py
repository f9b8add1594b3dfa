"""What the boxes of mp4 and mov files tell and PyAV does not; sections are those of ISO/IEC 14496-12."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt


class SampleTimes(NamedTuple):
    """Times of the frames of one track, in its ticks.

    Args:
        offsets: int64 (number of frames,), in file order: how long after decoding each is shown, up to a constant.
        last_duration: of the last one; 0 where the file does not tell.
    """

    offsets: npt.NDArray[np.int64]
    last_duration: int


def read_moov(file: BinaryIO) -> memoryview:
    """The contents of the `moov` box (8.2.1), found by stepping over its neighbours; empty when there is none.

    Args:
        file: the video, at its beginning.
    """
    num_bytes = os.fstat(file.fileno()).st_size
    while len(header := file.read(16)) >= 8:
        size, name = struct.unpack_from(">I4s", header)
        start = 8
        if size == 1 and len(header) == 16:  # the 64-bit size follows
            (size,) = struct.unpack_from(">Q", header, start)
            start = 16
        size = min(size or num_bytes, num_bytes)  # 0: to the end of the file
        if name == b"moov":
            return memoryview(header + file.read(max(size - 16, 0)))[start:]
        if size < 8:  # not a box
            break
        file.seek(size - len(header), 1)
    return memoryview(b"")


def find_track(moov: memoryview, track_id: int) -> memoryview:
    """The contents of the `trak` box (8.3.1) with this id; empty when there is none."""
    for name, track in _boxes(moov):
        header = find_box(track, b"tkhd")
        place = 20 if _is_version_1(header) else 12
        if name == b"trak" and header[place : place + 4].tobytes() == struct.pack(">I", track_id):
            return track
    return memoryview(b"")


def display_matrix(track: memoryview) -> tuple[int, int, int, int]:
    """The part of the matrix in the track's header (8.3.2) that turns and scales: a, b, c, d; zeros when there is none.

    A point (x, y) goes to (a x + c y, b x + d y), in units of 2**-16, with y downwards.
    """
    header = find_box(track, b"tkhd")
    try:
        a, b, _, c, d = struct.unpack_from(">5i", header, 52 if _is_version_1(header) else 40)
    except struct.error:
        return 0, 0, 0, 0
    return a, b, c, d


def find_box(data: memoryview, *names: bytes) -> memoryview:
    """The contents of a box, by its path; empty when there is none."""
    for name in names:
        data = next((contents for kind, contents in _boxes(data) if kind == name), memoryview(b""))
    return data


def sample_times(moov: memoryview, track_id: int, num_frames: int) -> SampleTimes | None:
    """What the sample table tells of a track's times (8.6.1).

    Args:
        moov: contents of that box.
        track_id: the stream's id.
        num_frames: how many FFmpeg found.

    Returns:
        None where the table is not the whole truth: frames elsewhere (8.8), or an edit list of several parts (8.6.6).
    """
    track = find_track(moov, track_id)
    table = find_box(track, b"mdia", b"minf", b"stbl")
    edits = find_box(track, b"edts", b"elst")
    parts = _rows(edits, ">u8, >i8, >i4" if _is_version_1(edits) else ">u4, >i4, >i4")
    durations, offsets = _rows(find_box(table, b"stts"), ">u4, >u4"), _rows(find_box(table, b"ctts"), ">u4, >i4")
    if (
        any(name == b"mvex" for name, _ in _boxes(moov))
        or (parts["f1"] >= 0).sum() > 1  # below 0: nothing is shown
        or durations["f0"].sum() != num_frames
        or offsets["f0"].sum() not in (0, num_frames)
    ):
        return None
    repeated = np.repeat(offsets["f1"].astype(np.int64), offsets["f0"])
    return SampleTimes(repeated if len(repeated) else np.zeros(num_frames, np.int64), int(durations["f1"][-1]))


def _is_version_1(box: memoryview) -> bool:
    """True where times have 64 bits, not 32."""
    return box[:1].tobytes() == b"\1"


def _rows(box: memoryview, row: str) -> npt.NDArray[np.void]:
    """The rows of a box that is a table: version, flags and number of rows come first."""
    form = np.dtype(row)
    num_rows = int.from_bytes(box[4:8], "big")
    return np.frombuffer(box[8 : 8 + min(num_rows, (len(box) - 8) // form.itemsize) * form.itemsize], form)


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Names and contents of boxes in a row (4.2), up to the first that is none."""
    while len(data) >= 8:
        size, name = struct.unpack_from(">I4s", data)
        if size < 8:  # 64-bit sizes are for media data
            return
        yield name, data[8:size]
        data = data[size:]
