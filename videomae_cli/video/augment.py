"""Random crops, mirror images and erased boxes of training clips: one draw for all frames of a clip.

Levels stay uint8 to the end. Every draw comes from the generator that is handed in.

Letters: T frames, C channels, H W pixels, S the side of the result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .randaugment import RandAugment
from .resize import resize

Box = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""

_QUARTERS = [(y, x) for y in range(5) for x in range(5) if y % 2 == x % 2]
"""The 13 places of a fixed crop, in quarters of the free space: a grid of 3 x 3, and the 4 points between (TSN)."""

_SNAP_PX = 3
"""A crop that is nearly of the result's size is made so, and need not be resized (TSN)."""

_ERASED_AREA = (0.02, 1 / 3)
_ERASED_ASPECT = (0.3, 1 / 0.3)
"""Of the erased box, relative to the frame, and height / width (timm random_erasing.py)."""


@dataclass(frozen=True)
class AugmentSettings:
    """How a fine-tuning clip is varied.

    Args:
        area: of the crop, relative to the frame: lowest and highest, in (0, 1].
        aspect: of the crop, width / height: lowest and highest.
        flip: probability of a mirror image.
        rand_augment: operations on levels and geometry; None for none.
        erasing: probability that a box is replaced by noise.
    """

    area: tuple[float, float]
    aspect: tuple[float, float]
    flip: float
    rand_augment: RandAugment | None
    erasing: float


def pretraining_clip(frames: Tensor, scales: Sequence[float], size_px: int, rng: np.random.Generator) -> Tensor:
    """What V1 does in pretraining (datasets.py): a multi-scale crop, and nothing else.

    Args:
        frames: (T, H, W, C) uint8.
        scales: see `multi_scale_crop`.
        size_px: S.
        rng: what is drawn from.

    Returns:
        (T, C, S, S) uint8, contiguous.
    """
    return multi_scale_crop(frames.movedim(-1, 1), size_px, scales, rng).contiguous()


def fine_tuning_clip(
    frames: Tensor,
    settings: AugmentSettings,
    size_px: int,
    mean: Sequence[float],
    std: Sequence[float],
    rng: np.random.Generator,
) -> Tensor:
    """What V1 does in fine-tuning (kinetics.py), in its order: RandAugment on whole frames, crop, flip, erase.

    V1's Kinetics is stored with a shorter side of 320 pixels for crops of 224. Larger frames are brought to this
    proportion first: operations and crops act on what they were tuned for, and cost no more.

    Args:
        frames: (T, H, W, C) uint8, RGB.
        settings: ranges and probabilities.
        size_px: S.
        mean: of the normalisation that follows, by channel, in [0, 1]; for the noise in erased boxes.
        std: likewise.
        rng: what is drawn from.

    Returns:
        (T, C, S, S) uint8, contiguous.
    """
    clip = _shrink(frames.movedim(-1, 1), size_px * 320 // 224)
    if settings.rand_augment is not None:
        clip = settings.rand_augment(clip, rng)
    clip = random_resized_crop(clip, size_px, settings.area, settings.aspect, rng)
    if rng.random() < settings.flip:
        clip = clip.flip(-1)
    return random_erasing(clip, settings.erasing, mean, std, rng).contiguous()


def multi_scale_crop(clip: Tensor, size_px: int, scales: Sequence[float], rng: np.random.Generator) -> Tensor:
    """Crop a box of `multi_scale_box`, and resize it by Pillow's antialiased bilinear filter, as V1 does.

    Args:
        clip: (T, C, H, W) uint8.
        size_px: S.
        scales: of the crop's sides, relative to the shorter side, each in (0, 1].
        rng: what is drawn from.

    Returns:
        (T, C, S, S) uint8.
    """
    box = multi_scale_box((clip.shape[-2], clip.shape[-1]), size_px, scales, rng)
    return resize(_cut(clip, box), size_px, size_px)


def multi_scale_box(extent: tuple[int, int], size_px: int, scales: Sequence[float], rng: np.random.Generator) -> Box:
    """The box of TSN's GroupMultiScaleCrop, as V1 sets it up (transforms.py).

    Height and width are drawn apart from `scales` times the shorter side, but at most one step of the list apart; the
    place is one of 13.

    Args:
        extent: height and width of the frame.
        size_px: S.
        scales: see `multi_scale_crop`.
        rng: what is drawn from.

    Returns:
        One of the boxes, all as likely.
    """
    shorter = min(extent)
    sides = [max(1, int(shorter * scale)) for scale in scales]
    sides = [size_px if abs(side - size_px) < _SNAP_PX and size_px <= shorter else side for side in sides]
    places = range(len(sides))
    pairs = [(sides[i], sides[j]) for i, j in itertools.product(places, places) if abs(i - j) <= 1]
    height, width = pairs[rng.integers(len(pairs))]
    quarter_y, quarter_x = _QUARTERS[rng.integers(len(_QUARTERS))]
    return quarter_y * ((extent[0] - height) // 4), quarter_x * ((extent[1] - width) // 4), height, width


def random_resized_crop(
    clip: Tensor, size_px: int, area: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> Tensor:
    """Crop a random box, and resize it as V1 does (video_transforms.py): bilinear, not antialiased.

    Args:
        clip: (T, C, H, W) uint8.
        size_px: S.
        area: see `AugmentSettings`.
        aspect: likewise.
        rng: what is drawn from.

    Returns:
        (T, C, S, S) uint8.
    """
    box = random_box((clip.shape[-2], clip.shape[-1]), area, aspect, rng)
    return interpolate(_cut(clip, box), size=(size_px, size_px), mode="bilinear")


def random_box(
    extent: tuple[int, int], area: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> Box:
    """The box of torchvision's RandomResizedCrop: uniform in area and in the logarithm of the aspect.

    Args:
        extent: height and width of the frame.
        area: see `AugmentSettings`.
        aspect: likewise.
        rng: what is drawn from.

    Returns:
        The first of 10 draws that fits into the frame, or else the largest box in the centre with an aspect in range.
    """
    height, width = extent
    for _ in range(10):
        box_width, box_height = _draw_sides(height * width, area, aspect, rng)
        if 0 < box_height <= height and 0 < box_width <= width:
            return _place(box_height, box_width, extent, rng)
    box_width = min(width, round(height * aspect[1])) or 1
    box_height = min(height, round(width / aspect[0])) or 1
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def random_erasing(
    clip: Tensor, probability: float, mean: Sequence[float], std: Sequence[float], rng: np.random.Generator
) -> Tensor:
    """Replace one box of all frames by noise of each pixel and frame ("pixel" mode and "cube" of V1 random_erasing.py).

    V1 draws the noise from a normal distribution after normalisation. Here it is brought to levels, which clips it
    about two deviations away from the mean.

    Args:
        clip: (T, C, H, W) uint8.
        probability: that a box is erased.
        mean: of the normalisation, by channel, in [0, 1].
        std: likewise.
        rng: what is drawn from.

    Returns:
        (T, C, H, W) uint8; the input itself where nothing is erased.
    """
    if rng.random() >= probability:
        return clip
    T, C, H, W = clip.shape
    for _ in range(100):  # as V1: a box of every size will find its shape
        height, width = _draw_sides(H * W, _ERASED_AREA, _ERASED_ASPECT, rng)
        if height < H and width < W:
            break
    else:
        return clip
    box = _place(height, width, (H, W), rng)
    noise = torch.from_numpy(rng.standard_normal((T, C, height, width), dtype=np.float32))
    gain, offset = (torch.tensor(values).view(C, 1, 1) * 255 for values in (std, mean))
    erased = clip.clone()
    _cut(erased, box).copy_(noise.mul_(gain).add_(offset).round_().clamp_(0, 255))
    return erased


def _shrink(clip: Tensor, shorter_px: int) -> Tensor:
    """Bring a longer shorter side to `shorter_px`; (T, C, H, W) uint8."""
    height, width = clip.shape[-2:]
    shorter = min(height, width)
    if shorter <= shorter_px:
        return clip
    return resize(clip, height * shorter_px // shorter, width * shorter_px // shorter)


def _draw_sides(
    num_pixels: int, area: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int]:
    """Two sides of a box: the first is `aspect` times the second."""
    box_area = num_pixels * rng.uniform(*area)
    ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
    return round(math.sqrt(box_area * ratio)), round(math.sqrt(box_area / ratio))


def _place(height: int, width: int, extent: tuple[int, int], rng: np.random.Generator) -> Box:
    """A box anywhere in a frame, each place as likely."""
    top, left = rng.integers(extent[0] - height + 1), rng.integers(extent[1] - width + 1)
    return int(top), int(left), height, width


def _cut(clip: Tensor, box: Box) -> Tensor:
    """A view of the pixels in a box."""
    top, left, height, width = box
    return clip[..., top : top + height, left : left + width]
