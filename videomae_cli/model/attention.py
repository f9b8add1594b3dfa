"""Attention, the one function that the encoder and the decoder share, with two backends.

Letters: B batch, h heads, N tokens, d width of a head.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError
from .kernels import self_attention

AttentionImplementation = Literal["eager", "sdpa"]


def check_implementation(name: str) -> None:
    """Refuse a backend that does not exist.

    Args:
        name: what the user asked for.

    Raises:
        UsageError: it is neither "eager" nor "sdpa".
    """
    if name not in get_args(AttentionImplementation):
        raise UsageError(f"no attention implementation {name!r}", "Use 'sdpa' or 'eager'.")


def attention(
    qkv: Tensor,
    implementation: str = "sdpa",
    *,
    dropout: float = 0.0,
    head_mask: Tensor | None = None,
    need_probabilities: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """softmax(q k^T / sqrt(d)) v.

    The fused kernels of "sdpa" keep no probabilities, so a call that wants them, or that masks heads, is computed
    eagerly whatever the implementation.

    Args:
        qkv: (B, N, 3, h, d): queries, keys, values.
        implementation: "sdpa" takes the fastest kernel for the inputs; "eager" spells the formula out.
        dropout: probability of dropping a probability, for this call.
        head_mask: (h,), what each head's probabilities are multiplied by: 0 silences it, 1 leaves it.
        need_probabilities: return them too.

    Returns:
        (B, N, h, d), and the probabilities (B, h, N, N) after dropout and head mask, or None if not asked for.
    """
    if implementation == "sdpa" and head_mask is None and not need_probabilities:
        return self_attention(qkv, dropout), None
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, N, 3, h, d) -> (B, h, N, d) each
    probabilities = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)  # (B, h, N, N)
    if dropout:
        probabilities = F.dropout(probabilities, dropout)
    if head_mask is not None:
        probabilities = probabilities * head_mask.to(probabilities).view(-1, 1, 1)
    return (probabilities @ value).transpose(1, 2), probabilities if need_probabilities else None
