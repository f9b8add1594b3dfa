"""Pictures that we make: captions drawn and PNG files encoded, both by FFmpeg's own codecs.

Letters: H W pixels.
"""

from __future__ import annotations

from typing import Literal

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext

Picture = npt.NDArray[np.uint8]

GLYPH_WIDTH_PX, GLYPH_HEIGHT_PX = 8, 16
_INK_LEVEL = 85  # ANSI art is light grey (170) on black


def encode_png(picture: Picture) -> bytes:
    """The bytes of a PNG file.

    Args:
        picture: uint8 RGB (H, W, 3).
    """
    height, width, _ = picture.shape
    encoder = _codec("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "rgb24"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def draw_caption(text: str, width_px: int) -> Picture:
    """A line of black letters on white. FFmpeg's decoder of ANSI art has the letters.

    Args:
        text: printable ASCII, not empty.
        width_px: of the result; letters are 8 px wide, and what does not fit is cut off.

    Returns:
        uint8 RGB (16, width_px, 3).
    """
    assert text and text.isascii() and text.isprintable(), text
    num_letters = -(-width_px // GLYPH_WIDTH_PX)
    decoder = _codec("ansi", "r")
    decoder.width = (num_letters + 1) * GLYPH_WIDTH_PX  # a line that is full would scroll out of the picture
    decoder.height = GLYPH_HEIGHT_PX
    (frame,) = decoder.decode(av.Packet(text[:num_letters].encode()))
    is_ink = frame.to_ndarray(format="rgb24")[:, :width_px] > _INK_LEVEL  # (16, width_px, 3)
    return np.where(is_ink, 0, 255).astype(np.uint8)


def _codec(name: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    context = av.CodecContext.create(name, mode)
    assert isinstance(context, VideoCodecContext)
    return context
