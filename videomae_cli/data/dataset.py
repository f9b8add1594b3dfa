"""Clips for training: one video in, a few differently augmented clips of it out.

What is drawn for a clip depends on the seed, the epoch, the video and the number of the repeat, on nothing else: not on
the process that draws, nor on what was drawn before.

Letters: B clips, T frames, C channels, H W pixels, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import VideoError
from ..video.container import DEFAULT_MAX_PIXELS
from ..video.pictures import open_video
from ..video.sampling import Sampling
from .manifest import Manifest

Masks = tuple[Tensor, Tensor | None]  # (N,) bool each: what the encoder does not see, what is not decoded


@dataclass(frozen=True)
class Draw:
    """Which clips: those of one video in one epoch.

    Args:
        epoch: from 0.
        index: of the video among the samples of its manifest.
    """

    epoch: int
    index: int


@dataclass
class ClipBatch:
    """Clips of some videos, those of one video side by side.

    Args:
        frames: uint8 (B, T, C, H, W). B may be 0: then no video could be read.
        labels: int64 (B,); None where the videos have none.
        masks: bool (B, N), True = masked; None where no masks are drawn, or B is 0.
        decoder_masks: likewise, True = not decoded.
        unreadable: path and message of each video that could not be read.
    """

    frames: Tensor
    labels: Tensor | None = None
    masks: Tensor | None = None
    decoder_masks: Tensor | None = None
    unreadable: tuple[tuple[str, str], ...] = ()

    @classmethod
    def join(cls, batches: Sequence[ClipBatch]) -> ClipBatch:
        """One batch of all clips, in order.

        Args:
            batches: at least one, of clips of one shape.
        """
        return cls(
            frames=torch.cat([batch.frames for batch in batches]),
            labels=_joined([batch.labels for batch in batches]),
            masks=_joined([batch.masks for batch in batches]),
            decoder_masks=_joined([batch.decoder_masks for batch in batches]),
            unreadable=tuple(failure for batch in batches for failure in batch.unreadable),
        )

    def pin_memory(self) -> ClipBatch:
        """The same in memory that a GPU copies from by itself; torch's loader calls it."""

        def pinned(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.pin_memory()

        frames, masks = self.frames.pin_memory(), pinned(self.masks)
        return ClipBatch(frames, pinned(self.labels), masks, pinned(self.decoder_masks), self.unreadable)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None


@dataclass(frozen=True)
class ClipRecipe:
    """How clips are made.

    Args:
        sampling: how frames are chosen; their place is drawn.
        size_px: height and width of a clip.
        seed: of everything that is drawn, at least 0.
        transform: frames uint8 (T, H, W, C) as read, which it must not change -> clip uint8 (T, C, size, size).
        draw_masks: what hides tokens of a clip; None hides nothing.
        repeats: clips of one video, all of the same frames.
        max_pixels: frames of more are refused.
    """

    sampling: Sampling
    size_px: int
    seed: int
    transform: Callable[[Tensor, np.random.Generator], Tensor]
    draw_masks: Callable[[torch.Generator], Masks] | None = None
    repeats: int = 1
    max_pixels: int = DEFAULT_MAX_PIXELS


class TrainingClips(Dataset[ClipBatch]):
    """Clips by `Draw`; goes to worker processes, so it pickles if `transform` and `draw_masks` do.

    Args:
        manifest: the videos.
        recipe: how clips are made.
    """

    def __init__(self, manifest: Manifest, recipe: ClipRecipe) -> None:
        self._samples = manifest.samples
        self._recipe = recipe

    @property
    def num_videos(self) -> int:
        """How many videos there are to draw from."""
        return len(self._samples)

    @property
    def num_bytes_per_video(self) -> int:
        """What the clips of one video take up."""
        recipe = self._recipe
        return recipe.repeats * recipe.sampling.num_frames * 3 * recipe.size_px**2

    def __getitem__(self, draw: Draw) -> ClipBatch:
        """The clips of one video; one that cannot be read is named in their place."""
        sample, recipe = self._samples[draw.index], self._recipe
        rng = random_at(recipe.seed, draw.epoch, draw.index)
        try:
            with open_video(sample.path, max_pixels=recipe.max_pixels, num_threads=1) as video:
                indices = recipe.sampling.training_indices(video.info.num_frames, rng)
                frames = torch.from_numpy(video.read(indices).frames)  # (T, H, W, C)
        except VideoError as error:
            empty = torch.empty((0, recipe.sampling.num_frames, 3, recipe.size_px, recipe.size_px), dtype=torch.uint8)
            return ClipBatch(empty, unreadable=((sample.path, f"{error.message} ({sample.source})"),))
        return ClipBatch.join([self._clip(frames, sample.label, draw, repeat) for repeat in range(recipe.repeats)])

    def _clip(self, frames: Tensor, label: int | None, draw: Draw, repeat: int) -> ClipBatch:
        recipe = self._recipe
        rng = random_at(recipe.seed, draw.epoch, draw.index, repeat)
        mask_seed = int(rng.integers(2**63))  # first, so that masks do not depend on what `transform` draws
        clip = recipe.transform(frames, rng)  # (T, C, H, W)
        mask, decoder_mask = None, None
        if recipe.draw_masks:
            mask, decoder_mask = recipe.draw_masks(torch.Generator().manual_seed(mask_seed))
        return ClipBatch(
            frames=clip[None],
            labels=None if label is None else torch.tensor([label]),
            masks=None if mask is None else mask[None],
            decoder_masks=None if decoder_mask is None else decoder_mask[None],
        )


def random_at(seed: int, *place: int) -> np.random.Generator:
    """A source of randomness that is a function of its arguments.

    Args:
        seed: of the run, at least 0.
        place: in it, such as (epoch, video, repeat); places of different length are independent too.
    """
    # Not [seed, *place], which numpy pads with zeros: (seed, 3) would be (seed, 3, 0).
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))
