"""AdamW as the recipes have it: which weight learns how fast, by layer, and how the rate changes, by step."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ..config.schema import OptimSection

LR_BATCH_SIZE = 256  # videos in a step that the learning rates of recipes are for


def peak_lr(optim: OptimSection) -> float:
    """The highest learning rate of a run: the recipe's, scaled to the batch (V1 run_class_finetuning.py).

    Args:
        optim: of the configuration; the batch counts videos, whatever is repeated of them.
    """
    return optim.lr * optim.batch_size / LR_BATCH_SIZE


def lr_at(step: int, *, peak: float, lowest: float, num_warmup_steps: int, num_steps: int) -> float:
    """The learning rate of one step: up in a line, then down along half a cosine.

    Args:
        step: from 0.
        peak: reached at step `num_warmup_steps`.
        lowest: approached at the end.
        num_warmup_steps: before the peak; the first of them is not 0 but 1 / (n + 1) of the peak.
        num_steps: of the whole run.
    """
    if step < num_warmup_steps:
        return peak * (step + 1) / (num_warmup_steps + 1)
    progress = (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def layer_of(name: str, num_blocks: int) -> int:
    """The depth of a weight: 0 for the patch embedding, i + 1 for block i of the encoder, L + 1 for what follows.

    Args:
        name: of a parameter of one of our models.
        num_blocks: L.
    """
    if name.startswith("videomae.embeddings."):
        return 0
    match = re.match(r"videomae\.blocks\.(\d+)\.", name)
    return int(match[1]) + 1 if match else num_blocks + 1


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], *, num_blocks: int, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Parameters by the scale of their rate and by whether they decay (BEiT's layer-wise decay, as V1 uses it).

    Args:
        parameters: names and weights; those that need no gradient are left out.
        num_blocks: L, of the encoder.
        weight_decay: of matrices. Biases, norms and the mask token have none.
        layer_decay: the scale of layer i is layer_decay^(L + 1 - i).

    Returns:
        Groups for torch.optim, each with "lr_scale" and, for the reader, "layer" and "names".
    """
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in parameters:
        if not parameter.requires_grad:
            continue
        layer = layer_of(name, num_blocks)
        decays = parameter.ndim > 1 and name != "mask_token"
        group = groups.setdefault(
            (layer, decays),
            {
                "params": [],
                "names": [],
                "layer": layer,
                "lr_scale": layer_decay ** (num_blocks + 1 - layer),
                "weight_decay": weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def build_optimizer(model: nn.Module, optim: OptimSection, num_blocks: int) -> torch.optim.AdamW:
    """AdamW over a model's trainable weights.

    Args:
        model: one of ours.
        optim: of the configuration.
        num_blocks: of its encoder.
    """
    groups = parameter_groups(
        model.named_parameters(),
        num_blocks=num_blocks,
        weight_decay=optim.weight_decay,
        layer_decay=optim.layer_decay,
    )
    return torch.optim.AdamW(groups, lr=0.0, betas=optim.betas, eps=optim.eps)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give each group its share of a learning rate.

    Args:
        optimizer: with an "lr_scale" in each group.
        lr: of the topmost layer.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
