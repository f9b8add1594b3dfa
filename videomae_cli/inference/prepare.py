"""One file -> the views that a model sees of it: everything that is done before the forward pass, in any process.

Letters: V views (temporal x spatial), T frames, C channels, H W pixels.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..errors import MachineError, UsageError, VideoError
from ..video.container import DEFAULT_MAX_PIXELS
from ..video.pictures import open_video
from ..video.sampling import is_padded
from ..video.thumbnails import make_thumbnails
from .device import memory_told
from .records import Failure, SampledFrames

if TYPE_CHECKING:
    from ..errors import VideoErrorKind
    from ..video.processor import VideoMAEImageProcessor
    from ..video.reader import VideoInfo
    from ..video.sampling import Sampling


@dataclass(frozen=True)
class PreparedVideo:
    """A video that is ready for the model.

    Attributes:
        path: the input, as it was named.
        pixels: uint8 (V, T, C, H, W), resized and cropped; `VideoMAEImageProcessor.finish` makes pixel values of them.
        sampling: the frames that were looked at.
        video: what the file says of itself.
        warnings: "padded", "truncated: ...", "corrupt: ..." and the like.
        seconds: that decoding took, and resizing and cropping.
        thumbnails: number and JPEG of some frames of the first view, where they were asked for.
    """

    path: str
    pixels: torch.Tensor
    sampling: SampledFrames
    video: VideoInfo
    warnings: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)
    thumbnails: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True)
class Preparer:
    """Reads, samples, resizes and crops. It can be sent to another process, and be called from several threads.

    Attributes:
        processor: of the checkpoint.
        sampling: how frames are chosen.
        views: temporal x spatial views.
        max_pixels: refuse files whose frames have more pixels; None is the reader's own limit.
        allow_images: take a still image for a video of one frame.
        strict: refuse files that end early or hold packets that do not decode.
        num_thumbnails: small pictures of each video, at most.
    """

    processor: VideoMAEImageProcessor
    sampling: Sampling
    views: tuple[int, int] = (1, 1)
    max_pixels: int | None = None
    allow_images: bool = False
    strict: bool = False
    num_thumbnails: int = 0

    def __call__(self, path: str | os.PathLike[str]) -> PreparedVideo:
        """Prepare one video.

        Args:
            path: a video file, or a folder of pictures, which are its frames.

        Raises:
            VideoError: this file cannot be read.
            UsageError: `views` is not positive.
            MachineError: out of memory.
        """
        num_segments, num_crops = self.views
        if num_segments < 1 or num_crops < 1:
            raise UsageError(f"views must be at least 1x1, not {num_segments}x{num_crops}")
        sampling, start = self.sampling, time.monotonic()
        with memory_told(f"for {num_segments}x{num_crops} views of {os.fspath(path)!r}", "Use fewer --views."):
            limit = self.max_pixels or DEFAULT_MAX_PIXELS
            # One thread: cores are shared among files, and a damaged one looks the same whatever else there is to do.
            with open_video(path, max_pixels=limit, allow_images=self.allow_images, num_threads=1) as video:
                info = video.info
                segments = sampling.indices(info.num_frames, num_segments=num_segments)
                clip = video.read([index for segment in segments for index in segment])
            if self.strict:
                refuse_damage(path, clip.warnings)
            decoded = time.monotonic()
            per_segment = clip.frames.reshape(num_segments, sampling.num_frames, *clip.frames.shape[1:])
            pixels = torch.cat([self.processor.cut(frames, num_crops) for frames in per_segment])
        return PreparedVideo(
            path=os.fspath(path),
            pixels=pixels,
            sampling=SampledFrames(
                views=f"{num_segments}x{num_crops}",
                stride=sampling.stride if sampling.kind == "dense" else None,
                frames=tuple(tuple(segment) for segment in segments),
            ),
            video=info,
            warnings=(*_padding(segments, sampling, info.num_frames), *clip.warnings),
            seconds=(decoded - start, time.monotonic() - decoded),
            thumbnails=make_thumbnails(per_segment[0], segments[0], self.num_thumbnails),
        )


def blame(path: str, error: Exception) -> Failure:
    """The record of an error that is this file's.

    Args:
        path: the file that was worked on.
        error: what was raised.

    Raises:
        MachineError: that is what `error` is, or a MemoryError: no other file would escape it.
    """
    if isinstance(error, VideoError):
        names_it = repr(path) in error.message
        return Failure(path, error.kind, error.message if names_it else f"{path!r}: {error.message}", error.hint)
    if isinstance(error, UsageError):  # of the model, about the shape that this file's frames come out in
        return Failure(path, "unfit", f"{path!r} does not fit the model: {error.message}", error.hint)
    if isinstance(error, MachineError | MemoryError):
        raise error
    message = f"{path!r}: internal error: {type(error).__name__}: {error}"
    return Failure(path, "internal", message, cause=error)


def _padding(segments: list[list[int]], sampling: Sampling, num_video_frames: int) -> list[str]:
    if not any(map(is_padded, segments)):
        return []
    span = sampling.num_frames * (sampling.stride if sampling.kind == "dense" else 1)
    return [f"padded: the video has {num_video_frames} frames, a view spans {span}; its last frame is repeated"]


# What --strict refuses: the first word of a reader's warning, and the kind of error that it becomes.
_DAMAGE: dict[str, VideoErrorKind] = {"truncated": "truncated", "corrupt": "corrupt", "replaced": "corrupt"}


def refuse_damage(path: str | os.PathLike[str], warnings: Sequence[str]) -> None:
    """What `--strict` asks for.

    Args:
        path: the file.
        warnings: of its reader.

    Raises:
        VideoError: one of them is about damage.
    """
    for warning in warnings:
        kind = _DAMAGE.get(warning.partition(":")[0])
        if kind:
            raise VideoError(kind, f"{os.fspath(path)!r} is refused by --strict: {warning}")
