"""Clips for training are a function of seed, epoch, video and repeat; a video that cannot be read is named."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.videos import frame_numbers, numbered_frame, write_text, write_video
from videomae_cli.data.dataset import ClipBatch, ClipRecipe, Draw, Masks, TrainingClips, random_at
from videomae_cli.data.manifest import Manifest, Sample
from videomae_cli.video.sampling import Sampling, dense_indices


def marked(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """The central square as it is, so that its number can be read, with a drawn level in the corner."""
    clip = frames[:, :, 8:56].permute(0, 3, 1, 2).contiguous()  # 64 x 48 -> (T, C, 48, 48)
    clip[:, :, 0, 0] = int(rng.integers(256))
    return clip


def drawn_masks(generator: torch.Generator) -> Masks:
    return torch.rand(20, generator=generator) < 0.5, torch.rand(20, generator=generator) < 0.5


RECIPE = ClipRecipe(Sampling("dense", num_frames=4, stride=3), size_px=48, seed=7, transform=marked)


def numbers(batch: ClipBatch) -> list[list[int]]:
    return [frame_numbers(clip.permute(0, 2, 3, 1).numpy()) for clip in batch.frames]


def marks(batch: ClipBatch) -> list[int]:
    return batch.frames[:, 0, 0, 0, 0].tolist()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Three videos of 40 frames, one that is none, and a folder of ten pictures."""
    top = tmp_path_factory.mktemp("videos")
    paths = [write_video(top / f"{k}.mp4", 40) for k in range(3)]
    paths.append(write_text(top / "bad.mp4"))
    (top / "frames").mkdir()
    for k in range(10):
        Image.fromarray(numbered_frame(k)).save(top / "frames" / f"{k}.png")
    paths.append(top / "frames")
    return Manifest(tuple(Sample(str(path), k % 2, f"list.csv:{k}") for k, path in enumerate(paths)), ("x", "y"))


def test_a_clip_is_a_span_at_a_drawn_place(manifest: Manifest) -> None:
    clips = TrainingClips(manifest, RECIPE)
    starts = set()
    for epoch in range(12):
        batch = clips[Draw(epoch, 1)]
        assert batch.frames.shape == (1, 4, 3, 48, 48)
        assert batch.frames.dtype == torch.uint8
        assert batch.labels.tolist() == [1]
        assert batch.masks is batch.decoder_masks is None
        ((start, *others),) = numbers(batch)
        assert others == [start + 3, start + 6, start + 9]
        starts.add(start)
    assert len(starts) > 6


def test_repeats_show_the_same_frames_differently(manifest: Manifest) -> None:
    once = TrainingClips(manifest, RECIPE)[Draw(2, 0)]
    batch = TrainingClips(manifest, replace(RECIPE, repeats=3))[Draw(2, 0)]
    assert numbers(batch) == numbers(once) * 3
    assert len(set(marks(batch))) == 3
    assert marks(batch)[0] == marks(once)[0]
    assert batch.labels.tolist() == [0, 0, 0]


def test_what_is_drawn_depends_on_the_position_alone(manifest: Manifest) -> None:
    recipe = replace(RECIPE, repeats=2, draw_masks=drawn_masks)
    clips, copy = TrainingClips(manifest, recipe), pickle.loads(pickle.dumps(TrainingClips(manifest, recipe)))
    first = [clips[Draw(epoch, index)] for epoch in (0, 1) for index in (0, 1)]
    torch.manual_seed(3)
    second = [copy[Draw(epoch, index)] for epoch in (1, 0) for index in (1, 0)][::-1]
    for one, two in zip(first, second, strict=True):
        for name in ("frames", "labels", "masks", "decoder_masks"):
            assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert len({batch.frames.numpy().tobytes() for batch in first}) == 4
    other = TrainingClips(manifest, replace(recipe, seed=8))[Draw(0, 0)]
    assert not torch.equal(other.masks, first[0].masks)


def test_each_clip_has_masks_of_its_own(manifest: Manifest) -> None:
    batch = TrainingClips(manifest, replace(RECIPE, repeats=2, draw_masks=drawn_masks))[Draw(0, 0)]
    assert batch.masks.shape == batch.decoder_masks.shape == (2, 20)
    assert len({row.numpy().tobytes() for row in torch.cat([batch.masks, batch.decoder_masks])}) == 4


def test_masks_do_not_depend_on_what_the_transform_draws(manifest: Manifest) -> None:
    recipe = replace(RECIPE, draw_masks=drawn_masks)
    plain = replace(recipe, transform=lambda frames, rng: marked(frames, np.random.default_rng(0)))
    assert torch.equal(
        TrainingClips(manifest, recipe)[Draw(0, 0)].masks, TrainingClips(manifest, plain)[Draw(0, 0)].masks
    )


def test_a_folder_of_pictures_is_a_video(manifest: Manifest) -> None:
    batch = TrainingClips(manifest, RECIPE)[Draw(0, 4)]  # shorter than a span
    assert numbers(batch) == dense_indices(10, num_frames=4, stride=3)


def test_segments_show_the_whole_video(manifest: Manifest) -> None:
    clips = TrainingClips(manifest, replace(RECIPE, sampling=Sampling("segments", num_frames=4)))
    for epoch in range(5):
        assert [number // 10 for number in numbers(clips[Draw(epoch, 0)])[0]] == [0, 1, 2, 3]


def test_a_video_that_cannot_be_read_is_named(manifest: Manifest) -> None:
    batch = TrainingClips(manifest, replace(RECIPE, repeats=2))[Draw(0, 3)]
    assert batch.frames.shape == (0, 4, 3, 48, 48)
    ((path, message),) = batch.unreadable
    assert path == manifest.samples[3].path
    assert "is in no video format" in message
    assert message.endswith("(list.csv:3)")


def test_large_frames_are_refused(manifest: Manifest) -> None:
    batch = TrainingClips(manifest, replace(RECIPE, max_pixels=64 * 48 - 1))[Draw(0, 0)]
    assert "over the limit of 3071 pixels" in batch.unreadable[0][1]


def test_batches_join_in_order(manifest: Manifest) -> None:
    clips = TrainingClips(manifest, replace(RECIPE, repeats=2, draw_masks=drawn_masks))
    parts = [clips[Draw(0, index)] for index in (1, 3, 2)]
    batch = ClipBatch.join(parts)
    assert torch.equal(batch.frames, torch.cat([parts[0].frames, parts[2].frames]))
    assert batch.labels.tolist() == [1, 1, 0, 0]
    assert torch.equal(batch.masks, torch.cat([parts[0].masks, parts[2].masks]))
    assert batch.unreadable == parts[1].unreadable
    empty = ClipBatch.join([parts[1], parts[1]])
    assert len(empty.frames) == 0
    assert len(empty.unreadable) == 2


def test_no_labels_without_labels(manifest: Manifest) -> None:
    bare = Manifest(tuple(replace(sample, label=None) for sample in manifest.samples), ())
    assert TrainingClips(bare, RECIPE)[Draw(0, 0)].labels is None


def test_places_of_different_length_are_independent() -> None:
    places = [(), (0,), (0, 0), (0, 0, 0), (1,), (0, 1), (1, 0)]
    assert len({int(random_at(seed, *place).integers(2**63)) for seed in (0, 1) for place in places}) == 14
    assert random_at(2**70, 1).integers(10**9) == random_at(2**70, 1).integers(10**9)
