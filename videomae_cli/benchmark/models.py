"""The models to measure: an architecture with random weights, or a checkpoint; and inputs of their shape.

Letters: B batch, T frames, C channels, H W pixels, N tokens.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor

from ..model.config import PRESETS, VideoMAEConfig
from ..model.masking import tube_mask
from ..model.videomae import VideoMAEForPreTraining, VideoMAEForVideoClassification
from .flops import classification_flops, pretraining_flops
from .records import Task

NUM_LABELS = 400  # Kinetics-400
MASK_RATIO = 0.9  # of pretraining, as published

Model = VideoMAEForVideoClassification | VideoMAEForPreTraining
_Model = TypeVar("_Model", bound=Model)


def is_architecture(name: str) -> bool:
    """Whether a model's name means an architecture rather than a checkpoint."""
    return name in PRESETS


def load_model(name: str, task: Task = "finetune", *, revision: str | None = None, offline: bool = False) -> Model:
    """The model that `name` means, float32, on the CPU.

    Args:
        name: "small", "base", "large" or "huge" for random weights; otherwise a checkpoint.
        task: "pretrain" for the masked autoencoder, else the classifier.
        revision: branch, tag or commit of a hub id.
        offline: use what is cached and make no request.

    Raises:
        ModelError: the checkpoint cannot be found, fetched or loaded.
    """
    kind = VideoMAEForPreTraining if task == "pretrain" else VideoMAEForVideoClassification
    if not is_architecture(name):
        return kind.from_pretrained(name, revision=revision, offline=offline)
    config = VideoMAEConfig.preset(name)
    config.num_labels = NUM_LABELS
    return random_model(kind, config)


def random_model(kind: type[_Model], config: VideoMAEConfig) -> _Model:
    """A model with random weights, the same each time, that depends on its attention.

    Args:
        kind: its class.
        config: its sizes; `initializer_range` is replaced.
    """
    config = copy.deepcopy(config)
    # With the usual 0.02 attention would be almost uniform, and a kernel that computes it wrongly would hardly show in
    # the logits: a scale that is wrong by 10% moved those of "small" by 0.0006, and moves them by 0.05 with this, which
    # gives scores a deviation of 1.5.
    config.initializer_range = 1.4 * config.hidden_size**-0.5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(config)
    model.eval()
    return model


def with_attention(model: _Model, attention: str) -> _Model:
    """The same model on the same weights, with another attention backend.

    Args:
        model: left as it is.
        attention: "eager" or "sdpa".
    """
    shared: dict[int, object] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    twin.set_attn_implementation(attention)
    return twin


def random_clips(config: VideoMAEConfig, batch_size: int) -> Tensor:
    """Normalised pixels that are noise, the same each time, (B, T, C, H, W) float32 on the CPU.

    Args:
        config: of the model.
        batch_size: B.
    """
    (_, height, width), (_, rows, columns) = config.patch_shape, config.grid
    shape = (batch_size, config.num_frames, config.num_channels, rows * height, columns * width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def training_targets(model: Model, batch_size: int) -> dict[str, Tensor]:
    """What a training step is given beside the clips: tube masks (pretraining), or class indices.

    Args:
        model: what is trained.
        batch_size: B.

    Returns:
        Arguments of the model: (B, N) bool on the CPU, or (B,) int64 on the model's device.
    """
    if isinstance(model, VideoMAEForVideoClassification):
        return {"labels": torch.zeros(batch_size, dtype=torch.long, device=model.device)}
    generator = torch.Generator().manual_seed(2)
    masks = [tube_mask(model.config.grid, MASK_RATIO, generator) for _ in range(batch_size)]
    return {"bool_masked_pos": torch.stack(masks)}


def clip_flops(model: Model, *, training: bool) -> int:
    """Operations on one clip; see `flops.py`.

    Args:
        model: classifier or autoencoder.
        training: forward and backward pass, rather than forward alone.
    """
    if isinstance(model, VideoMAEForVideoClassification):
        return classification_flops(model.config, training=training)
    num_masked = int(training_targets(model, 1)["bool_masked_pos"].sum())
    return pretraining_flops(model.config, model.config.num_tokens - num_masked, training=training)
