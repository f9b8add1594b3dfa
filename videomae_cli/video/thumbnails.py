"""Small JPEG pictures of frames, for a person to look at.

Legend: T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Interpolation

MAX_HEIGHT_PX, MAX_WIDTH_PX = 96, 192
MAX_BYTES = 2000
"""A picture that takes more is coded more coarsely, so that thousands of them fit in one page."""

_QUALITIES = (5, 9, 14, 22)  # of FFmpeg's 1 (fine) to 31 (coarse)
_LAMBDA = 118  # what FFmpeg multiplies these by


def make_thumbnails(
    frames: npt.NDArray[np.uint8], numbers: Sequence[int], num_thumbnails: int
) -> tuple[tuple[int, bytes], ...]:
    """Number and JPEG of a few of the frames, evenly spread, each frame once.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        numbers: of these frames, ascending; repeated where a short video is padded.
        num_thumbnails: at most so many.
    """
    place_of = {number: place for place, number in reversed(list(enumerate(numbers)))}
    chosen = spread(sorted(place_of), num_thumbnails)
    return tuple((number, encode_jpeg(frames[place_of[number]])) for number in chosen)


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """`count` of the numbers, evenly spread and in the middle of their part; all of them where there are no more.

    Args:
        numbers: to choose from.
        count: how many.
    """
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[(2 * k + 1) * len(numbers) // (2 * count)] for k in range(count)]


def encode_jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """A small JPEG file of a picture; it is made smaller, never larger, and keeps its shape.

    Args:
        picture: uint8 RGB (H, W, 3).
    """
    height, width = picture.shape[:2]
    scale = min(1.0, MAX_HEIGHT_PX / height, MAX_WIDTH_PX / width)
    small = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
        max(1, round(width * scale)),
        max(1, round(height * scale)),
        "yuvj420p",
        threads=1,
        interpolation=Interpolation.AREA,
        dst_color_range=ColorRange.JPEG,
    )
    jpeg = b""
    for quality in _QUALITIES:
        jpeg = _encode(small, quality)
        if len(jpeg) <= MAX_BYTES:
            break
    return jpeg


def _encode(frame: av.VideoFrame, quality: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base, encoder.thread_count = Fraction(1), 1
    encoder.options = {"qmin": str(quality), "qmax": str(quality), "huffman": "optimal"}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
