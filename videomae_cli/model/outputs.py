"""What the models return: named, indexed like a tuple, or looked up like a dictionary; as in transformers.

Letters: B batch, N tokens (visible ones alone under a mask), D width, h heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor


@dataclass(eq=False)
class ModelOutput(Mapping[str, Any]):
    """Fields that are None are left out of every view but attribute access."""

    def to_tuple(self) -> tuple[Any, ...]:
        """The values, in order."""
        return tuple(self[name] for name in self)

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in tuple(self):
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in fields(self) if getattr(self, field.name) is not None)

    def __len__(self) -> int:
        return len(tuple(iter(self)))


@dataclass(eq=False)
class EncoderOutput(ModelOutput):
    """What VideoMAEModel returns.

    Attributes:
        last_hidden_state: (B, N, D), after the final norm where there is one.
        hidden_states: the embeddings and each block's output, (B, N, D) each, before the final norm; if asked for.
        attentions: each block's attention probabilities, (B, h, N, N) each; if asked for.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class PredictionOutput(ModelOutput):
    """What VideoMAEForPreTraining and VideoMAEForVideoClassification return.

    Attributes:
        loss: scalar; None where no labels were given.
        logits: predicted pixels (B, M, t*p*q*C), or class scores before the softmax (B, num_labels).
        hidden_states: of the encoder, as in `EncoderOutput`.
        attentions: of the encoder, as in `EncoderOutput`.
    """

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
