"""The picture of a reconstruction: every pixel of it is told from the model's own output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models import small_model
from videomae_cli.model.masking import random_mask, tube_mask
from videomae_cli.model.targets import IMAGENET_MEAN, IMAGENET_STD, patchify, reconstruction_targets
from videomae_cli.train.reconstruction import INPUT, LEAKY, MASKED, NORMALIZED, RAW, reconstruction_picture
from videomae_cli.video.picture_file import draw_caption

SIDE, GAP, CAPTION = 32, 2, 16  # px
PATCH = (2, 16, 16)


def model_that_knows(clip: Tensor, mask: Tensor, *, norm_pix_loss: bool) -> Any:
    """One of our models whose decoder gives the very targets, whatever it sees."""
    model = small_model("VideoMAEForPreTraining", norm_pix_loss=norm_pix_loss)
    normalized = (clip / 255 - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    masked = patchify(normalized[None], PATCH)[:, mask]
    targets = reconstruction_targets(masked, normalize=norm_pix_loss)
    model.decode = lambda *_: targets
    return model


def frames_of(picture: np.ndarray, row: int, num_frames: int) -> np.ndarray:
    """The pictures of a row, (num_frames, H, W, C)."""
    top = row * (CAPTION + SIDE + GAP) + CAPTION
    return np.stack([picture[top : top + SIDE, k * (SIDE + GAP) :][:, :SIDE] for k in range(num_frames)])


def captions_of(picture: np.ndarray) -> list[np.ndarray]:
    height = CAPTION + SIDE + GAP
    return [picture[top : top + CAPTION] for top in range(0, len(picture), height)]


@pytest.fixture
def clip() -> Tensor:
    return torch.randint(0, 256, (4, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def mask() -> Tensor:
    return random_mask((2, 2, 2), 0.6, torch.Generator().manual_seed(3))


def test_raw_targets_come_out_as_the_input(clip: Tensor, mask: Tensor) -> None:
    model = model_that_knows(clip, mask, norm_pix_loss=False)
    picture = reconstruction_picture(model, clip, mask, IMAGENET_MEAN, IMAGENET_STD)
    shown = clip[[0, 2]].permute(0, 2, 3, 1).numpy()  # the first frame of each tubelet
    assert picture.dtype == np.uint8
    assert np.array_equal(frames_of(picture, 0, 2), shown)
    assert np.abs(frames_of(picture, 2, 2).astype(int) - shown).max() <= 1
    expected = [draw_caption(text, picture.shape[1]) for text in (INPUT, MASKED, RAW)]
    assert all(map(np.array_equal, captions_of(picture), expected))


def test_normalised_targets_come_out_with_the_originals_statistics_and_as_they_are(clip: Tensor, mask: Tensor) -> None:
    model = model_that_knows(clip, mask, norm_pix_loss=True)
    picture = reconstruction_picture(model, clip, mask, IMAGENET_MEAN, IMAGENET_STD)
    expected = [draw_caption(text, picture.shape[1]) for text in (INPUT, MASKED, LEAKY, NORMALIZED)]
    assert all(map(np.array_equal, captions_of(picture), expected))
    shown = clip[[0, 2]].permute(0, 2, 3, 1).numpy()
    assert np.abs(frames_of(picture, 2, 2).astype(int) - shown).max() <= 1
    patch = clip[:2, :, :16, :16].double() / 255  # of token 0; normalised per channel, 6 deviations are 255 levels
    expected_patch = (patch - patch.mean((0, 2, 3), keepdim=True)) / patch.std((0, 2, 3), keepdim=True) / 6 + 0.5
    levels = expected_patch[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
    assert np.abs(frames_of(picture, 3, 2)[0, :16, :16] - levels).max() <= 1


def test_the_leak_free_row_holds_the_prediction_and_no_more(clip: Tensor, mask: Tensor) -> None:
    """Masked pixels that change change nothing but the input and, through mean and deviation, the leaky row."""
    model = small_model("VideoMAEForPreTraining")
    other = clip.clone()
    hidden = mask.view(2, 2, 2).repeat_interleave(2, 0).repeat_interleave(16, 1).repeat_interleave(16, 2)
    other.permute(0, 2, 3, 1)[hidden] = other.permute(0, 2, 3, 1)[hidden] // 2
    one, two = (reconstruction_picture(model, c, mask, IMAGENET_MEAN, IMAGENET_STD) for c in (clip, other))
    is_same = [np.array_equal(frames_of(one, row, 2), frames_of(two, row, 2)) for row in range(4)]
    assert is_same == [False, True, False, True]


def test_what_is_masked_is_grey_and_what_is_visible_is_there(clip: Tensor, mask: Tensor) -> None:
    picture = reconstruction_picture(small_model("VideoMAEForPreTraining"), clip, mask, IMAGENET_MEAN, IMAGENET_STD)
    shown, masked = frames_of(picture, 0, 2), frames_of(picture, 1, 2)
    for token, is_masked in enumerate(mask.tolist()):
        time, row, column = np.unravel_index(token, (2, 2, 2))
        place = time, slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16)
        assert (masked[place] == 128).all() if is_masked else np.array_equal(masked[place], shown[place])


def test_the_prediction_is_that_of_the_model_in_evaluation_mode(clip: Tensor, mask: Tensor) -> None:
    model = small_model("VideoMAEForPreTraining", norm_pix_loss=False, drop_path_rate=0.9)
    quiet = reconstruction_picture(model, clip, mask, IMAGENET_MEAN, IMAGENET_STD)
    model.train()
    assert np.array_equal(reconstruction_picture(model, clip, mask, IMAGENET_MEAN, IMAGENET_STD), quiet)
    assert model.training
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        logits = model.eval()((clip[None] / 255 - mean) / std, mask[None]).logits[0]  # (M, t*p*q*C)
    first = int(mask.nonzero()[0])  # token
    time, row, column = np.unravel_index(first, (2, 2, 2))
    levels = logits[0].view(2, 16, 16, 3)[0].clamp(0, 1).numpy() * 255
    drawn = frames_of(quiet, 2, 2)[time, 16 * row :, 16 * column :][:16, :16]
    assert np.abs(drawn - levels).max() <= 0.51


def test_long_clips_show_eight_frames_that_are_spread_over_them() -> None:
    model = small_model("VideoMAEForPreTraining", num_frames=32)
    clip = torch.arange(32, dtype=torch.uint8).mul(8).view(32, 1, 1, 1).expand(32, 3, SIDE, SIDE)
    mask = tube_mask((16, 2, 2), 0.5, torch.Generator().manual_seed(0))
    picture = reconstruction_picture(model, clip, mask, IMAGENET_MEAN, IMAGENET_STD)
    assert frames_of(picture, 0, 8)[:, 0, 0, 0].tolist() == [8 * frame for frame in range(0, 32, 4)]
    assert picture.shape == (4 * (CAPTION + SIDE + GAP), 600, 3)
