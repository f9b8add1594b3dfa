"""What a camera and a codec do to a film on its way into a file.

Letters: T frames, C channels, H W pixels.
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

Codec = Literal["libx264", "mpeg4"]

# Shares of films that have a flaw, and the largest that it gets.
_GREY_SHARE = 0.08
_DRIFT_SHARE, _LARGEST_DRIFT = 0.5, 0.3  # of the exposure, during a film
_FLICKER_SHARE, _LARGEST_FLICKER = 0.15, 0.04  # likewise, from frame to frame
_NOISE_SHARE, _LARGEST_NOISE = 0.6, 10.0  # levels
_CODED_SHARE = 0.25


def record(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Expose, read out with noise and, now and then, compress.

    Args:
        frames: (T, C, H, W) float32 levels of what there is to see; it is overwritten.
        rng: what is drawn from.

    Returns:
        (T, C, H, W) uint8, contiguous.
    """
    num_frames = len(frames)
    if rng.random() < _GREY_SHARE:
        frames = frames.mean(dim=1, keepdim=True).repeat(1, 3, 1, 1)
    drift, flicker = rng.uniform(-1, 1), rng.standard_normal(num_frames)
    drift *= _LARGEST_DRIFT * (rng.random() < _DRIFT_SHARE)
    flicker *= _LARGEST_FLICKER * rng.random() * (rng.random() < _FLICKER_SHARE)
    exposure = 1 + drift * np.linspace(-0.5, 0.5, num_frames) + flicker  # (T,)
    gains = rng.uniform(0.75, 1.15) * rng.uniform(0.9, 1.1, 3)  # of the channels
    frames.mul_(torch.from_numpy(np.outer(exposure, gains)).float()[..., None, None])
    frames.add_(float(rng.uniform(-20, 20)))
    if rng.random() < _NOISE_SHARE:
        noise = rng.standard_normal(frames.shape, dtype=np.float32)
        frames.add_(torch.from_numpy(noise), alpha=_LARGEST_NOISE * rng.random() ** 2)
    levels = frames.round_().clamp_(0, 255).to(torch.uint8)
    if rng.random() < _CODED_SHARE and frames.shape[-1] % 2 == frames.shape[-2] % 2 == 0:  # codecs halve colours
        codec: Codec = "libx264" if rng.random() < 0.7 else "mpeg4"
        return coded(levels, codec, quality=rng.random())
    return levels


def coded(frames: Tensor, codec: Codec, quality: float) -> Tensor:
    """What is left of a film after a real encoder and decoder.

    Args:
        frames: (T, C, H, W) uint8, of even height and width.
        codec: FFmpeg's name of the encoder.
        quality: from 0, the worst that people put up with, to 1.

    Returns:
        (T, C, H, W) uint8, contiguous.
    """
    file = io.BytesIO()
    write_video(file, frames, codec, quality=quality, fps=8)
    file.seek(0)
    with av.open(file, "r", format="nut") as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]  # (H, W, C) each
    assert len(decoded) == len(frames)
    return torch.from_numpy(np.stack(decoded)).movedim(-1, 1).contiguous()


def write_video(file: Path | io.BytesIO, frames: Tensor, codec: Codec, *, quality: float, fps: int) -> None:
    """Encode a film.

    Args:
        file: where to; its suffix tells the container, which is NUT where there is none.
        frames: (T, C, H, W) uint8, of even height and width.
        codec: FFmpeg's name of the encoder.
        quality: from 0, the worst that people put up with, to 1.
        fps: frames a second.
    """
    quantiser = str(round(20 - 16 * quality))
    options = {
        # With its macroblock tree (mbtree), x264 does not give the same bytes twice where there are B-frames.
        "libx264": {"preset": "veryfast", "crf": str(round(40 - 18 * quality)), "mbtree": "0", "threads": "1"},
        "mpeg4": {"qmin": quantiser, "qmax": quantiser, "threads": "1"},
    }[codec]
    target, form = (str(file), None) if isinstance(file, Path) else (file, "nut")
    with av.open(target, "w", format=form) as out:
        stream = out.add_stream(codec, rate=fps, options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[2:], "yuv420p"
        for number, picture in enumerate(frames.movedim(1, -1).contiguous().numpy()):  # (H, W, C)
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
