"""Patches and back, and what is predicted of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from videomae_cli.errors import UsageError
from videomae_cli.model.targets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalized_targets,
    patchify,
    reconstruction_targets,
    unpatchify,
)


def test_patchify_order() -> None:
    """One frame of 2 x 4 pixels in two channels, patches of 1 x 2 x 2: left then right, channel by channel."""
    video = torch.tensor([[[[[0, 1, 2, 3], [4, 5, 6, 7]], [[10, 11, 12, 13], [14, 15, 16, 17]]]]])
    assert patchify(video, (1, 2, 2)).tolist() == [
        [
            [[0, 1, 4, 5], [10, 11, 14, 15]],
            [[2, 3, 6, 7], [12, 13, 16, 17]],
        ]
    ]


side = st.integers(1, 3)


@settings(max_examples=30, deadline=None)
@given(batch=side, channels=side, grid=st.tuples(side, side, side), patch=st.tuples(side, side, side))
def test_unpatchify_inverts_patchify(
    batch: int, channels: int, grid: tuple[int, int, int], patch: tuple[int, int, int]
) -> None:
    frames, height, width = (count * size for count, size in zip(grid, patch, strict=True))
    video = torch.randn(batch, frames, channels, height, width)
    patches = patchify(video, patch)
    assert patches.shape == (batch, np.prod(grid), channels, np.prod(patch))
    assert torch.equal(unpatchify(patches, patch, grid), video)


def test_a_linear_map_of_patches_is_a_convolution() -> None:
    video = torch.randn(2, 4, 3, 6, 8)
    convolution = nn.Conv3d(3, 5, kernel_size=(2, 3, 4), stride=(2, 3, 4))
    expected = convolution(video.transpose(1, 2)).flatten(2).transpose(1, 2)
    found = nn.functional.linear(patchify(video, (2, 3, 4)).flatten(2), convolution.weight.flatten(1), convolution.bias)
    torch.testing.assert_close(found, expected)


def test_a_nearly_flat_patch_is_held_down_by_epsilon() -> None:
    """Deviation 1e-6 and epsilon 1e-6: half of what it would be without."""
    patches = torch.tensor([-1e-6, 1e-6]).repeat(1, 1, 1, 500).double()
    assert float(normalized_targets(patches).abs().mean()) == pytest.approx(0.5, rel=1e-3)


def test_normalized_targets() -> None:
    patches = torch.rand(2, 3, 3, 8)
    x = patches.double().numpy()
    expected = (x - x.mean(-1, keepdims=True)) / (x.std(-1, ddof=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(normalized_targets(patches), expected, rtol=1e-4, atol=1e-5)
    assert normalized_targets(torch.full((1, 1, 3, 8), 0.5)).tolist() == [[[[0.0] * 8] * 3]]


def test_raw_targets_are_pixels_with_the_channel_fastest() -> None:
    red, green, blue = (torch.tensor([0.1, 0.2]), torch.tensor([0.4, 0.5]), torch.tensor([0.8, 0.9]))
    pixels = torch.stack([red, green, blue])[None, None]  # (1, 1, C, 2)
    seen = (pixels - torch.tensor(IMAGENET_MEAN)[:, None]) / torch.tensor(IMAGENET_STD)[:, None]
    targets = reconstruction_targets(seen, normalize=False)
    torch.testing.assert_close(targets, torch.tensor([[[0.1, 0.4, 0.8, 0.2, 0.5, 0.9]]]))


def test_channels_that_are_not_rgb() -> None:
    patches = torch.rand(1, 2, 4, 8)
    targets = reconstruction_targets(patches, normalize=True)
    assert torch.equal(targets, normalized_targets(patches).transpose(2, 3).flatten(2))
    with pytest.raises(UsageError, match="raw pixels of 4 channels"):
        reconstruction_targets(patches, normalize=False)


def test_targets_are_float32_whatever_the_pixels_are() -> None:
    assert reconstruction_targets(torch.rand(1, 2, 3, 8).half(), normalize=True).dtype == torch.float32
