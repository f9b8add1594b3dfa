"""Counted operations: what torch's own counter sees in the eager model, and what the paper's tables say."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.models import SMALL
from videomae_cli.benchmark.flops import classification_flops, pretraining_flops
from videomae_cli.benchmark.models import Model, clip_flops, training_targets
from videomae_cli.model.config import PRESETS, VideoMAEConfig
from videomae_cli.model.videomae import VideoMAEForPreTraining, VideoMAEForVideoClassification

CONFIGS = {name: VideoMAEConfig.preset(name) for name in PRESETS} | {"tiny": VideoMAEConfig(**SMALL)}


def on_meta(kind: type[Model], config: VideoMAEConfig, attention: str = "eager") -> Model:
    """A model without data."""
    with torch.device("meta"):
        return kind(config, attn_implementation=attention).to("meta")


def counted(model: Model, batch_size: int, *, training: bool = False) -> int:
    """What torch counts in a call."""
    config = model.config
    (_, height, width), (_, rows, columns) = config.patch_shape, config.grid
    clips = torch.empty(batch_size, config.num_frames, 3, rows * height, columns * width, device="meta")
    with FlopCounterMode(display=False) as counter:
        output = model(clips, **training_targets(model, batch_size))
        if training:
            output.loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_forward_pass(name: str, attention: str) -> None:
    model = on_meta(VideoMAEForVideoClassification, CONFIGS[name], attention)
    assert counted(model, 3) == 3 * classification_flops(CONFIGS[name]) == 3 * clip_flops(model, training=False)


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_a_fine_tuning_step(name: str) -> None:
    model = on_meta(VideoMAEForVideoClassification, CONFIGS[name])
    assert counted(model, 2, training=True) == 2 * classification_flops(CONFIGS[name], training=True)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "num_visible"), [("tiny", 2), ("base", 160)])
def test_pretraining(name: str, num_visible: int, training: bool) -> None:
    model = on_meta(VideoMAEForPreTraining, CONFIGS[name])
    expected = 2 * pretraining_flops(CONFIGS[name], num_visible, training=training)
    assert counted(model, 2, training=training) == expected == 2 * clip_flops(model, training=training)


@pytest.mark.parametrize(("name", "published_macs"), [("small", 57), ("base", 180), ("large", 597), ("huge", 1193)])
def test_the_paper_counts_a_product_and_a_sum_as_one(name: str, published_macs: int) -> None:
    assert classification_flops(CONFIGS[name]) / 2 / 1e9 == pytest.approx(published_macs, rel=0.005)
