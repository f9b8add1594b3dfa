"""Masks of exact counts, drawn from a generator, and the indices on either side of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from videomae_cli.errors import UsageError
from videomae_cli.model.masking import random_mask, running_cell_mask, select, split_tokens, tube_mask

CLIP = (8, 14, 14)  # 16 frames of 224 x 224


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("ratio", "masked_per_frame", "masked", "visible"),
    [(0.75, 147, 1176, 392), (0.9, 176, 1408, 160), (0.95, 186, 1488, 80)],
)
def test_tube_mask(ratio: float, masked_per_frame: int, masked: int, visible: int) -> None:
    mask = tube_mask(CLIP, ratio, seeded())
    assert mask.dtype == torch.bool
    assert (int(mask.sum()), int((~mask).sum())) == (masked, visible)
    frames = mask.view(8, 196)
    assert int(frames[0].sum()) == masked_per_frame
    assert (frames == frames[0]).all()


@pytest.mark.parametrize(("ratio", "masked"), [(0.75, 1176), (0.9, 1411), (0.95, 1489)])
def test_random_mask(ratio: float, masked: int) -> None:
    mask = random_mask(CLIP, ratio, seeded())
    assert mask.shape == (1568,)
    assert int(mask.sum()) == masked
    frames = mask.view(8, 196)
    assert not (frames == frames[0]).all()


@pytest.mark.parametrize("draw", [tube_mask, random_mask])
def test_drawn_from_the_generator_alone(draw: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(1)
    first = draw(CLIP, 0.5, seeded(7))
    torch.manual_seed(2)
    assert torch.equal(draw(CLIP, 0.5, seeded(7)), first)
    assert not torch.equal(draw(CLIP, 0.5, seeded(8)), first)
    # every token is masked about as often as any other
    generator = seeded()
    share = torch.stack([draw((2, 4, 4), 0.5, generator) for _ in range(400)]).float().mean(dim=0)
    assert share.min() > 0.38
    assert share.max() < 0.62


def test_running_cell_mask() -> None:
    """Frame by frame, the two masked patches of each 2 x 2 cell move on by one; after four frames they are back."""
    cycle = [[1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 0]]  # cell as [top left, top right, bottom ...]
    phases = set()
    for seed in range(40):
        mask = running_cell_mask((5, 4, 6), seeded(seed)).view(5, 2, 2, 3, 2).long()
        cells = mask.permute(0, 1, 3, 2, 4).reshape(5, 6, 4)  # (time, cell, patch of the cell)
        phase = cycle.index(cells[0, 0].tolist())
        phases.add(phase)
        for time in range(5):
            assert cells[time].tolist() == [cycle[(phase + time) % 4]] * 6
    assert phases == {0, 1, 2, 3}
    assert int(running_cell_mask(CLIP, seeded()).sum()) == 784
    assert int(running_cell_mask(CLIP, seeded(), ratio=0.75).sum()) == 1176


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: tube_mask(CLIP, 0.001, seeded()), "mask ratio 0.001 masks 0 of 196"),
        (lambda: random_mask(CLIP, 1.0, seeded()), "mask ratio 1.0 masks 1568 of 1568"),
        (lambda: running_cell_mask((8, 13, 14), seeded()), "13 x 14 patches does not divide"),
        (lambda: running_cell_mask(CLIP, seeded(), ratio=0.1), "masks 0 of 4"),
    ],
)
def test_masks_that_cannot_be(draw: Callable[[], torch.Tensor], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        draw()


def test_split_tokens() -> None:
    mask = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 1]]).bool()
    visible, masked = split_tokens(mask, 2, 5, torch.device("cpu"))
    assert visible.tolist() == [[1, 3, 4], [0, 1, 2]]
    assert masked.tolist() == [[0, 2], [3, 4]]
    tokens = torch.arange(20).view(2, 5, 2)
    assert torch.equal(select(tokens, visible).flatten(0, 1), tokens[~mask])
    assert torch.equal(select(tokens, masked).flatten(0, 1), tokens[mask])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0]]).bool(), r"different numbers of masked tokens: \[1, 3\]"),
        (torch.ones(2, 4).bool(), "all 4 tokens are masked"),
        (torch.ones(2, 4).long(), "torch.int64"),
        (torch.zeros(2, 5).bool(), r"\(2, 5\), not torch.bool \(2, 4\)"),
        (torch.zeros(1, 4).bool(), r"\(1, 4\), not torch.bool \(2, 4\)"),
    ],
)
def test_masks_that_do_not_fit(mask: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split_tokens(mask, 2, 4, torch.device("cpu"))
