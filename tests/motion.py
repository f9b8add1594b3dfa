"""Videos whose classes only motion separates: any single frame of one could be a frame of any other."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

DIRECTIONS = {"down": (1, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0)}  # (y, x), in pictures


def texture(rng: np.random.Generator, size_px: int, grain_px: int) -> npt.NDArray[np.uint8]:
    """A smooth random picture that repeats at its edges, (size, size, 3)."""
    coarse = rng.integers(0, 256, (size_px // grain_px, size_px // grain_px, 3)).astype(np.float64)
    picture = coarse.repeat(grain_px, 0).repeat(grain_px, 1)
    for axis in (0, 1):  # a box filter, wrapped around
        picture = sum(np.roll(picture, k - grain_px // 2, axis) for k in range(grain_px)) / grain_px
    return picture.astype(np.uint8)


def write_motion(path: Path, direction: str, seed: int, *, num_frames: int = 24, size_px: int = 64) -> Path:
    """A textured ground that moves steadily in one direction, at a random speed from a random place."""
    rng = np.random.default_rng(seed)
    ground = texture(rng, 2 * size_px, 8)
    speed = rng.uniform(1.5, 3.5)
    start = rng.integers(0, 2 * size_px, 2)
    y, x = DIRECTIONS[direction]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=24, options={"preset": "ultrafast", "crf": "23"})
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = size_px
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 24)
        for k in range(num_frames):
            offset = (start + np.round(k * speed) * np.array([y, x])).astype(int)
            picture = np.roll(ground, tuple(offset), (0, 1))[:size_px, :size_px]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 24)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_motions(folder: Path, per_class: int, *, first_seed: int = 0) -> Path:
    """A folder for each direction, with so many videos in it."""
    for number, direction in enumerate(DIRECTIONS):
        for k in range(per_class):
            write_motion(folder / direction / f"{k:04d}.mp4", direction, first_seed + 10_000 * number + k)
    return folder
