"""Videos whose classes only motion separates.

Three soft, bright balls drift together over a plain, dark ground, and come back in at the opposite edge. Their
places are uniform at all times, whatever the direction: a single frame says nothing about the class.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

DIRECTIONS = {"down": (1, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0)}  # (y, x), in pictures

_NUM_BALLS = 3
_FPS = 24


def motion_frames(
    direction: str, seed: int, *, num_frames: int = 12, size_px: int = 32, still: bool = False
) -> npt.NDArray[np.uint8]:
    """The pictures of one video, uint8 (T, H, W, 3).

    Args:
        direction: one of `DIRECTIONS`.
        seed: of colours, places and speed; videos of one seed begin alike, whatever the direction.
        num_frames: T.
        size_px: H and W.
        still: every frame is the last one.
    """
    rng = np.random.default_rng(seed)
    ground = rng.uniform(0, 60, 3)
    colours = rng.uniform(120, 255, (_NUM_BALLS, 3))
    starts = rng.uniform(0, size_px, (_NUM_BALLS, 2))
    step = np.array(DIRECTIONS[direction]) * size_px * rng.uniform(1 / 16, 1 / 8)
    pixels = np.stack(np.mgrid[:size_px, :size_px], axis=-1)  # (H, W, 2)
    frames = np.empty((num_frames, size_px, size_px, 3), np.uint8)
    for k in range(num_frames):
        picture = np.broadcast_to(ground, (size_px, size_px, 3))
        for colour, start in zip(colours, starts, strict=True):
            place = start + step * (num_frames - 1 if still else k)
            away = (pixels - place + size_px / 2) % size_px - size_px / 2  # the shorter way around
            share = np.exp(-(away**2).sum(-1, keepdims=True) / (2 * (size_px / 9) ** 2))
            picture = picture + share * (colour - picture)
        frames[k] = picture.round()
    return frames


def write_motion(path: Path, frames: npt.NDArray[np.uint8]) -> Path:
    """Encode pictures as an mp4.

    Args:
        path: of the file; its folder is made.
        frames: uint8 (T, H, W, 3).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=_FPS, options={"preset": "ultrafast", "crf": "18", "threads": "1"})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _FPS)
        for k, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, _FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_motions(folder: Path, seeds: range, *, still: bool = False) -> Path:
    """A folder for each direction, with a video of each seed in it.

    Args:
        folder: where to.
        seeds: of the videos; sets that share none have no video in common.
        still: videos of one repeated frame, which have nothing but their label of the motion.
    """
    for direction in DIRECTIONS:
        for seed in seeds:
            write_motion(folder / direction / f"{seed:04d}.mp4", motion_frames(direction, seed, still=still))
    return folder
