"""Rates, groups and decay against tables worked out by hand from the recipes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models import SMALL, small_model
from videomae_cli.config.load import load
from videomae_cli.config.schema import OptimSection
from videomae_cli.model.config import VideoMAEConfig
from videomae_cli.model.videomae import VideoMAEForPreTraining, VideoMAEForVideoClassification
from videomae_cli.train.optim import build_optimizer, layer_of, lr_at, parameter_groups, peak_lr, set_lr

# 0.75^(13 - i): the patch embedding, the 12 blocks, the head
BASE_SCALES = [
    *(0.0237573, 0.0316764, 0.0422351, 0.0563135, 0.0750847, 0.1001129, 0.1334839),
    *(0.1779785, 0.2373047, 0.3164062, 0.4218750, 0.5625000, 0.7500000, 1.0000000),
]

BLOCK_DECAYS = ["attention.qkv.weight", "attention.output.weight", "mlp.up.weight", "mlp.down.weight"]
BLOCK_DOES_NOT = [
    *("norm1.weight", "norm1.bias", "attention.q_bias", "attention.v_bias", "attention.output.bias"),
    *("norm2.weight", "norm2.bias", "mlp.up.bias", "mlp.down.bias"),
]


# ---- the schedule ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "recipe", "peak"),
    [
        ("pretrain", "k400-base", 1.2e-3),  # 1.5e-4 x 2048 / 256
        ("pretrain", "k400-large", 3e-4),  # 1.5e-4 x 512 / 256
        ("pretrain", "ucf101-base", 2.25e-4),  # 3e-4 x 192 / 256
        ("finetune", "k400-base", 2e-3),  # 1e-3 x 512 / 256
        ("finetune", "k400-base-1600", 7.5e-4),  # 5e-4 x 384 / 256: two clips of each video are not counted
        ("finetune", "k400-large", 1e-3),  # 2e-3 x 128 / 256
    ],
)
def test_the_peak_is_scaled_to_the_videos_of_a_step(kind: Any, recipe: str, peak: float) -> None:
    assert peak_lr(load(kind, recipe).optim) == pytest.approx(peak)


def test_warm_up_is_a_line_and_the_rest_half_a_cosine() -> None:
    """4 steps up to 8, then 8 steps down towards 0: cos 0, 22.5, 45, ... degrees."""
    found = [lr_at(step, peak=8.0, lowest=0.0, num_warmup_steps=4, num_steps=12) for step in range(13)]
    up = [1.6, 3.2, 4.8, 6.4]
    down = [8.0, 7.695518, 6.828427, 5.530734, 4.0, 2.469266, 1.171573, 0.304482]
    assert found == pytest.approx([*up, *down, 0.0], abs=1e-6)


def test_the_lowest_rate_is_the_end_and_is_not_scaled() -> None:
    kwargs = {"peak": 1.0, "lowest": 0.2, "num_warmup_steps": 0}
    assert [lr_at(step, num_steps=4, **kwargs) for step in range(5)] == pytest.approx(
        [1.0, 0.882843, 0.6, 0.317157, 0.2], abs=1e-6
    )
    assert lr_at(7, num_steps=4, **kwargs) == pytest.approx(0.2)  # beyond the end


def test_a_run_that_is_all_warm_up() -> None:
    assert [lr_at(step, peak=4.0, lowest=1.0, num_warmup_steps=3, num_steps=3) for step in range(4)] == [1, 2, 3, 4]


# ---- the groups ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("videomae.embeddings.projection.weight", 0),
        ("videomae.embeddings.projection.bias", 0),
        ("videomae.blocks.0.norm1.weight", 1),
        ("videomae.blocks.9.attention.q_bias", 10),
        ("videomae.blocks.11.mlp.down.weight", 12),
        ("videomae.norm.weight", 13),
        ("fc_norm.weight", 13),
        ("classifier.bias", 13),
        ("mask_token", 13),
        ("encoder_to_decoder.weight", 13),
        ("decoder.blocks.0.mlp.up.weight", 13),
    ],
)
def test_layers_of_base(name: str, layer: int) -> None:
    assert layer_of(name, 12) == layer


def groups_of(model: Any, num_blocks: int, layer_decay: float) -> list[dict[str, Any]]:
    return parameter_groups(model.named_parameters(), num_blocks=num_blocks, weight_decay=0.05, layer_decay=layer_decay)


def test_layer_decay_of_base() -> None:
    with torch.device("meta"):
        model = VideoMAEForVideoClassification(VideoMAEConfig(num_labels=400))
    groups = groups_of(model, 12, 0.75)
    assert [group["layer"] for group in groups] == [layer for layer in range(14) for _ in range(2)]
    assert [group["lr_scale"] for group in groups[::2]] == pytest.approx(BASE_SCALES, abs=5e-8)
    assert [group["lr_scale"] for group in groups[1::2]] == pytest.approx(BASE_SCALES, abs=5e-8)
    assert [group["weight_decay"] for group in groups] == [0.0, 0.05] * 14


def test_every_weight_of_a_classifier() -> None:
    groups = groups_of(small_model("VideoMAEForVideoClassification", num_labels=5), 2, 0.5)
    found = [(group["lr_scale"], group["weight_decay"], sorted(group["names"])) for group in groups]
    assert found == [
        (0.125, 0.0, ["videomae.embeddings.projection.bias"]),
        (0.125, 0.05, ["videomae.embeddings.projection.weight"]),
        (0.25, 0.0, sorted(f"videomae.blocks.0.{name}" for name in BLOCK_DOES_NOT)),
        (0.25, 0.05, sorted(f"videomae.blocks.0.{name}" for name in BLOCK_DECAYS)),
        (0.5, 0.0, sorted(f"videomae.blocks.1.{name}" for name in BLOCK_DOES_NOT)),
        (0.5, 0.05, sorted(f"videomae.blocks.1.{name}" for name in BLOCK_DECAYS)),
        (1.0, 0.0, ["classifier.bias", "fc_norm.bias", "fc_norm.weight"]),
        (1.0, 0.05, ["classifier.weight"]),
    ]


def test_every_weight_of_a_masked_autoencoder() -> None:
    model = VideoMAEForPreTraining(VideoMAEConfig(**SMALL, use_mean_pooling=False))
    groups = groups_of(model, 2, 1.0)
    names = {decay: {n for g in groups if g["weight_decay"] == decay for n in g["names"]} for decay in (0.0, 0.05)}
    blocks = ["videomae.blocks.0", "videomae.blocks.1", "decoder.blocks.0"]
    assert {group["lr_scale"] for group in groups} == {1.0}
    assert names[0.0] == {
        *(f"{block}.{name}" for block in blocks for name in BLOCK_DOES_NOT),
        *("mask_token", "videomae.embeddings.projection.bias", "videomae.norm.weight", "videomae.norm.bias"),
        *("decoder.norm.weight", "decoder.norm.bias", "decoder.head.bias"),
    }
    assert names[0.05] == {
        *(f"{block}.{name}" for block in blocks for name in BLOCK_DECAYS),
        *("videomae.embeddings.projection.weight", "encoder_to_decoder.weight", "decoder.head.weight"),
    }
    assert len(names[0.0] | names[0.05]) == len(list(model.parameters()))


def test_a_frozen_weight_is_in_no_group() -> None:
    model = small_model("VideoMAEForVideoClassification", num_labels=5)
    model.videomae.requires_grad_(False)
    names = [name for group in groups_of(model, 2, 0.5) for name in group["names"]]
    assert sorted(names) == ["classifier.bias", "classifier.weight", "fc_norm.bias", "fc_norm.weight"]


def test_each_group_gets_its_share_of_the_rate() -> None:
    optim = OptimSection(layer_decay=0.5, betas=(0.9, 0.95), eps=1e-7)
    optimizer = build_optimizer(small_model("VideoMAEForVideoClassification", num_labels=5), optim, 2)
    set_lr(optimizer, 0.8)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.8, 0.8])
    assert {(group["betas"], group["eps"]) for group in optimizer.param_groups} == {((0.9, 0.95), 1e-7)}
