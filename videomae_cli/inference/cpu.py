"""The fast forward pass on CPUs: the arithmetic of `model/videomae.py`, in the order that a CPU likes.

What makes it faster than the model itself, on two AVX-512 cores:

- Linear layers run in oneDNN on weights in its own layout. torch sends float32 ones to MKL, which on AMD computes at
  45 % (Zen 5) to 85 % (Zen 4) of oneDNN's rate. GELU and the residual sums are fused into the product.
- Attention goes one head at a time through the same products, in blocks of scores that stay in the caches. The
  fused kernel of torch needs 1.0 (float32, Zen 4) to 1.7 times as long.
- The exponential of the softmax is fused into the product too (see `attend`), and its sum divides the result.
- The last MLP's second layer is linear, and only the mean of the tokens is wanted of it: it gets the mean, which saves
  2 % of all products. What follows is one vector a clip, computed in float32 whatever the model's type.

Letters: B batch, T frames, C channels, H W pixels, N tokens, D width, h heads, d width of a head.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.layers import Block
from ..model.targets import patchify
from ..model.videomae import VideoMAEForVideoClassification

_FUSED_ACTIVATIONS = {"gelu": ("gelu", "none"), "gelu_new": ("gelu", "tanh"), "relu": ("relu", "none")}
_TOKENS_AT_ONCE = 3136  # two clips of the usual size; more gain nothing and leave the caches
_ROWS_PER_THREAD = 392  # of scores at once: 392 x 1568 of them are written and read three times, best in the caches
_MAX_SCORE = 45.0  # then terms below e^-25 of a row's largest are lost, 45 + 17 + 25 being the 87 that float32 reaches


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


def _product(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: tuple[str, str] = ("none", "")
) -> Tensor:
    """activation(x weight^T + bias): (..., K), (M, K), (M,) -> (..., M)."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation[0], [], activation[1])
    return y


class _Linear:
    """A linear layer whose weight is laid out for oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: tuple[str, str] = ("none", "")) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _TOKENS_AT_ONCE)
        self.bias = None if bias is None else bias.detach()
        self.activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        return _product(x, self.weight, self.bias, self.activation)

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
        context = torch.stack([attend(qkv, self.num_heads) for qkv in self.qkv(self.norm1(x))])  # (B, N, D)
        x = self.output.plus(context, x)
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
        num_clips = max(1, _TOKENS_AT_ONCE // self.embeddings.num_tokens(pixel_values))
        with torch.inference_mode():
            return torch.cat([self._logits(clips) for clips in torch.split(pixel_values, num_clips)])

    def _logits(self, pixel_values: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, num_labels)."""
        patches = patchify(pixel_values, self.embeddings.patch_shape).flatten(2).to(self.dtype)
        positions = self.embeddings.positions(patches.shape[1]).to(self.dtype)  # (N, D)
        x, hidden = self.blocks[0](self.projection(patches) + positions)
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            x, hidden = block(down.plus(hidden, x))
        features = self._pooled(x) + self.last_down(self._pooled(hidden))  # (B, D)
        logits: Tensor = self.classifier(self.norm(features))
        return logits

    def _pooled(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, D): what the head looks at."""
        return tokens.mean(dim=1, dtype=torch.float32) if self.pools_mean else tokens[:, 0].float()


def attend(qkv: Tensor, num_heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of one clip.

    oneDNN cannot fuse an exponential into a product, but a sigmoid: sigmoid(s - c) = e^(s - c) / (1 + e^(s - c)), which
    to the precision of a float32 is e^(s - c) once s - c <= -17. A softmax is the same of s - c for any c, and of keys
    from which their mean is subtracted. By Cauchy-Schwarz no score of such keys exceeds b, the longest query times the
    longest key, and each row's largest is at least 0, the mean of the row. So c = b + 17 is right where e^(-b - 17) is
    far from the smallest float; heads with sharper attention than that are left to torch.

    Args:
        qkv: (N, 3 D), float32 or bfloat16.
        num_heads: h.

    Returns:
        (N, D).
    """
    N = len(qkv)
    q, k, v = qkv.view(N, 3, num_heads, -1).permute(1, 2, 0, 3).contiguous()  # (N, 3, h, d) -> (h, N, d) each
    q *= q.shape[-1] ** -0.5
    keys = k - k.mean(dim=1, keepdim=True)
    bounds = (_longest(q) * _longest(keys)).tolist()  # (h,)
    context = torch.empty(N, num_heads, q.shape[-1], dtype=qkv.dtype)
    num_rows = _ROWS_PER_THREAD * torch.get_num_threads()
    for head, bound in enumerate(bounds):
        if not bound <= _MAX_SCORE:  # also where it is not a number
            context[:, head] = F.scaled_dot_product_attention(q[None, head], k[None, head], v[None, head], scale=1.0)
            continue
        shift = qkv.new_full((N,), -bound - 17)
        parts = zip(torch.split(q[head], num_rows), torch.split(context[:, head], num_rows), strict=True)
        for queries, out in parts:
            powers = _product(queries, keys[head], shift, ("sigmoid", "none"))  # (rows, N)
            torch.div(_product(powers, v[head].t()), powers.sum(dim=1, keepdim=True), out=out)  # (rows, d)
    return context.flatten(1)


def _longest(vectors: Tensor) -> Tensor:
    """(h, N, d) -> (h,): the largest length."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=2, dtype=torch.float32)  # (h, N)
    return lengths.amax(dim=1)
