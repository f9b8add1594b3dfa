"""Mixup and cutmix: pixels and targets by hand, and the draws against the recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from videomae_cli.config.schema import AugmentSection
from videomae_cli.train.mixing import mix, smoothed_targets

RECIPE = AugmentSection()
MIXUP = AugmentSection(cutmix=0, label_smoothing=0)
CUTMIX = AugmentSection(mixup=0, label_smoothing=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(num_clips: int, height: int = 20, width: int = 30) -> tuple[Tensor, Tensor]:
    """Clip k has label k and the level k everywhere."""
    labels = torch.arange(num_clips)
    return labels.float().view(-1, 1, 1, 1, 1).expand(-1, 2, 3, height, width).contiguous(), labels


def test_smoothed_targets() -> None:
    assert smoothed_targets(torch.tensor([1, 3]), 4, 0.1).tolist() == [
        pytest.approx([0.025, 0.925, 0.025, 0.025]),
        pytest.approx([0.025, 0.025, 0.025, 0.925]),
    ]
    assert smoothed_targets(torch.tensor([0]), 2, 0.0).tolist() == [[1, 0]]


@pytest.mark.parametrize("off", [AugmentSection(mix_prob=0), AugmentSection(mixup=0, cutmix=0)])
def test_off_leaves_the_clips_and_smooths_the_labels(off: AugmentSection) -> None:
    frames, labels = plain(4)
    mixed, targets = mix(frames.clone(), labels, 5, off, generator())
    assert torch.equal(mixed, frames)
    assert torch.allclose(targets, smoothed_targets(labels, 5, 0.1))


@pytest.mark.parametrize("seed", range(8))
def test_mixup_blends_pixels_as_it_blends_targets(seed: int) -> None:
    frames, labels = plain(5)
    mixed, targets = mix(frames.clone(), labels, 5, MIXUP, generator(seed))
    own = targets[0, 0]
    assert 0 <= own <= 1
    expected = own * frames + (1 - own) * frames.flip(0)
    assert torch.allclose(mixed, expected, atol=1e-5)
    assert torch.allclose(targets, own * torch.eye(5) + (1 - own) * torch.eye(5).flip(0), atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_takes_one_box_of_the_partner_and_counts_its_pixels(seed: int) -> None:
    frames, labels = plain(4)
    mixed, targets = mix(frames.clone(), labels, 4, CUTMIX, generator(seed))
    for k in range(4):
        foreign = mixed[k] == 3 - k
        assert (foreign | (mixed[k] == k)).all()
        assert (foreign == foreign[0, 0]).all()  # the same box in all frames and channels
        rows, columns = foreign[0, 0].any(dim=1), foreign[0, 0].any(dim=0)
        assert torch.equal(foreign[0, 0], rows[:, None] & columns[None])
        assert targets[k, 3 - k] == pytest.approx(float(foreign[0, 0].float().mean()), abs=1e-6)
        assert targets[k, k] == pytest.approx(1 - float(targets[k, 3 - k]), abs=1e-6)


def test_draws_follow_the_recipe() -> None:
    """Half of the batches are cut, half are blended; lambda is Beta(0.8, 0.8), and all of it reaches the targets."""
    draws, cuts, own = generator(), 0, []
    for _ in range(1500):
        mixed, targets = mix(*plain(2, 8, 8), 2, RECIPE, draws)
        cut = bool(((mixed == 0) | (mixed == 1)).all())
        cuts += cut
        if not cut:
            own.append((float(targets[0, 0]) - 0.05) / 0.9)
    assert cuts / 1500 == pytest.approx(0.5, abs=0.04)
    expected = np.quantile(np.random.default_rng(0).beta(0.8, 0.8, 100_000), [0.1, 0.25, 0.5, 0.75, 0.9])
    assert np.quantile(own, [0.1, 0.25, 0.5, 0.75, 0.9]) == pytest.approx(expected, abs=0.05)


def test_mix_prob_is_the_share_of_mixed_batches() -> None:
    draws, settings = generator(), AugmentSection(cutmix=0, mix_prob=0.3)
    unmixed = [torch.equal(mix(*plain(2, 2, 2), 2, settings, draws)[0], plain(2, 2, 2)[0]) for _ in range(1000)]
    assert np.mean(unmixed) == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize("num_clips", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", range(4))
def test_targets_sum_to_one_for_any_batch(num_clips: int, seed: int) -> None:
    frames, labels = plain(num_clips)
    mixed, targets = mix(frames.clone(), labels, 9, RECIPE, generator(seed))
    assert mixed.shape == frames.shape
    assert targets.shape == (num_clips, 9)
    assert torch.allclose(targets.sum(dim=1), torch.ones(num_clips))
    middle = num_clips // 2
    if num_clips % 2:  # its own partner
        assert torch.allclose(mixed[middle], frames[middle], atol=1e-5)
        assert torch.allclose(targets[middle], smoothed_targets(labels, 9, 0.1)[middle])


def test_the_generator_decides_and_moves_on() -> None:
    draws = generator(3)
    first, second = (mix(*plain(4), 4, RECIPE, draws)[1] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(mix(*plain(4), 4, RECIPE, generator(3))[1], first)


def test_half_precision_clips() -> None:
    frames, labels = plain(4)
    mixed, targets = mix(frames.half(), labels, 4, RECIPE, generator())
    assert mixed.dtype == torch.float16
    assert targets.dtype == torch.float32
