"""What is timed: a forward pass as a library call, the same as `classify` runs it, and a training step.

Letters: B batch, T frames, C channels, H W pixels, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..inference.classifier import VideoClassifier
from ..model.videomae import VideoMAEForVideoClassification
from ..video.processor import VideoMAEImageProcessor

Pass = Callable[[], Tensor]
"""One forward pass or training step; gives the logits."""


def forward_pass(model: Callable[..., Any], clips: Tensor) -> Pass:
    """One forward pass in inference mode.

    Args:
        model: VideoMAEForVideoClassification, or what `torch.compile` made of it.
        clips: (B, T, C, H, W), on the model's device and in its dtype.
    """

    def call() -> Tensor:
        with torch.inference_mode():
            output = model(clips, output_attentions=False, output_hidden_states=False, return_dict=True)
        return output.logits  # type: ignore[no-any-return]

    return call


def classify_pass(model: VideoMAEForVideoClassification, clips: Tensor) -> Pass:
    """One forward pass as `classify` runs it by default: on a CPU by `inference/cpu.py`, elsewhere with sdpa.

    Args:
        model: on its device, in its dtype, with sdpa.
        clips: (B, T, C, H, W), likewise.
    """
    classifier = VideoClassifier(model, VideoMAEImageProcessor(), list(model.config.id2label.values()), fast=True)
    return lambda: classifier.logits(clips)


def training_step(
    model: Callable[..., Any],
    optimizer: torch.optim.Optimizer,
    clips: Tensor,
    targets: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> Pass:
    """One step: forward, backward, optimizer.

    Args:
        model: in training mode, float32.
        optimizer: of its weights.
        clips: (B, T, C, H, W) float32, on the model's device.
        targets: further arguments of the model, which make it give a loss.
        dtype: float32, or what to compute in under autocast.
    """

    def call() -> Tensor:
        with torch.autocast(clips.device.type, dtype, enabled=dtype != torch.float32):
            output = model(clips, **targets, output_attentions=False, output_hidden_states=False, return_dict=True)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return output.logits.detach()  # type: ignore[no-any-return]

    return call


def idle_optimizer(model: torch.nn.Module) -> torch.optim.AdamW:
    """AdamW that does all of its work and changes nothing, so that every contestant trains the same weights.

    Args:
        model: on its device.

    Returns:
        The optimizer, its moments allocated.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return optimizer
