"""Pairs of models to compare: one of transformers with random weights, and ours with the same."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

from videomae_cli.model import videomae
from videomae_cli.model.config import VideoMAEConfig
from videomae_cli.model.masking import random_mask
from videomae_cli.weights.keymaps import to_hf, to_ours

SMALL: dict[str, Any] = {  # 2 x 2 x 2 tokens
    "image_size": 32,
    "num_frames": 4,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "decoder_hidden_size": 20,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 28,
    "initializer_range": 0.2,  # attention that is far from uniform
}


def randomize(model: nn.Module) -> None:
    """Move biases, norms and the mask token off their constant initial values."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or name == "mask_token":
                parameter.add_(torch.randn_like(parameter) * 0.2)


def small_model(class_name: str, *, seed: int = 0, **options: Any) -> Any:
    """One of our models, small, in evaluation mode."""
    torch.manual_seed(seed)
    model = getattr(videomae, class_name)(VideoMAEConfig(**{**SMALL, **options}))
    randomize(model)
    return model.eval()


def pair(class_name: str, *, seed: int = 0, **options: Any) -> tuple[Any, Any]:
    """(theirs, ours): the same weights, eager attention, evaluation mode."""
    torch.manual_seed(seed)
    theirs = getattr(transformers, class_name)(transformers.VideoMAEConfig(**options))
    theirs.set_attn_implementation("eager")
    randomize(theirs)
    with torch.device("meta"):
        config = VideoMAEConfig.from_dict(theirs.config.to_dict())
        ours = getattr(videomae, class_name)(config, attn_implementation="eager")
    copies = {name: tensor.clone() for name, tensor in to_ours(theirs.state_dict()).items()}
    ours.load_state_dict(copies, assign=True)
    return theirs.eval(), ours.eval()


def pixels(config: VideoMAEConfig, batch_size: int = 2, seed: int = 1) -> Tensor:
    """Random clips of the configuration's shape, (B, T, C, H, W) float32."""
    _, height, width = config.patch_shape
    _, rows, columns = config.grid
    shape = (batch_size, config.num_frames, config.num_channels, rows * height, columns * width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def masks(config: VideoMAEConfig, batch_size: int = 2, ratio: float = 0.6, seed: int = 2) -> Tensor:
    """A different random mask for each clip, (B, N) bool."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([random_mask(config.grid, ratio, generator) for _ in range(batch_size)])


def gradients(model: Any) -> dict[str, Tensor]:
    """The gradient of every parameter by its name in transformers 5, whichever library the model is of."""
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    if isinstance(model.config, VideoMAEConfig):
        found = to_hf(found, (model.config.num_channels, *model.config.patch_shape))
    renamed = {"q_bias": "query.bias", "v_bias": "value.bias"}
    for old, new in renamed.items():
        found = {name.replace(old, new): gradient for name, gradient in found.items()}
    return found


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """max |found - wanted| / max |wanted|; infinite when the shapes differ."""
    if found.shape != wanted.shape:
        return float("inf")
    return float((found - wanted).detach().abs().max() / wanted.detach().abs().max())
