"""Which tokens a model does not see: masks for pretraining, and the token indices on either side of a mask.

A mask is bool, True = masked, one entry per token in the order of `patchify`. Every generator masks an exact number of
tokens, so that the clips of a batch can be stacked.

Letters: B batch, N tokens, V visible, M masked.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError

Grid = tuple[int, int, int]  # tokens along (time, height, width), as `VideoMAEConfig.grid`


def tube_mask(grid: Grid, ratio: float, generator: torch.Generator) -> Tensor:
    """Mask the same patches in every tubelet (VideoMAE paper, section 3.3).

    Args:
        grid: tokens along (time, height, width).
        ratio: part of a frame's patches to mask, rounded down to a number of patches; in (0, 1).
        generator: source of randomness, on the CPU.

    Returns:
        (N,) bool.

    Raises:
        UsageError: nothing or everything would be masked.
    """
    times, rows, columns = grid
    return random_mask((1, rows, columns), ratio, generator).repeat(times)


def random_mask(grid: Grid, ratio: float, generator: torch.Generator) -> Tensor:
    """Mask patches anywhere in the clip.

    Args:
        grid: tokens along (time, height, width).
        ratio: part of all tokens to mask, rounded down to a number of tokens; in (0, 1).
        generator: source of randomness, on the CPU.

    Returns:
        (N,) bool.

    Raises:
        UsageError: nothing or everything would be masked.
    """
    times, rows, columns = grid
    num_tokens = times * rows * columns
    num_masked = int(ratio * num_tokens)
    if not 0 < num_masked < num_tokens:
        raise UsageError(f"mask ratio {ratio} masks {num_masked} of {num_tokens} tokens")
    mask = torch.zeros(num_tokens, dtype=torch.bool)
    mask[torch.randperm(num_tokens, generator=generator)[:num_masked]] = True
    return mask


def running_cell_mask(grid: Grid, generator: torch.Generator, ratio: float = 0.5) -> Tensor:
    """Mask 2 x 2 cells in a pattern that advances by one patch per tubelet (VideoMAE V2, section 3.2).

    Made for the decoder: what is masked here is not reconstructed. Only the start phase is random.

    Args:
        grid: tokens along (time, height, width); height and width are even.
        generator: source of randomness, on the CPU.
        ratio: part of a cell's four patches to mask, rounded down: 0.25, 0.5 or 0.75.

    Returns:
        (N,) bool.

    Raises:
        UsageError: the grid does not divide into cells, or a cell would be masked not at all or whole.
    """
    times, rows, columns = grid
    num_masked = int(ratio * 4)
    if rows % 2 or columns % 2:
        raise UsageError(f"a grid of {rows} x {columns} patches does not divide into cells of 2 x 2")
    if not 0 < num_masked < 4:
        raise UsageError(f"running-cell mask ratio {ratio} masks {num_masked} of 4 patches")
    phase = torch.randint(4, (1,), generator=generator)
    turn = phase + torch.arange(times)[:, None] + torch.arange(4)  # (times, 4): each patch of the cell, in time
    cells = (turn % 4 < num_masked).view(times, 2, 2)
    return cells.repeat(1, rows // 2, columns // 2).flatten()  # (times, 2, 2) -> (times, rows, columns) -> (N,)


def split_tokens(mask: Tensor, batch_size: int, num_tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The indices of the tokens on either side of a mask, in ascending order.

    How many tokens are visible decides the shapes of everything that follows, so it has to be known on the host. It is
    counted there: a mask that is on the CPU (as the generators make it) costs no synchronisation with an accelerator,
    and one that is not costs one copy. Counting all rows on the way makes unequal counts an error, not a crash.

    Args:
        mask: (B, N) bool, True = masked.
        batch_size: B.
        num_tokens: N.
        device: where the indices are wanted.

    Returns:
        Visible (B, V) and masked (B, M) int64.

    Raises:
        UsageError: wrong shape or dtype, a different count for some clips, or no visible token.
    """
    if mask.dtype != torch.bool or mask.shape != (batch_size, num_tokens):
        found = f"{mask.dtype} {tuple(mask.shape)}"
        raise UsageError(f"a mask is {found}, not torch.bool ({batch_size}, {num_tokens})", "True means masked.")
    mask = mask.cpu()
    counts = set(mask.sum(dim=1).tolist())
    if len(counts) != 1:
        raise UsageError(f"the clips of a batch have different numbers of masked tokens: {sorted(counts)}")
    num_visible = num_tokens - counts.pop()
    if num_visible == 0:
        raise UsageError(f"all {num_tokens} tokens are masked")
    order = mask.byte().argsort(dim=1, stable=True).to(device, non_blocking=True)  # (B, N), the visible first
    return order[:, :num_visible], order[:, num_visible:]


def select(tokens: Tensor, indices: Tensor) -> Tensor:
    """Pick some tokens of each clip.

    Args:
        tokens: (B, N, ...).
        indices: (B, K) int64.

    Returns:
        (B, K, ...).
    """
    clips = torch.arange(len(tokens), device=tokens.device)[:, None]  # (B, 1)
    return tokens[clips, indices]
