"""How far a player turns a video, read from the container.

PyAV tells it on decoded frames only, and `probe` decodes none of most files. The matrix of `tkhd` in mp4 and mov is in
ISO/IEC 14496-12 section 8.3.2, `ProjectionPoseRoll` of Matroska and WebM in RFC 9559. Other containers hold no
rotation.
"""

from __future__ import annotations

import math
import re
import struct
from typing import BinaryIO

from .mp4 import display_matrix, find_track, read_moov

_POSE_ROLL = re.compile(rb"\x76\x70.{1,40}?\x76\x75(?:\x84(?P<f32>.{4})|\x88(?P<f64>.{8}))", re.S)


def quarter_turn(degrees: float) -> int:
    """The nearest of 0, 90, 180 and 270 degrees counter-clockwise."""
    return round(degrees / 90) * 90 % 360 if math.isfinite(degrees) else 0


def stored_rotation(file: BinaryIO, format_name: str, track_id: int) -> int:
    """Degrees counter-clockwise (0, 90, 180, 270) that the pictures have to be turned by; 0 when none are stored.

    Args:
        file: the video, at its beginning.
        format_name: FFmpeg's name of the container.
        track_id: the stream's id in it.
    """
    if "mp4" in format_name:
        return _mp4_rotation(*display_matrix(find_track(read_moov(file), track_id)))
    if "matroska" in format_name:
        return _matroska_rotation(file.read(1 << 16))
    return 0


def _mp4_rotation(a: int, b: int, c: int, d: int) -> int:
    """The turn in a display matrix."""
    if not ((a or c) and (b or d)):
        return 0
    return quarter_turn(-math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c))))


def _matroska_rotation(head: bytes) -> int:
    """The first `ProjectionPoseRoll` of any track: files with two pictures turned differently are not known."""
    match = _POSE_ROLL.search(head)
    if match is None:
        return 0
    single, double = match.group("f32", "f64")
    (degrees,) = struct.unpack(">f", single) if single else struct.unpack(">d", double)
    return quarter_turn(degrees)
