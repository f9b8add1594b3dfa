"""Video <-> patches, and what pretraining has to predict of a patch.

Letters: B batch, T frames, C channels, H W pixels, N tokens, M masked; one patch is t frames of p x q pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # red, green, blue, of pixels in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
_EPSILON = 1e-6  # keeps a patch of one colour finite


def patchify(video: Tensor, patch_shape: tuple[int, int, int]) -> Tensor:
    """Cut a video into patches, ordered by time, row, column.

    Args:
        video: (B, T, C, H, W); T, H, W multiples of t, p, q.
        patch_shape: (t, p, q).

    Returns:
        (B, N, C, t*p*q) with N = T/t * H/p * W/q: the order of numbers in a Conv3d weight (C, t, p, q).
    """
    B, T, C, H, W = video.shape
    t, p, q = patch_shape
    pieces = video.reshape(B, T // t, t, C, H // p, p, W // q, q)
    pieces = pieces.permute(0, 1, 4, 6, 3, 2, 5, 7)  # (B, T/t, H/p, W/q, C, t, p, q)
    return pieces.reshape(B, -1, C, t * p * q)


def unpatchify(patches: Tensor, patch_shape: tuple[int, int, int], grid: tuple[int, int, int]) -> Tensor:
    """Put patches together again: the inverse of `patchify`.

    Args:
        patches: (B, N, C, t*p*q).
        patch_shape: (t, p, q).
        grid: tokens along (time, height, width); their product is N.

    Returns:
        (B, T, C, H, W).
    """
    B, _, C, _ = patches.shape
    t, p, q = patch_shape
    times, rows, columns = grid
    pieces = patches.reshape(B, times, rows, columns, C, t, p, q)
    pieces = pieces.permute(0, 1, 5, 4, 2, 6, 3, 7)  # (B, T/t, t, C, H/p, p, W/q, q)
    return pieces.reshape(B, times * t, C, rows * p, columns * q)


def normalized_targets(patches: Tensor) -> Tensor:
    """Normalise each patch per channel: (x - mean) / (std + 1e-6), with the unbiased std.

    VideoMAE paper, section 4.1; V1 engine_for_pretraining.py. (mae_st takes one mean over all channels instead.)

    Args:
        patches: (B, M, C, t*p*q), pixels in [0, 1].

    Returns:
        (B, M, C, t*p*q).
    """
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)  # (B, M, C, 1)
    return (patches - mean) / (variance.sqrt() + _EPSILON)


def reconstruction_targets(patches: Tensor, *, normalize: bool) -> Tensor:
    """What the decoder has to predict of the patches it is asked for.

    RGB pixels are taken back from ImageNet statistics to [0, 1]; those of other channels are left as they are.

    Args:
        patches: (B, M, C, t*p*q) as the model sees them; only the patches asked for, to spend nothing on the others.
        normalize: `norm_pix_loss`.

    Returns:
        (B, M, t*p*q*C) float32, channel fastest.

    Raises:
        UsageError: raw targets are wanted of channels whose statistics are not known.
    """
    num_channels = patches.shape[2]
    patches = patches.float()
    if num_channels == len(IMAGENET_MEAN):
        # Numbers, not a tensor of them: that would be one more wait for an accelerator.
        channels = zip(patches.unbind(2), IMAGENET_STD, IMAGENET_MEAN, strict=True)
        patches = torch.stack([channel * std + mean for channel, std, mean in channels], dim=2)
    elif not normalize:
        raise UsageError(f"raw pixels of {num_channels} channels are no target", "Set norm_pix_loss=True.")
    if normalize:
        patches = normalized_targets(patches)
    return patches.transpose(2, 3).flatten(2)  # (B, M, C, tpq) -> (B, M, tpq*C)
