"""The two things that can be trained: what is shown to the model, what is asked of it, and how good it is.

Letters: B clips, T frames, C channels, H W pixels, N tokens.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.schema import Config, FinetuneConfig, MaskSection, PretrainConfig
from ..data.dataset import ClipBatch, ClipRecipe, Draw
from ..data.manifest import Manifest
from ..inference.classifier import FRAME_SAMPLING, VideoClassifier
from ..model.masking import Grid, random_mask, running_cell_mask, tube_mask
from ..model.pretrained import PretrainedModel
from ..model.videomae import VideoMAEForPreTraining, VideoMAEForVideoClassification
from ..video.augment import AugmentSettings, fine_tuning_clip, pretraining_clip
from ..video.picture_file import encode_png
from ..video.processor import IMAGENET_MEAN, IMAGENET_STD, VideoMAEImageProcessor
from ..video.randaugment import RandAugment
from ..video.sampling import Sampling
from ..weights.write import write_atomically
from .distributed import Ranks
from .evaluate import Evaluation, evaluate
from .films import training_clips
from .initial import model_config, new_classifier, new_pretraining_model
from .mixing import mix
from .reconstruction import reconstruction_picture


class PretrainTask:
    """Reconstruct what a mask hides (the paper's section 3).

    Args:
        config: the recipe.
        videos: to learn from; labels are not looked at.
        shown: videos whose reconstruction is drawn now and then.
    """

    def __init__(self, config: PretrainConfig, videos: Manifest, shown: Manifest) -> None:
        self.config = config
        size = model_config(config.model, norm_pix_loss=config.mask.target == "normalized", use_mean_pooling=False)
        torch.manual_seed(config.run.seed)
        self.model = new_pretraining_model(size, config.model.attention, config.init)
        if config.model.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()
        self.num_blocks = size.num_hidden_layers
        self.notes = [f"begins with {config.init}" if config.init else "all weights are drawn at random"]
        self.clips_per_video = config.data.repeats
        self.fingerprint = _fingerprint(videos)
        transform = PretrainTransform(config.mask.scales, config.model.image_size)
        recipe = clip_recipe(config, transform, MaskMaker(config.mask, size.grid))
        self.clips, self.shown = (training_clips(config, part, recipe) for part in (videos, shown))
        self.blank = blank(recipe)

    def loss(self, model: nn.Module, batch: ClipBatch, generator: torch.Generator) -> Tensor:
        """See `Task`: the mean squared error of the predicted patches, summed over clips."""
        assert batch.masks is not None
        pixels = normalised(batch.frames, _device_of(self.model))
        # A plain tuple: wrappers of several processes look for tensors in it.
        loss: Tensor = model(pixels, batch.masks, bool_decoder_masked_pos=batch.decoder_masks, return_dict=False)[0]
        return loss * len(batch.frames)

    def validate(self, model: PretrainedModel, ranks: Ranks, folder: Path, epoch: int) -> dict[str, float]:
        """See `Task`: draws a reconstruction of the first video that can be read, and measures nothing."""
        assert isinstance(model, VideoMAEForPreTraining)
        if ranks.is_first:
            # Always the same clip and mask, so that the pictures of a run can be compared.
            clips = (self.shown[Draw(epoch=0, index=index)] for index in range(self.shown.num_videos))
            batch = next((clip for clip in clips if len(clip.frames)), None)
            if batch is not None and batch.masks is not None:
                clip, mask = batch.frames[0], batch.masks[0]
                picture = reconstruction_picture(model, clip, mask, IMAGENET_MEAN, IMAGENET_STD)
                write_atomically(folder / f"reconstruction_{epoch:04d}.png", encode_png(picture))
        return {}


class FinetuneTask:
    """Tell classes apart.

    Args:
        config: the recipe.
        videos: to learn from, with their classes.
        validation: videos to measure on; none where it is empty.
    """

    def __init__(self, config: FinetuneConfig, videos: Manifest, validation: Manifest) -> None:
        self.config, self.validation = config, validation
        size = model_config(
            config.model,
            use_mean_pooling=True,
            head_dropout_prob=config.model.head_dropout,
            id2label=dict(enumerate(videos.labels)),
        )
        torch.manual_seed(config.run.seed)
        self.model, self.notes = new_classifier(
            size, config.model.attention, config.init, videos.labels, config.model.head_scale
        )
        if config.model.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()
        _freeze(self.model, config)
        self.num_blocks = size.num_hidden_layers
        self.num_labels = len(videos.labels)
        self.clips_per_video = config.data.repeats
        self.fingerprint = _fingerprint(videos)
        transform = FinetuneTransform(augment_settings(config), config.model.image_size)
        recipe = clip_recipe(config, transform)
        self.clips, self.blank = training_clips(config, videos, recipe), blank(recipe)

    def loss(self, model: nn.Module, batch: ClipBatch, generator: torch.Generator) -> Tensor:
        """See `Task`: the cross entropy with smoothed, mixed targets, summed over clips."""
        assert batch.labels is not None
        device = _device_of(self.model)
        pixels, labels = normalised(batch.frames, device), batch.labels.to(device, non_blocking=True)
        pixels, targets = mix(pixels, labels, self.num_labels, self.config.augment, generator)
        logits: Tensor = model(pixels, return_dict=False)[0]
        return F.cross_entropy(logits.float(), targets, reduction="sum")

    def validate(self, model: PretrainedModel, ranks: Ranks, folder: Path, epoch: int) -> dict[str, float]:
        """See `Task`: accuracies on the centre view of each video; top-1 is the score."""
        if not self.validation.samples:
            return {}
        found = self.evaluate(model, ranks, (1, 1))
        return {"top1": found.top1, "top5": found.top5, "mean_class": found.mean_class, "score": found.top1}

    def evaluate(self, model: PretrainedModel, ranks: Ranks, views: tuple[int, int]) -> Evaluation:
        """Classify the validation videos. All processes call it.

        Args:
            model: as it is now.
            ranks: the processes.
            views: temporal x spatial.
        """
        data = self.config.data
        assert isinstance(model, VideoMAEForVideoClassification)
        classifier = VideoClassifier(model, processor_of(self.config), self.validation.labels, fast=False)
        return evaluate(
            classifier,
            self.validation,
            views=views,
            stride=data.stride,
            sampling=data.sampling,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )


# ---- what both share -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PretrainTransform:
    """Frames as decoded -> a clip for pretraining; goes to the worker processes.

    Args:
        scales: of the multi-scale crop.
        size_px: of the result.
    """

    scales: Sequence[float]
    size_px: int

    def __call__(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """(T, H, W, C) uint8 -> (T, C, size, size) uint8."""
        return pretraining_clip(frames, self.scales, self.size_px, rng)


@dataclass(frozen=True)
class FinetuneTransform:
    """Frames as decoded -> a clip for fine-tuning; goes to the worker processes.

    Args:
        settings: what is varied.
        size_px: of the result.
    """

    settings: AugmentSettings
    size_px: int

    def __call__(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """(T, H, W, C) uint8 -> (T, C, size, size) uint8."""
        return fine_tuning_clip(frames, self.settings, self.size_px, IMAGENET_MEAN, IMAGENET_STD, rng)


@dataclass(frozen=True)
class MaskMaker:
    """Draws the masks of one clip; goes to the worker processes.

    Args:
        section: `mask` of the recipe.
        grid: tokens along (time, height, width).
    """

    section: MaskSection
    grid: Grid

    def __call__(self, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The encoder's mask (N,) and the decoder's, if it has one."""
        draw = tube_mask if self.section.kind == "tube" else random_mask
        mask = draw(self.grid, self.section.ratio, generator)
        ratio = self.section.decoder_ratio
        return mask, running_cell_mask(self.grid, generator, ratio) if ratio else None


def clip_recipe(
    config: Config, transform: PretrainTransform | FinetuneTransform, draw_masks: MaskMaker | None = None
) -> ClipRecipe:
    """How clips of a run are made.

    Args:
        config: the recipe.
        transform: of the frames.
        draw_masks: what hides tokens.
    """
    data = config.data
    return ClipRecipe(
        sampling=Sampling(data.sampling, num_frames=config.model.num_frames, stride=data.stride),
        size_px=config.model.image_size,
        seed=config.run.seed,
        transform=transform,
        draw_masks=draw_masks,
        repeats=data.repeats,
        max_pixels=data.max_pixels,
    )


def blank(recipe: ClipRecipe) -> ClipBatch:
    """One black clip, labelled and masked as others are.

    Args:
        recipe: of the others.
    """
    mask, decoder_mask = recipe.draw_masks(torch.Generator()) if recipe.draw_masks else (None, None)
    return ClipBatch(
        frames=torch.zeros((1, recipe.sampling.num_frames, 3, recipe.size_px, recipe.size_px), dtype=torch.uint8),
        labels=torch.zeros(1, dtype=torch.int64),
        masks=None if mask is None else mask[None],
        decoder_masks=None if decoder_mask is None else decoder_mask[None],
    )


def augment_settings(config: FinetuneConfig) -> AugmentSettings:
    """How clips of a recipe are varied.

    Args:
        config: the recipe.
    """
    augment = config.augment
    operations = None if augment.rand_augment is None else RandAugment.parse(augment.rand_augment)
    return AugmentSettings(augment.area, augment.aspect, augment.flip, operations, augment.erasing)


def normalised(frames: Tensor, device: torch.device) -> Tensor:
    """Levels -> what the model takes, on its device.

    Args:
        frames: (B, T, C, H, W) uint8, pinned where that helps.
        device: where to.

    Returns:
        (B, T, C, H, W) float32.
    """
    mean, std = _statistics(device)
    return frames.to(device, non_blocking=True).float().div_(255).sub_(mean).div_(std)


@functools.cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation (C, 1, 1), copied to the device once: the host waits for such a copy."""
    mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std


def processor_of(config: Config) -> VideoMAEImageProcessor:
    """What prepares videos for a model of this recipe, and tells which frames to look at.

    Args:
        config: the recipe.
    """
    size_px = config.model.image_size
    processor = VideoMAEImageProcessor(
        size={"shortest_edge": size_px},
        crop_size={"height": size_px, "width": size_px},
        image_mean=IMAGENET_MEAN,
        image_std=IMAGENET_STD,
    )
    processor.extra[FRAME_SAMPLING] = {"kind": config.data.sampling, "stride": config.data.stride}
    return processor


def _freeze(model: nn.Module, config: FinetuneConfig) -> None:
    """Take the gradient from what is not trained."""
    for name, parameter in model.named_parameters():
        if config.linear_probe:
            parameter.requires_grad_(not name.startswith("videomae."))
        elif config.frozen_blocks:
            frozen = ("videomae.embeddings.", *(f"videomae.blocks.{k}." for k in range(config.frozen_blocks)))
            parameter.requires_grad_(not name.startswith(frozen))


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _fingerprint(videos: Manifest) -> str:
    lines = [f"{sample.path}\t{sample.label}" for sample in videos.samples]
    return hashlib.sha256("\n".join([*videos.labels, *lines]).encode("utf-8", "surrogateescape")).hexdigest()
