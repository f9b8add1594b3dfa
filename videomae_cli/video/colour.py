"""Operations on the levels of pictures as Pillow does them, without Pillow: bit for bit, 8 bits in and out.

Operations whose result depends on the level alone are tables of 256 levels. Statistics (histogram, mean) are those of
each frame.

Letters: T frames, C channels (R, G, B), H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def auto_contrast(clip: Tensor) -> Tensor:
    """Stretch each channel of each frame to [0, 255] (ImageOps.autocontrast).

    Args:
        clip: (T, C, H, W) uint8.

    Returns:
        (T, C, H, W) uint8.
    """
    levels = torch.arange(256, dtype=torch.float64)
    low = clip.amin(dim=(-2, -1)).double()[..., None]  # (T, C, 1)
    high = clip.amax(dim=(-2, -1)).double()[..., None]
    scale = levels[-1] / (high - low).clamp(min=1)  # 255, as a tensor: torch divides a number by way of a reciprocal
    stretched = (levels * scale + -low * scale).trunc().clamp(0, 255)  # Pillow's order of operations
    return look_up(clip, torch.where(high > low, stretched, levels).to(torch.uint8))


def equalize(clip: Tensor) -> Tensor:
    """Make the levels of each channel of each frame about equally frequent (ImageOps.equalize).

    Args:
        clip: (T, C, H, W) uint8.

    Returns:
        (T, C, H, W) uint8.
    """
    num_planes = clip.shape[0] * clip.shape[1]
    planes = clip.reshape(num_planes, -1)  # (T * C, H * W)
    counts = torch.stack([plane.bincount(minlength=256) for plane in planes])  # (T * C, 256)
    most = planes.amax(dim=1, keepdim=True).long()
    step = (planes.shape[1] - counts.gather(1, most)) // 255
    below = counts.cumsum(dim=1) - counts
    equal = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    tables = torch.where(step > 0, equal, torch.arange(256))  # pictures of too few levels stay
    return look_up(clip, tables.to(torch.uint8).view(*clip.shape[:2], 256))


def invert(clip: Tensor) -> Tensor:
    """The negative (ImageOps.invert); (T, C, H, W) uint8."""
    return 255 - clip


def posterize(clip: Tensor, num_bits: int) -> Tensor:
    """Keep the `num_bits` highest bits, 0 to 8, of each level (ImageOps.posterize); (T, C, H, W) uint8."""
    return clip & (256 - (1 << 8 - num_bits))


def solarize(clip: Tensor, threshold: int) -> Tensor:
    """Invert levels from `threshold` (0 to 256) on (ImageOps.solarize); (T, C, H, W) uint8."""
    levels = torch.arange(256)
    return look_up(clip, torch.where(levels < threshold, levels, 255 - levels).to(torch.uint8))


def solarize_add(clip: Tensor, addend: int) -> Tensor:
    """Add `addend` to levels below 128, up to 255 (timm auto_augment.py); (T, C, H, W) uint8."""
    levels = torch.arange(256)
    return look_up(clip, torch.where(levels < 128, (levels + addend).clamp(max=255), levels).to(torch.uint8))


def brightness(clip: Tensor, factor: float) -> Tensor:
    """Blend with black (ImageEnhance.Brightness); 1 changes nothing; (T, C, H, W) uint8."""
    levels = torch.arange(256.0)
    return look_up(clip, _blend(torch.zeros(1), levels, factor))


def contrast(clip: Tensor, factor: float) -> Tensor:
    """Blend each frame with its mean grey (ImageEnhance.Contrast); 1 changes nothing; (T, C, H, W) uint8."""
    num_pixels = clip.shape[-2] * clip.shape[-1]
    sums = _grey(clip).sum(dim=(-2, -1), dtype=torch.float64)  # (T, 1)
    mean = (sums / num_pixels + 0.5).floor().float()
    return look_up(clip, _blend(mean[..., None], torch.arange(256.0), factor))


def colour(clip: Tensor, factor: float) -> Tensor:
    """Blend each pixel with its grey (ImageEnhance.Color); 1 changes nothing; (T, C, H, W) uint8."""
    return _blend(_grey(clip), clip.float(), factor)


def sharpness(clip: Tensor, factor: float) -> Tensor:
    """Blend with a smoothed picture (ImageEnhance.Sharpness); 1 changes nothing; (T, C, H, W) uint8."""
    pixels = clip.float()
    rows = (pixels[..., :-2, :] + pixels[..., 1:-1, :]).add_(pixels[..., 2:, :])
    sums = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(pixels[..., 1:-1, 1:-1], alpha=4)
    smooth = pixels.clone()  # Pillow leaves the pixels at the border as they are
    smooth[..., 1:-1, 1:-1] = sums.div_(13).add_(0.5).floor_()  # 8 neighbours weigh 1, the pixel 5
    return _blend(smooth, pixels, factor)


def look_up(clip: Tensor, tables: Tensor) -> Tensor:
    """Replace every level by what a table says.

    Args:
        clip: (T, C, H, W) uint8.
        tables: (256,), or (T or 1, C or 1, 256) for tables of each frame or channel; uint8.

    Returns:
        (T, C, H, W) uint8.
    """
    T, C, H, W = clip.shape
    tables = tables.expand(T, C, 256).reshape(-1)  # (T * C * 256,)
    first = torch.arange(0, T * C * 256, 256, dtype=torch.int32).view(T, C, 1, 1)
    return tables.index_select(0, (clip + first).flatten()).view(T, C, H, W)


def _blend(start: Tensor, end: Tensor, factor: float) -> Tensor:
    """From `start` at 0 over `end` at 1 and beyond, in float32 and rounded down, as Blend.c of Pillow; uint8."""
    return (end - start).mul_(factor).add_(start).clamp_(0, 255).to(torch.uint8)


def _grey(clip: Tensor) -> Tensor:
    """Luma (ITU-R 601) in Pillow's fixed point, (T, 1, H, W) float32: the sum, below 2**24, is exact."""
    red, green, blue = clip.float().unbind(dim=1)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) / 65536).floor()[:, None]
