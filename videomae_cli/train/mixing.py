"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of a batch, and smoothed targets, as timm mixup.py has them.

In timm's "batch" mode, which VideoMAE uses: one draw for a batch, whose clips are paired from both ends.

Letters: B batch, T frames, C channels, H W pixels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..config.schema import AugmentSection


def mix(
    frames: Tensor, labels: Tensor, num_labels: int, settings: AugmentSection, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mix the clips of a batch, or leave them as they are, and make the targets of the loss.

    Args:
        frames: (B, T, C, H, W) floating point; changed in place.
        labels: (B,) int64 in [0, num_labels).
        num_labels: classes.
        settings: `mixup`, `cutmix`, `mix_prob`, `mix_switch` and `label_smoothing` are used.
        generator: of the CPU; every draw depends on its state alone.

    Returns:
        `frames`, and float32 targets (B, num_labels) whose rows sum to 1.
    """
    # torch has no public Beta distribution that takes a generator.
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    own = 1.0
    if rng.random() < settings.mix_prob:
        cut = settings.cutmix > 0 and (settings.mixup == 0 or rng.random() < settings.mix_switch)
        alpha = settings.cutmix if cut else settings.mixup
        if alpha > 0:
            own = rng.beta(alpha, alpha)
            own = _cutmix(frames, own, rng) if cut else _mixup(frames, own)
    targets = smoothed_targets(labels, num_labels, settings.label_smoothing)
    return frames, own * targets + (1 - own) * targets.flip(0)


def smoothed_targets(labels: Tensor, num_labels: int, smoothing: float) -> Tensor:
    """Targets that give `smoothing` of their mass to all classes alike, the right one included.

    Args:
        labels: (B,) int64 in [0, num_labels).
        num_labels: classes.
        smoothing: in [0, 1].

    Returns:
        (B, num_labels) float32.
    """
    targets = torch.full((len(labels), num_labels), smoothing / num_labels, device=labels.device)
    return targets.scatter_(1, labels[:, None], 1 - smoothing + smoothing / num_labels)


def _mixup(frames: Tensor, own: float) -> float:
    """Blend each clip with its partner, in place; returns the part of its own."""
    partners = frames.flip(0)
    frames.mul_(own).add_(partners, alpha=1 - own)
    return own


def _cutmix(frames: Tensor, own: float, rng: np.random.Generator) -> float:
    """Put a box of the partner into all frames, in place; returns the part of its own that is left.

    The box has the aspect of the frame and its centre anywhere in it, so the frame's edge may cut it smaller.
    """
    height, width = frames.shape[-2:]
    side = math.sqrt(1 - own)
    top, bottom = _span(height, side, rng)
    left, right = _span(width, side, rng)
    frames[..., top:bottom, left:right] = frames[..., top:bottom, left:right].flip(0)
    return 1 - (bottom - top) * (right - left) / (height * width)


def _span(extent_px: int, part: float, rng: np.random.Generator) -> tuple[int, int]:
    """Start and end of a part of a side around a random pixel, cut at the edges."""
    centre = int(rng.integers(extent_px))
    half = int(extent_px * part) // 2
    return max(0, centre - half), min(extent_px, centre + half)
