"""The fast forward pass on CPUs: the arithmetic of `model/videomae.py`, in the order that a CPU likes.

What makes it faster than the model itself, on two AVX-512 cores:

- Linear layers run in oneDNN on weights in its own layout. torch sends float32 ones to MKL, which on AMD computes at
  45 % (Zen 5) to 85 % (Zen 4) of oneDNN's rate. GELU and the residual sums are fused into the product.
- Attention is that of `model/kernels.py`, which is made of the same products.
- The last MLP's second layer is linear, and only the mean of the tokens is wanted of it: it gets the mean, which saves
  2 % of all products. What follows is one vector a clip, computed in float32 whatever the model's type.

The logits of a clip are the same to the last bit whichever clips share its pass.

Letters: B batch, T frames, C channels, H W pixels, N tokens, D width, h heads, d width of a head.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from ..model.kernels import self_attention
from ..model.layers import Block
from ..model.targets import patchify
from ..model.videomae import VideoMAEForVideoClassification

_FUSED_ACTIVATIONS = {"gelu": ("gelu", "none"), "gelu_new": ("gelu", "tanh"), "relu": ("relu", "none")}
TOKENS_AT_ONCE = 3136  # two clips of the usual size; more gain nothing and leave the caches


def fast_forward(model: VideoMAEForVideoClassification) -> Callable[[Tensor], Tensor] | None:
    """The fast forward pass of a model, if there is one for it on this machine.

    It copies most of the weights: after a change of the model's weights, make a new one.

    Args:
        model: in evaluation mode.

    Returns:
        Pixel values (B, T, C, H, W) -> logits (B, num_labels) in float32. None where the model is not on a CPU, where
        this torch or this CPU lacks oneDNN's products in the model's type, or where it has an activation of its own.
    """
    if model.device.type != "cpu" or not _has_products(model.dtype):
        return None
    if model.config.hidden_act not in _FUSED_ACTIVATIONS:
        return None
    return _FastForward(model)


def _has_products(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes in this type here, and as fast as it is meant to: with AVX2 or AVX-512."""
    operators = torch.ops.mkldnn  # those that torch.compile lowers to
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False
    if not hasattr(operators, "_linear_pointwise") or not hasattr(operators, "_reorder_linear_weight"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and operators._is_mkldnn_bf16_supported())


class _Linear:
    """A linear layer whose weight is laid out for oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: tuple[str, str] = ("none", "")) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), TOKENS_AT_ONCE)
        self.bias = None if bias is None else bias.detach()
        self.activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        activation, form = self.activation
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, activation, [], form)
        return y

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """The layer's output and a residual of its shape, added while it is being written."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        return y


class _FastBlock:
    """A block of the encoder, without the second half of its MLP (`_FastForward` knows how much of it is wanted)."""

    def __init__(self, block: Block, activation: tuple[str, str]) -> None:
        attention = block.attention
        bias = None
        if attention.q_bias is not None and attention.v_bias is not None:
            bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.num_heads = attention.num_heads
        self.qkv = _Linear(attention.qkv.weight, bias)
        self.output = _Linear(attention.output.weight, attention.output.bias)
        self.up = _Linear(block.mlp.up.weight, block.mlp.up.bias, activation)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D) -> the residual stream (B, N, D) and the hidden layer of the MLP (B, N, hidden width)."""
        qkv = self.qkv(self.norm1(x)).view(*x.shape[:2], 3, self.num_heads, -1)  # (B, N, 3 D) -> (B, N, 3, h, d)
        x = self.output.plus(self_attention(qkv).flatten(2), x)
        return x, self.up(self.norm2(x))


class _FastForward:
    """See `fast_forward`."""

    def __init__(self, model: VideoMAEForVideoClassification) -> None:
        encoder = model.videomae
        blocks = [cast(Block, block) for block in encoder.blocks]
        activation = _FUSED_ACTIVATIONS[cast(str, model.config.hidden_act)]
        norm = cast(nn.LayerNorm, model.fc_norm or encoder.norm)
        with torch.inference_mode():
            self.embeddings = encoder.embeddings
            self.projection = _Linear(encoder.embeddings.projection.weight, encoder.embeddings.projection.bias)
            self.blocks = [_FastBlock(block, activation) for block in blocks]
            self.downs = [_Linear(block.mlp.down.weight, block.mlp.down.bias) for block in blocks[:-1]]
            self.last_down = copy.deepcopy(blocks[-1].mlp.down).float()
            self.norm = copy.deepcopy(norm).float()
            self.classifier = copy.deepcopy(model.classifier).float()
        self.pools_mean = model.fc_norm is not None
        self.dtype = model.dtype

    def __call__(self, pixel_values: Tensor) -> Tensor:
        num_clips = max(1, TOKENS_AT_ONCE // self.embeddings.num_tokens(pixel_values))
        with torch.inference_mode():
            return torch.cat([self._logits(clips) for clips in torch.split(pixel_values, num_clips)])

    def _logits(self, pixel_values: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, num_labels)."""
        patches = patchify(pixel_values, self.embeddings.patch_shape).flatten(2).to(self.dtype)
        positions = self.embeddings.positions(patches.shape[1]).to(self.dtype)  # (N, D)
        x, hidden = self.blocks[0](self.projection(patches) + positions)
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            x, hidden = block(down.plus(hidden, x))
        tokens, hidden = self._pooled(x), self._pooled(hidden)  # (B, D) and (B, hidden width)
        # Clip by clip: products of few rows are added up in an order that depends on how many there are.
        return torch.cat([self._head(*one) for one in zip(torch.split(tokens, 1), torch.split(hidden, 1), strict=True)])

    def _head(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """(1, D) and (1, hidden width) of one clip -> (1, num_labels)."""
        logits: Tensor = self.classifier(self.norm(tokens + self.last_down(hidden)))
        return logits

    def _pooled(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, D): what the head looks at."""
        return tokens.mean(dim=1, dtype=torch.float32) if self.pools_mean else tokens[:, 0].float()
