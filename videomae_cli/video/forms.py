"""The forms that videos come in (arrays, tensors, Pillow images, alone, listed, nested) and that pixels leave in.

Letters: B videos, T frames, C channels, H W pixels.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

LAYOUTS = ("channels_first", "channels_last", "none")
"""Where a frame has its channels; "none" is (H, W)."""

TENSOR_KINDS = ("pt", "np", "tf", "jax")
"""Kinds of array that a batch can be."""

_OTHER_PACKAGES = {"tf": ("tensorflow", "convert_to_tensor"), "jax": ("jax.numpy", "asarray")}

Frame: TypeAlias = Union["npt.NDArray[Any]", Tensor, "Image"]
"""One picture: (H, W), (H, W, C) or (C, H, W). As an array or tensor it may also hold a video or a batch of them."""

VideoInput: TypeAlias = Frame | Sequence[Frame] | Sequence[Sequence[Frame]]
"""A frame, a video (sequence of frames, or 4-D), or a batch of videos (sequence of those, or 5-D)."""


def load_frames(videos: VideoInput, layout: str | None) -> tuple[list[list[Tensor]], str]:
    """Take a batch apart into videos.

    Args:
        videos: see `VideoInput`.
        layout: where frames have their channels, one of `LAYOUTS`; None to find out, for 1, 3 or 4 channels.

    Returns:
        Each video as the tensors (T, C, H, W) that it consists of, uint8 or float32: one, or one for each frame of a
        list (to stack them would be a copy as dear as all the rest). And the layout they came in.

    Raises:
        UsageError: there is no frame, or something that is not one.
    """
    batch = _nest(videos, frame_ndim=2 if layout == "none" else 3)
    if not batch or not all(batch):
        raise UsageError("there is no frame to process", "Give a frame, a list of frames, or a list of videos.")
    layout = layout or _guess_layout(batch[0][0].shape[1:])
    return [[_channels_first(frames, layout) for frames in video] for video in batch], layout


def _nest(videos: VideoInput, frame_ndim: int) -> list[list[Tensor]]:
    if isinstance(videos, (list, tuple)):
        if any(isinstance(video, (list, tuple)) for video in videos):
            return [[to_tensor(frame)[None] for frame in video] for video in videos]
        tensors = [to_tensor(video) for video in videos]
        if tensors and tensors[0].ndim > frame_ndim:
            return [[tensor] for tensor in tensors]
        return [[tensor[None] for tensor in tensors]]
    tensor = to_tensor(videos)
    if tensor.ndim <= frame_ndim:
        return [[tensor[None]]]
    return [[tensor]] if tensor.ndim == frame_ndim + 1 else [[video] for video in tensor]


def to_tensor(image: object) -> Tensor:
    """An array, tensor or Pillow image as a tensor: uint8 where it was that, else float32."""
    pillow = sys.modules.get("PIL.Image")  # who has no Pillow has no image of its
    if pillow is not None and isinstance(image, pillow.Image):
        image = np.array(image if image.mode in ("RGB", "L") else image.convert("RGB"))
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        return image if image.dtype == torch.uint8 else image.float()
    if not isinstance(image, np.ndarray) or image.dtype.kind not in "buif":
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(f"a frame is of type {kind}", "Give NumPy arrays, tensors or Pillow images.")
    # torch wants memory that it may write to, in order; a plain array is not copied
    dtype = np.uint8 if image.dtype == np.uint8 else np.float32
    return torch.from_numpy(np.require(image, dtype, ["C", "W"]))


def _guess_layout(shape: Sequence[int]) -> str:
    if len(shape) == 2:
        return "none"
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "channels_first"
    if len(shape) == 3 and shape[-1] in (1, 3, 4):
        return "channels_last"
    raise UsageError(f"cannot tell the channels of a frame of shape {tuple(shape)}", "Set input_data_format.")


def _channels_first(frames: Tensor, layout: str) -> Tensor:
    if frames.ndim == 3:
        frames, layout = frames[:, None], "channels_first"
    if frames.ndim != 4 or 0 in frames.shape:
        raise UsageError(
            f"a frame has the shape {tuple(frames.shape[1:])}", "It must be (H, W), (H, W, C) or (C, H, W)."
        )
    return frames.movedim(-1, 1) if layout == "channels_last" else frames


def as_levels(frames: Tensor) -> tuple[Tensor, bool]:
    """Frames as uint8 levels, and whether they were in [0, 1] instead, by the rules of HF image_transforms.resize."""
    if frames.dtype == torch.uint8:
        return frames, False
    low, high = frames.min(), frames.max()
    if low >= 0 and high <= 255 and torch.allclose(frames, frames.trunc()):
        return frames.to(torch.uint8), False
    if low >= 0 and high <= 1:
        return (frames * 255).to(torch.uint8), True
    raise UsageError(
        f"frames hold values from {low:g} to {high:g}", "Give whole levels in [0, 255], or fractions in [0, 1]."
    )


class BatchFeature(dict[str, Any]):
    """What a processor returns: `batch["pixel_values"]`, `batch.pixel_values`, or `model(**batch)`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}") from None

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """Move or cast the tensors in place; the arguments are those of `torch.Tensor.to`."""
        for key, value in self.items():
            if isinstance(value, Tensor):
                self[key] = value.to(*args, **kwargs)
        return self


def as_tensors(pixels: list[Tensor], kind: str | None) -> Any:
    """The videos (T, ...) of a batch in the form that was asked for, one of `TENSOR_KINDS` or lists of frames."""
    if kind is None:
        return [list(video.numpy()) for video in pixels]
    if len(shapes := {tuple(video.shape) for video in pixels}) > 1:
        raise UsageError(f"the videos of a batch come out as {' and '.join(map(str, sorted(shapes)))}")
    batch = torch.stack(pixels)
    if kind == "pt":
        return batch
    if kind == "np":
        return batch.numpy()
    package, function = _OTHER_PACKAGES[kind]
    try:
        return getattr(importlib.import_module(package), function)(batch.numpy())
    except ImportError:
        package = package.partition(".")[0]
        raise UsageError(f'return_tensors="{kind}" needs {package}', f"Run pip install {package}.") from None
