"""Affine transforms as Pillow does them with its bicubic filter, without Pillow: 8 bits in and out.

All frames of a clip move alike, so where each pixel comes from is worked out once, and one sparse sum moves the pixels
of all frames and channels. Sums are float32 where Pillow's are double: about two results in ten thousand, whose exact
sum is just below an integer, are one level higher.

Letters: T frames, C channels, H W pixels, K source pixels under the filter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Matrix = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): the result at (x, y) is the source at (a x + b y + c, d x + e y + f)."""

_FLOAT32_ERROR = 2.0**-13
"""Levels; added before rounding down, so that a plain area keeps its level."""


def affine(clip: Tensor, matrix: Matrix, fill: int) -> Tensor:
    """Move the pixels of every frame (Image.transform with Transform.AFFINE and Resampling.BICUBIC).

    Args:
        clip: (T, C, H, W) uint8.
        matrix: from coordinates of the result to those of the source, in pixels; the first pixel's centre is at 0.5.
        fill: level of what comes from outside of the source, 0 to 255.

    Returns:
        (T, C, H, W) uint8.
    """
    T, C, H, W = clip.shape
    a, b, c, d, e, f = matrix
    x = torch.arange(W, dtype=torch.float64) + 0.5  # (W,)
    y = torch.arange(H, dtype=torch.float64)[:, None] + 0.5  # (H, 1)
    source_x, source_y = a * x + b * y + c, d * x + e * y + f  # (H, W) each; Pillow's order of operations
    inside = (source_x >= 0) & (source_x < W) & (source_y >= 0) & (source_y < H)
    columns, weights_x = _taps(source_x, W)  # (H, W, 4 or 1) each
    rows, weights_y = _taps(source_y, H)
    sources = (rows[..., :, None] * W + columns[..., None, :]).view(H * W, -1)  # (H * W, K)
    weights = (weights_y[..., :, None] * weights_x[..., None, :]).view(H * W, -1)
    pixels = clip.reshape(T * C, H * W).T.float().contiguous()  # (H * W, T * C)
    sums = embedding_bag(sources, pixels, mode="sum", per_sample_weights=weights)
    levels = sums.add_(_FLOAT32_ERROR).clamp_(0, 255).to(torch.uint8)
    levels[~inside.view(-1)] = fill
    return levels.T.reshape(T, C, H, W)


def shear_x(clip: Tensor, factor: float, fill: int) -> Tensor:
    """Move rows sideways, by `factor` times their distance from the top; (T, C, H, W) uint8."""
    return affine(clip, (1, factor, 0, 0, 1, 0), fill)


def shear_y(clip: Tensor, factor: float, fill: int) -> Tensor:
    """Move columns up or down, by `factor` times their distance from the left; (T, C, H, W) uint8."""
    return affine(clip, (1, 0, 0, factor, 1, 0), fill)


def translate_x(clip: Tensor, part: float, fill: int) -> Tensor:
    """Move to the left by a part of the width; (T, C, H, W) uint8."""
    return affine(clip, (1, 0, part * clip.shape[-1], 0, 1, 0), fill)


def translate_y(clip: Tensor, part: float, fill: int) -> Tensor:
    """Move up by a part of the height; (T, C, H, W) uint8."""
    return affine(clip, (1, 0, 0, 0, 1, part * clip.shape[-2]), fill)


def rotate(clip: Tensor, degrees: float, fill: int) -> Tensor:
    """Turn counter-clockwise around the centre, and keep the size (Image.rotate); (T, C, H, W) uint8."""
    centre_y, centre_x = clip.shape[-2] / 2, clip.shape[-1] / 2
    cos, sin = (round(part(-math.radians(degrees)), 15) for part in (math.cos, math.sin))
    offset_x = cos * -centre_x + sin * -centre_y + centre_x
    offset_y = -sin * -centre_x + cos * -centre_y + centre_y
    return affine(clip, (cos, sin, offset_x, -sin, cos, offset_y), fill)


def _taps(source: Tensor, extent_px: int) -> tuple[Tensor, Tensor]:
    """The pixels under the filter along one axis, and their weights.

    The kernel of Geometry.c: cubic convolution with a = -1, where Pillow's resize has -0.5 and grid_sample -0.75.
    Pixels beyond an edge are those at it. Along an axis that does not move, or by whole pixels, one tap suffices.

    Args:
        source: (H, W) float64, coordinates in the source.
        extent_px: pixels of the source along the axis.

    Returns:
        Positions, (H, W, 4 or 1) int32, and weights, (H, W, 4 or 1) float32.
    """
    centred = source - 0.5
    second = centred.floor()
    t = centred - second
    if not t.any():
        return second.int().clamp_(0, extent_px - 1)[..., None], torch.ones(*source.shape, 1)
    u = 1 - t
    outer, inner = t * u * u, t * t * u
    weights = torch.stack([part.float() for part in (-outer, u + outer, t + inner, -inner)], dim=-1)
    positions = second.int()[..., None] + torch.arange(-1, 3, dtype=torch.int32)
    return positions.clamp_(0, extent_px - 1), weights
