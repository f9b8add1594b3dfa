"""The sinusoid table, and the module that keeps it exact wherever the model goes."""

from __future__ import annotations

import math

import pytest
import torch
from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

from videomae_cli.model.positions import Positions, sinusoid_table


def test_values() -> None:
    table = sinusoid_table(3, 4)
    expected = [
        [0.0, 1.0, 0.0, 1.0],
        [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)],
        [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)],
    ]
    assert table.dtype == torch.float32
    assert torch.equal(table, torch.tensor(expected))


@pytest.mark.parametrize(("num_positions", "width"), [(196, 384), (100, 30), (7, 5)])
def test_equals_transformers_to_the_bit(num_positions: int, width: int) -> None:
    assert torch.equal(sinusoid_table(num_positions, width), get_sinusoid_encoding_table(num_positions, width)[0])


def test_other_numbers_of_tokens() -> None:
    positions = Positions(8, 6)
    for num_tokens in (8, 3, 20, 8):
        assert torch.equal(positions(num_tokens), sinusoid_table(num_tokens, 6))


def test_never_saved() -> None:
    assert not Positions(8, 6).state_dict()


def test_half_precision_does_not_round_for_good() -> None:
    positions = Positions(8, 6).half()
    assert torch.equal(positions(8), sinusoid_table(8, 6))
    assert torch.equal(positions.bfloat16().float()(8), sinusoid_table(8, 6))


def test_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        positions = Positions(8, 6)
    assert torch.equal(positions.to_empty(device="cpu")(8), sinusoid_table(8, 6))
    assert positions.to("meta")(8).is_meta
    assert torch.equal(positions.to_empty(device="cpu")(8), sinusoid_table(8, 6))
