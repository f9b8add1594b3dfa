"""Crops, mirror images and erased boxes: where they lie, what Pillow and V1's arithmetic make of them, and order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from tests.videos import numbered_frame
from videomae_cli.video.augment import (
    AugmentSettings,
    fine_tuning_clip,
    multi_scale_box,
    pretraining_clip,
    random_box,
    random_erasing,
    random_resized_crop,
)
from videomae_cli.video.randaugment import RandAugment
from videomae_cli.video.resize import resize

SCALES = (1.0, 0.875, 0.75, 0.66)
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECIPE = AugmentSettings(AREA, ASPECT, 0.5, RandAugment.parse("rand-m7-n4-mstd0.5-inc1"), 0.25)
NOTHING = AugmentSettings((1.0, 1.0), (1.0, 1.0), 0.0, None, 0.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def frames(num_frames: int = 3, height: int = 72, width: int = 100) -> Tensor:
    """As read, (T, H, W, C) uint8; a picture of its own for each frame, in colour."""
    pictures = np.stack([numbered_frame(k, width, height) for k in range(num_frames)])
    pictures[..., 1] //= 2
    pictures[..., 2] = 255 - pictures[..., 2]
    return torch.from_numpy(pictures)


def still(num_frames: int = 3) -> Tensor:
    return frames(1).repeat(num_frames, 1, 1, 1)


# ---- pretraining ---------------------------------------------------------------------------------------------------


def test_multi_scale_boxes_are_these_and_no_others() -> None:
    """All boxes of a 340 x 256 frame at two scales: 4 pairs of sides, 13 places of each, about equally often."""
    draws = rng()
    boxes = Counter(multi_scale_box((256, 340), 200, (1.0, 0.75), draws) for _ in range(20_000))
    free = {256: {"y": 0, "x": 21}, 192: {"y": 16, "x": 37}}  # quarters of what is free, rounded down
    thirteen = [
        (0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4), (4, 0), (4, 2), (4, 4), (1, 1), (1, 3), (3, 1), (3, 3)
    ]  # fmt: skip
    expected = Counter(
        (y * free[height]["y"], x * free[width]["x"], height, width)
        for height in (256, 192)
        for width in (256, 192)
        for y, x in thirteen
    )
    assert set(boxes) == set(expected)
    assert all(boxes[box] == pytest.approx(20_000 * expected[box] / 52, rel=0.25) for box in boxes)


def test_multi_scale_sides_are_at_most_one_step_apart() -> None:
    draws = rng()
    sides = {multi_scale_box((256, 340), 224, SCALES, draws)[2:] for _ in range(1000)}
    # 0.875 * 256 is 224, 0.66 * 256 is 168.96
    assert sides == {
        (256, 256), (256, 224),
        (224, 256), (224, 224), (224, 192),
        (192, 224), (192, 192), (192, 168),
        (168, 192), (168, 168),
    }  # fmt: skip


@pytest.mark.parametrize(("shorter", "side"), [(226, 224), (225, 224), (224, 224), (227, 227), (223, 223)])
def test_a_crop_of_nearly_the_right_size_is_made_right_where_it_fits(shorter: int, side: int) -> None:
    assert multi_scale_box((shorter, 300), 224, (1.0,), rng())[2:] == (side, side)


@pytest.mark.parametrize("seed", range(6))
def test_pretraining_is_pillows_crop_and_resize(seed: int) -> None:
    clip = frames()
    top, left, height, width = multi_scale_box((72, 100), 48, SCALES, rng(seed))
    theirs = [
        np.array(Image.fromarray(frame).crop((left, top, left + width, top + height)).resize((48, 48), 2))
        for frame in clip.numpy()
    ]
    ours = pretraining_clip(clip, SCALES, 48, rng(seed))
    assert (ours.int() - torch.from_numpy(np.stack(theirs)).movedim(-1, 1).int()).abs().max() <= 1


# ---- crops of fine-tuning --------------------------------------------------------------------------------------------


def test_random_boxes_follow_torchvisions_distribution() -> None:
    draws = rng()
    boxes = np.array([random_box((1000, 1000), (0.2, 0.6), (0.5, 2.0), draws) for _ in range(4000)])
    top, left, height, width = boxes.T
    area, aspect = height * width / 1e6, np.log2(width / height)
    assert area.min() == pytest.approx(0.2, abs=0.005)
    assert area.max() == pytest.approx(0.6, abs=0.005)
    assert (aspect > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert np.quantile(aspect[area < 0.45], [0.25, 0.75]) == pytest.approx([-0.5, 0.5], abs=0.06)
    assert (top + height / 2).mean() == pytest.approx(500, abs=10)
    assert (left + width / 2).mean() == pytest.approx(500, abs=10)
    assert top.min() == left.min() == 0
    assert (top + height).max() == (left + width).max() == 1000


@pytest.mark.parametrize(
    ("extent", "box"),
    [
        ((100, 1000), (0, 433, 100, 133)),  # too wide for any draw: the largest 4:3 in the centre
        ((1000, 100), (433, 0, 133, 100)),
        ((1, 300), (0, 149, 1, 1)),
    ],
)
def test_frames_that_no_draw_fits(extent: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    assert random_box(extent, (1.0, 1.0), ASPECT, rng()) == box


@pytest.mark.parametrize("seed", range(6))
def test_a_crop_is_resized_as_in_v1(seed: int) -> None:
    clip = frames().movedim(-1, 1)
    top, left, height, width = random_box((72, 100), AREA, ASPECT, rng(seed))
    cropped = clip[..., top : top + height, left : left + width].float()
    theirs = interpolate(cropped, size=(64, 64), mode="bilinear", align_corners=False)
    ours = random_resized_crop(clip, 64, AREA, ASPECT, rng(seed))
    assert (ours - theirs).abs().max() <= 1


# ---- erasing ---------------------------------------------------------------------------------------------------------


def erased_box(before: Tensor, after: Tensor) -> tuple[slice, slice]:
    """The smallest box around all changes."""
    rows, columns = (before != after).any(dim=0).any(dim=0).nonzero(as_tuple=True)
    return slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)


def test_one_box_of_all_frames_is_filled_with_noise_of_their_own() -> None:
    clip = torch.full((4, 3, 64, 80), 7, dtype=torch.uint8)
    for seed in range(20):
        erased = random_erasing(clip, 1.0, (0.5, 0.4, 0.6), (0.1, 0.1, 0.1), rng(seed))
        box = (..., *erased_box(clip, erased))
        height, width = erased[box].shape[-2:]
        assert 0.015 < height * width / (64 * 80) < 0.35
        assert 0.25 < height / width < 4
        assert not torch.equal(erased[0], erased[1])
        noise = erased[box].float() / 255
        assert torch.allclose(noise.mean(dim=(0, 2, 3)), torch.tensor([0.5, 0.4, 0.6]), atol=0.03)
        assert torch.allclose(noise.std(dim=(0, 2, 3)), torch.tensor(0.1), atol=0.03)
        erased[box] = 7
        assert torch.equal(erased, clip)


def test_erasing_happens_as_often_as_asked_and_leaves_its_input_alone() -> None:
    clip = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    draws = rng()
    num_erased = sum(bool(random_erasing(clip, 0.25, MEAN, STD, draws).any()) for _ in range(2000))
    assert num_erased == pytest.approx(500, rel=0.15)
    assert not clip.any()


def test_erased_areas_are_uniform_from_a_fiftieth_to_a_third() -> None:
    clip, draws, areas = torch.full((1, 1, 100, 100), 3, dtype=torch.uint8), rng(), []
    for _ in range(600):
        rows, columns = erased_box(clip, random_erasing(clip, 1.0, (0.5,), (0.1,), draws))
        areas.append((rows.stop - rows.start) * (columns.stop - columns.start) / 1e4)
    assert np.quantile(areas, [0.25, 0.5, 0.75]) == pytest.approx([0.098, 0.177, 0.255], abs=0.02)


# ---- the chains ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    num_frames=st.integers(1, 3),
    size=st.sampled_from([16, 32, 48]),
    seed=st.integers(0, 2**32),
)
def test_clips_of_any_frames(height: int, width: int, num_frames: int, size: int, seed: int) -> None:
    read = torch.from_numpy(rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8))
    before = read.clone()
    for clip, again in (
        [pretraining_clip(read, SCALES, size, rng(seed)) for _ in range(2)],
        [fine_tuning_clip(read, RECIPE, size, MEAN, STD, rng(seed)) for _ in range(2)],
    ):
        assert clip.shape == (num_frames, 3, size, size)
        assert clip.dtype == torch.uint8
        assert clip.is_contiguous()
        assert torch.equal(clip, again)
    assert torch.equal(read, before)


def test_frames_that_are_alike_stay_alike() -> None:
    alike = AugmentSettings(AREA, ASPECT, 0.5, RECIPE.rand_augment, erasing=0.0)
    for seed in range(20):
        for clip in (
            pretraining_clip(still(), SCALES, 48, rng(seed)),
            fine_tuning_clip(still(), alike, 48, MEAN, STD, rng(seed)),
        ):
            assert torch.equal(clip, clip[:1].expand_as(clip))


def test_seeds_differ() -> None:
    clips = [fine_tuning_clip(frames(), RECIPE, 48, MEAN, STD, rng(seed)) for seed in range(5)]
    assert len({clip.numpy().tobytes() for clip in clips}) == 5


def test_probability_zero_is_the_identity_and_one_is_the_mirror_image() -> None:
    square = frames(height=64, width=64)
    assert torch.equal(fine_tuning_clip(square, NOTHING, 64, MEAN, STD, rng()), square.movedim(-1, 1))
    mirror = AugmentSettings((1.0, 1.0), (1.0, 1.0), 1.0, None, 0.0)
    assert torch.equal(fine_tuning_clip(square, mirror, 64, MEAN, STD, rng()), square.movedim(-1, 1).flip(-1))


def test_flips_are_as_frequent_as_asked() -> None:
    square, draws = frames(1, 32, 32), rng()
    some = AugmentSettings((1.0, 1.0), (1.0, 1.0), 0.3, None, 0.0)
    flipped = [not torch.equal(fine_tuning_clip(square, some, 32, MEAN, STD, draws)[0], square[0].movedim(-1, 0))
               for _ in range(1000)]  # fmt: skip
    assert np.mean(flipped) == pytest.approx(0.3, abs=0.05)


def test_rand_augment_sees_whole_frames_and_erasing_the_crop() -> None:
    """V1's order: the chain is its parts, one after the other, on one generator."""
    read, mean, std = frames(height=44, width=60), MEAN, STD
    every = AugmentSettings(AREA, ASPECT, 1.0, RECIPE.rand_augment, 1.0)
    draws = rng(5)
    assert every.rand_augment is not None
    clip = every.rand_augment(read.movedim(-1, 1), draws)
    clip = random_resized_crop(clip, 32, AREA, ASPECT, draws)
    draws.random()
    clip = random_erasing(clip.flip(-1), 1.0, mean, std, draws)
    assert torch.equal(fine_tuning_clip(read, every, 32, mean, std, rng(5)), clip)


def test_large_frames_are_brought_to_v1s_proportion_first() -> None:
    read = frames(height=200, width=300)
    small = resize(read.movedim(-1, 1), 45, 67).movedim(1, -1)  # 32 * 320 / 224 = 45.7
    ours = fine_tuning_clip(read, RECIPE, 32, MEAN, STD, rng(1))
    assert torch.equal(ours, fine_tuning_clip(small, RECIPE, 32, MEAN, STD, rng(1)))
