"""Attention, the one function that the encoder and the decoder share, with two backends.

Letters: B batch, h heads, N tokens, d width of a head.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError

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
    query: Tensor,
    key: Tensor,
    value: Tensor,
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
        query: (B, h, N, d).
        key: (B, h, N, d).
        value: (B, h, N, d).
        implementation: "sdpa" lets torch choose the fastest kernel for the inputs; "eager" spells the formula out.
        dropout: probability of dropping a probability, for this call.
        head_mask: (h,), what each head's probabilities are multiplied by: 0 silences it, 1 leaves it.
        need_probabilities: return them too.

    Returns:
        (B, h, N, d), and the probabilities (B, h, N, N) after dropout and head mask, or None if not asked for.
    """
    scale = query.shape[-1] ** -0.5
    if implementation == "sdpa" and head_mask is None and not need_probabilities:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scale), None
    probabilities = (query @ key.transpose(-2, -1) * scale).softmax(dim=-1)  # (B, h, N, N)
    if dropout:
        probabilities = F.dropout(probabilities, dropout)
    if head_mask is not None:
        probabilities = probabilities * head_mask.to(probabilities).view(-1, 1, 1)
    return probabilities @ value, probabilities if need_probabilities else None
