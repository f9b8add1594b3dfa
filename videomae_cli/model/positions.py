"""Positions: one 1-D sinusoid table over the flattened tokens, never learned and never saved.

Letters: N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def sinusoid_table(num_positions: int, width: int) -> Tensor:
    """angle[p, j] = p / 10000^(2 floor(j/2) / width); sine on even j, cosine on odd j.

    From "Attention is all you need", section 3.5, as HF modeling_videomae.py has it, to the bit.

    Args:
        num_positions: N, rows.
        width: D, columns.

    Returns:
        (N, D) float32 on the CPU (also where the default device is "meta"), computed in float64.
    """
    column = torch.arange(width, dtype=torch.float64, device="cpu")
    position = torch.arange(num_positions, dtype=torch.float64, device="cpu")
    angle = position[:, None] / 10000.0 ** (2 * (column // 2) / width)  # (N, D)
    angle[:, 0::2] = angle[:, 0::2].sin()
    angle[:, 1::2] = angle[:, 1::2].cos()
    return angle.float()


class Positions(nn.Module):
    """The table of one width, for clips of any number of tokens.

    Row p depends on p alone: a clip of fewer tokens uses the first rows, and a clip of more makes the table longer.

    Args:
        num_positions: rows to begin with.
        width: D.
    """

    table: Tensor

    def __init__(self, num_positions: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoid_table(num_positions, width), persistent=False)

    def forward(self, num_tokens: int) -> Tensor:
        """The positions of a clip's tokens, (N, D) float32.

        Args:
            num_tokens: N.
        """
        if num_tokens > len(self.table):
            self.table = sinusoid_table(num_tokens, self.table.shape[1]).to(self.table.device)
        return self.table[:num_tokens]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Positions:
        # Follow the model to its device, but stay exact and float32: .half() would round for good, and to_empty()
        # after a construction on "meta" would leave garbage that no checkpoint repairs.
        table = sinusoid_table(*self.table.shape) if self.table.is_meta else self.table
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.table = table.to(self.table.device)
        return self
