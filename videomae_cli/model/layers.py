"""The parts of the network: patch embedding, attention, MLP, block, the stack of blocks, and the decoder around one.

Letters: B batch, T frames, C channels, H W pixels, N tokens, V visible, M masked, D width, h heads, d width of a head,
L blocks, P numbers of one patch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..errors import UsageError
from .attention import attention, check_implementation
from .config import VideoMAEConfig
from .kernels import Linear, linear
from .masking import select
from .positions import Positions
from .targets import patchify

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "selu": F.selu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
}


class Sizes(NamedTuple):
    """What the encoder's blocks and the decoder's differ in."""

    depth: int  # L
    width: int  # D
    num_heads: int  # h
    hidden_width: int  # of the MLPs


class Embeddings(nn.Module):
    """Video to tokens: cut into patches, drop the masked, project, add positions.

    A linear map of flattened patches equals the Conv3d of V1 and HF (its stride is its kernel), runs on every device,
    and lets masked patches be dropped before it.

    Args:
        config: sizes.
    """

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        self.num_channels = config.num_channels
        self.patch_shape = config.patch_shape
        self.projection = Linear(config.num_pixels_per_patch, config.hidden_size)
        self.positions = Positions(config.num_tokens, config.hidden_size)

    def num_tokens(self, pixel_values: Tensor) -> int:
        """N of a batch of clips, of which T, H and W need not be those of the configuration.

        Args:
            pixel_values: (B, T, C, H, W), floating point.

        Raises:
            UsageError: clips that cannot be cut into patches.
        """
        if pixel_values.ndim != 5 or not pixel_values.is_floating_point():
            found = f"{pixel_values.dtype} of shape {tuple(pixel_values.shape)}"
            raise UsageError(f"pixel_values are {found}", "They are floats (batch, frames, channels, height, width).")
        _, T, C, H, W = pixel_values.shape
        if self.num_channels != C:
            hint = "The order is (batch, frames, channels, height, width)."
            raise UsageError(f"pixel_values have {C} channels, the model {self.num_channels}", hint)
        t, p, q = self.patch_shape
        if T % t or H % p or W % q or not T * H * W:
            raise UsageError(f"{T} frames of {H} x {W} pixels do not divide into patches of {t} frames of {p} x {q}")
        return (T // t) * (H // p) * (W // q)

    def forward(self, pixel_values: Tensor, visible: Tensor | None = None) -> Tensor:
        """Embed the visible patches.

        Args:
            pixel_values: (B, T, C, H, W).
            visible: (B, V) indices of the tokens to embed; None for all.

        Returns:
            (B, V, D).
        """
        patches = patchify(pixel_values, self.patch_shape)  # (B, N, C, t*p*q)
        positions: Tensor = self.positions(patches.shape[1])  # (N, D)
        if visible is not None:
            patches, positions = select(patches, visible), positions[visible]
        # Processors give float32 whatever the model computes in.
        x: Tensor = self.projection(patches.flatten(2).to(self.projection.weight.dtype))  # (B, V, D)
        return x + positions.to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with one projection for q, k, v: biases on q and v, never on k.

    Args:
        sizes: width and heads.
        config: dropout and bias.
        implementation: "sdpa" or "eager".
    """

    def __init__(self, sizes: Sizes, config: VideoMAEConfig, implementation: str) -> None:
        super().__init__()
        width = sizes.width
        self.num_heads = sizes.num_heads
        self.dropout = config.attention_probs_dropout_prob
        self.implementation = implementation
        self.qkv = Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width)) if config.qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if config.qkv_bias else None
        self.output = Linear(width, width)

    def forward(
        self, x: Tensor, head_mask: Tensor | None = None, need_probabilities: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            x: (B, N, D).
            head_mask: (h,), see `attention`.
            need_probabilities: return them too.

        Returns:
            (B, N, D), and the probabilities (B, h, N, N) or None.
        """
        B, N, _ = x.shape
        bias = None
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = linear(x, self.qkv.weight, bias).view(B, N, 3, self.num_heads, -1)  # (B, N, 3D) -> (B, N, 3, h, d)
        context, probabilities = attention(
            qkv,
            self.implementation,
            dropout=self.dropout if self.training else 0.0,
            head_mask=head_mask,
            need_probabilities=need_probabilities,
        )
        return self.output(context.flatten(2)), probabilities  # (B, N, h, d) -> (B, N, D)


class MLP(nn.Module):
    """Widen, bend, narrow.

    Args:
        sizes: widths.
        config: activation.
    """

    def __init__(self, sizes: Sizes, config: VideoMAEConfig) -> None:
        super().__init__()
        act = config.hidden_act
        self.up = Linear(sizes.width, sizes.hidden_width)
        self.activation: Callable[[Tensor], Any] = _ACTIVATIONS[act] if isinstance(act, str) else act
        self.down = Linear(sizes.hidden_width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D).

        Args:
            x: (B, N, D).
        """
        y: Tensor = self.down(self.activation(self.up(x)))
        return y


class Block(nn.Module):
    """A pre-norm transformer block.

    Args:
        sizes: of the block.
        config: everything else.
        implementation: of attention.
        drop_path: probability that a clip skips a branch, in training.
    """

    def __init__(self, sizes: Sizes, config: VideoMAEConfig, implementation: str, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width, eps=config.layer_norm_eps)
        self.attention = Attention(sizes, config, implementation)
        self.norm2 = nn.LayerNorm(sizes.width, eps=config.layer_norm_eps)
        self.mlp = MLP(sizes, config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.drop_path = drop_path

    def forward(
        self, x: Tensor, head_mask: Tensor | None = None, need_probabilities: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """One step of the residual stream.

        Args:
            x: (B, N, D).
            head_mask: (h,), see `attention`.
            need_probabilities: return them too.

        Returns:
            (B, N, D), and the attention probabilities (B, h, N, N) or None.
        """
        attended, probabilities = self.attention(self.norm1(x), head_mask, need_probabilities)
        x = x + self._branch(attended)
        x = x + self._branch(self.mlp(self.norm2(x)))
        return x, probabilities

    def _branch(self, x: Tensor) -> Tensor:
        x = self.dropout(x)
        if not self.training or self.drop_path == 0:
            return x
        keep = 1 - self.drop_path  # stochastic depth: "Deep networks with stochastic depth", per clip as in V1
        return x * x.new_empty(len(x), 1, 1).bernoulli_(keep) / keep


class Blocks(nn.ModuleList):
    """A stack of blocks: the body of the encoder, and of the decoder.

    Args:
        sizes: of the blocks, and how many there are.
        config: everything else.
        implementation: of attention, "sdpa" or "eager".
        drop_path_rate: stochastic depth of the last block; grows linearly from 0 at the first.
    """

    def __init__(self, sizes: Sizes, config: VideoMAEConfig, implementation: str, drop_path_rate: float = 0.0) -> None:
        check_implementation(implementation)
        rates = [drop_path_rate * index / max(sizes.depth - 1, 1) for index in range(sizes.depth)]
        super().__init__(Block(sizes, config, implementation, rate) for rate in rates)
        self.num_heads = sizes.num_heads
        self.gradient_checkpointing = False

    def forward(
        self,
        x: Tensor,
        head_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None, tuple[Tensor, ...] | None]:
        """Run all blocks.

        Args:
            x: (B, N, D).
            head_mask: (h,) for all blocks alike, or (L, h).
            output_hidden_states: return the input and each block's output.
            output_attentions: return each block's attention probabilities.

        Returns:
            The last output (B, N, D); hidden states, L + 1 times (B, N, D), or None; probabilities, L times
            (B, h, N, N), or None.

        Raises:
            UsageError: `head_mask` fits neither shape.
        """
        masks = self._mask_per_block(head_mask)
        hidden_states: list[Tensor] = [x]
        attentions: list[Tensor] = []
        for block, mask in zip(self, masks, strict=True):
            if self.gradient_checkpointing and self.training:
                x, probabilities = checkpoint(block, x, mask, output_attentions, use_reentrant=False)
            else:
                x, probabilities = block(x, mask, output_attentions)
            if output_hidden_states:
                hidden_states.append(x)
            if output_attentions:
                attentions.append(probabilities)
        return (
            x,
            tuple(hidden_states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )

    def _mask_per_block(self, head_mask: Tensor | None) -> list[Tensor | None]:
        if head_mask is None:
            return [None] * len(self)
        shapes = ((self.num_heads,), (len(self), self.num_heads))
        if head_mask.shape not in shapes:
            raise UsageError(f"head_mask has the shape {tuple(head_mask.shape)}, not {shapes[0]} or {shapes[1]}")
        return list(head_mask.expand(shapes[1]))


class Decoder(nn.Module):
    """Predicts the pixels of masked patches from encoded tokens and mask tokens.

    Args:
        config: sizes and options.
        attn_implementation: "sdpa" or "eager".
    """

    def __init__(self, config: VideoMAEConfig, attn_implementation: str) -> None:
        super().__init__()
        sizes = Sizes(
            depth=config.decoder_num_hidden_layers,
            width=config.decoder_hidden_size,
            num_heads=config.decoder_num_attention_heads,
            hidden_width=config.decoder_intermediate_size,
        )
        self.blocks = Blocks(sizes, config, attn_implementation)
        self.norm = nn.LayerNorm(sizes.width, eps=config.head_layer_norm_eps)
        self.head = Linear(sizes.width, config.num_pixels_per_patch)

    def forward(self, x: Tensor, num_predicted: int) -> Tensor:
        """Decode.

        Args:
            x: (B, V + M, D), mask tokens last.
            num_predicted: M.

        Returns:
            (B, M, P).
        """
        x, _, _ = self.blocks(x)
        pixels: Tensor = self.head(self.norm(x[:, -num_predicted:]))
        return pixels
