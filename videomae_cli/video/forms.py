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
    """Take a batch apart into frames.

    Args:
        videos: see `VideoInput`.
        layout: where frames have their channels, one of `LAYOUTS`; None to find out, for 1, 3 or 4 channels.

    Returns:
        Videos, each a list of (C, H, W) frames, uint8 or float32; and the layout they came in.

    Raises:
        UsageError: there is no frame, or something that is not one.
    """
    batch = _nest(videos, frame_ndim=2 if layout == "none" else 3)
    if not batch or not all(batch):
        raise UsageError("there is no frame to process", "give a frame, a list of frames, or a list of videos")
    layout = layout or _guess_layout(batch[0][0])
    return [[_channels_first(frame, layout) for frame in video] for video in batch], layout


def _nest(videos: VideoInput, frame_ndim: int) -> list[list[Tensor]]:
    if isinstance(videos, (list, tuple)):
        if any(isinstance(video, (list, tuple)) for video in videos):
            return [[to_tensor(frame) for frame in video] for video in videos]
        tensors = [to_tensor(video) for video in videos]
        if tensors and tensors[0].ndim > frame_ndim:
            return [list(tensor) for tensor in tensors]
        return [tensors]
    tensor = to_tensor(videos)
    if tensor.ndim <= frame_ndim:
        return [[tensor]]
    return [list(tensor)] if tensor.ndim == frame_ndim + 1 else [list(video) for video in tensor]


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
        raise UsageError(f"a frame is of type {kind}", "give NumPy arrays, tensors or Pillow images")
    # torch wants memory that it may write to, in order; a plain array is not copied
    dtype = np.uint8 if image.dtype == np.uint8 else np.float32
    return torch.from_numpy(np.require(image, dtype, ["C", "W"]))


def _guess_layout(frame: Tensor) -> str:
    if frame.ndim == 2:
        return "none"
    if frame.ndim == 3 and frame.shape[0] in (1, 3, 4):
        return "channels_first"
    if frame.ndim == 3 and frame.shape[-1] in (1, 3, 4):
        return "channels_last"
    raise UsageError(f"cannot tell the channels of a frame of shape {tuple(frame.shape)}", "set input_data_format")


def _channels_first(frame: Tensor, layout: str) -> Tensor:
    if frame.ndim == 2:
        frame, layout = frame[None], "channels_first"
    if frame.ndim != 3 or 0 in frame.shape:
        raise UsageError(f"a frame has the shape {tuple(frame.shape)}", "it must be (H, W), (H, W, C) or (C, H, W)")
    return frame.movedim(-1, 0) if layout == "channels_last" else frame


def as_levels(frame: Tensor) -> tuple[Tensor, bool]:
    """A frame as uint8 levels, and whether it was in [0, 1] instead, by the rules of HF image_transforms.resize."""
    if frame.dtype == torch.uint8:
        return frame, False
    low, high = frame.min(), frame.max()
    if low >= 0 and high <= 255 and torch.allclose(frame, frame.trunc()):
        return frame.to(torch.uint8), False
    if low >= 0 and high <= 1:
        return (frame * 255).to(torch.uint8), True
    raise UsageError(
        f"a frame holds values from {low:g} to {high:g}", "give whole levels in [0, 255], or fractions in [0, 1]"
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


def as_tensors(pixels: list[list[Tensor]], kind: str | None) -> Any:
    """The batch in the form that was asked for."""
    if kind is None:
        return [[frame.numpy() for frame in video] for video in pixels]
    shapes = sorted({(len(video), *frame.shape) for video in pixels for frame in video})
    if len(shapes) > 1:
        raise UsageError(f"videos or frames differ in shape: {shapes[0]} and {shapes[-1]} (frames first)")
    batch = torch.stack([torch.stack(video) for video in pixels])
    if kind == "pt":
        return batch
    if kind == "np":
        return batch.numpy()
    package, function = _OTHER_PACKAGES[kind]
    try:
        return getattr(importlib.import_module(package), function)(batch.numpy())
    except ImportError:
        package = package.partition(".")[0]
        raise UsageError(f'return_tensors="{kind}" needs {package}', f"pip install {package}") from None
