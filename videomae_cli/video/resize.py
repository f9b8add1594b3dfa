"""Resizing as Pillow does it, without Pillow: antialiased, 8 bits in and out.

Bilinear, which every published processor asks for, goes through torch's own kernel: within one level of 255, but for
a few values in a million that are two off when the sizes are as 5 to 4 or another ratio of small numbers, which makes
ties. The other filters repeat Pillow's integer arithmetic, byte for byte: torch's bicubic is two levels off more often,
and it has no box, Hamming or Lanczos.

Letters: T frames, C channels, H W pixels, S pixels along the source axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

RESAMPLE_NAMES = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Filters; the position is the number that Pillow and processor files give it."""

_FIXED_POINT = 2.0**22
"""One, in the fixed-point weights of Pillow's Resample.c."""

_BLOCK_PX = 32
"""Target pixels computed by one matrix product: wide enough to be fast, narrow enough to skip most zeros."""


def resize(frames: Tensor, height_px: int, width_px: int, resample: int = 2) -> Tensor:
    """Resize every frame.

    Args:
        frames: (T, C, H, W) uint8; channels-last strides are the fast ones.
        height_px: height of the result, at least 1.
        width_px: width of the result, at least 1.
        resample: position in `RESAMPLE_NAMES`.

    Returns:
        (T, C, height_px, width_px) uint8.
    """
    name = RESAMPLE_NAMES[resample]
    if name == "nearest":
        rows, columns = _nearest(frames.shape[-2], height_px), _nearest(frames.shape[-1], width_px)
        return frames[..., rows, :][..., columns]
    if name == "bilinear" and width_px > 1:  # one pixel wide, torch 2.13 gives garbage or an internal error
        return interpolate(frames, size=(height_px, width_px), mode="bilinear", antialias=True)
    # One frame at a time: a whole clip in float64 is large.
    return torch.stack([_resize_exactly(frame, height_px, width_px, name) for frame in frames])


def _resize_exactly(frame: Tensor, height_px: int, width_px: int, name: str) -> Tensor:
    """Two passes with 8 bits between them, in the order of Pillow 13: it matters where a pass overshoots."""
    shrink_y, shrink_x = frame.shape[-2] - height_px, frame.shape[-1] - width_px
    if shrink_y > max(0, 2 * shrink_x):
        return _resample_rows(_resample_rows(frame.mT, height_px, name).mT, width_px, name)
    return _resample_rows(_resample_rows(frame, width_px, name).mT, height_px, name).mT


def _resample_rows(levels: Tensor, target_px: int, name: str) -> Tensor:
    """Resample the last axis, (..., S) uint8 to (..., target_px) uint8.

    Each result is a weighted sum of the pixels under a kernel that is stretched when shrinking (which is the
    antialiasing), cut at the edges of the picture, normalised after the cut, and rounded to fixed point.
    """
    kernel, support = _KERNELS[name]
    source_px = levels.shape[-1]
    scale = source_px / target_px
    stretch = max(scale, 1.0)
    pixels = levels.double()
    blocks = []
    for block in range(0, target_px, _BLOCK_PX):
        target = torch.arange(block, min(block + _BLOCK_PX, target_px), dtype=torch.float64)
        centre = (target[:, None] + 0.5) * scale
        first = (centre - support * stretch + 0.5).clamp(min=0).floor()
        end = (centre + support * stretch + 0.5).clamp(max=source_px).floor()
        start, stop = int(first[0]), int(end[-1])
        source = torch.arange(start, stop, dtype=torch.float64)
        # Pillow's order of operations: box decides on a pixel at its very edge by the last bit of this.
        weights = kernel((source - centre + 0.5) * (1.0 / stretch))  # (block, stop - start)
        weights = torch.where((source >= first) & (source < end), weights, 0.0)
        weights = weights / weights.sum(dim=1, keepdim=True) * _FIXED_POINT
        weights = (weights.abs() + 0.5).floor() * weights.sign()
        blocks.append(pixels[..., start:stop] @ weights.T)  # exact: integers far below 2**53
    sums = torch.cat(blocks, dim=-1)
    return sums.div_(_FIXED_POINT).add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)


def _nearest(source_px: int, target_px: int) -> Tensor:
    """Index of the source pixel under the centre of each target pixel, (target_px,) int64."""
    scale = source_px / target_px
    # A running sum, because Pillow's Geometry.c has one: its rounding decides the ties.
    centres = itertools.accumulate([scale] * (target_px - 1), initial=0.5 * scale)
    return torch.tensor([int(centre) for centre in centres])


def _box(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).double()


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _hamming(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 1, torch.sinc(x) * (0.54 + 0.46 * torch.cos(math.pi * x)), 0.0)


def _bicubic(x: Tensor, a: float = -0.5) -> Tensor:
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _lanczos(x: Tensor, lobes: int = 3) -> Tensor:
    return torch.where(x.abs() < lobes, torch.sinc(x) * torch.sinc(x / lobes), 0.0)


_KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Kernel, and the half-width outside which it is zero."""
