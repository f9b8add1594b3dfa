"""The forward pass reads no value back to the host, which would make a GPU wait: nothing is there to read on "meta".

A tensor on "meta" has a shape and no data: `.item()`, `bool()` and the like raise, as do operators that would need to
look (`nonzero`, boolean indexing). A forward pass that gets through has asked for no value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models import SMALL, masks
from videomae_cli.model.config import PRESETS, VideoMAEConfig
from videomae_cli.model.masking import tube_mask
from videomae_cli.model.videomae import VideoMAEForPreTraining, VideoMAEForVideoClassification

ATTENTIONS = ("eager", "sdpa")


def on_meta(kind: type[nn.Module], config: VideoMAEConfig, attention: str = "sdpa") -> Any:
    with torch.device("meta"):
        return kind(config, attn_implementation=attention).to("meta").eval()


def clips(config: VideoMAEConfig, batch_size: int) -> Tensor:
    (_, height, width), (_, rows, columns) = config.patch_shape, config.grid
    return torch.empty(
        batch_size, config.num_frames, config.num_channels, rows * height, columns * width, device="meta"
    )


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(("name", "width"), [("small", 384), ("base", 768), ("large", 1024), ("huge", 1280)])
def test_every_preset_encodes_and_classifies_without_data(name: str, width: int, attention: str) -> None:
    config = VideoMAEConfig.preset(name)
    config.num_labels = 400
    classifier = on_meta(VideoMAEForVideoClassification, config, attention)
    assert classifier.videomae(clips(config, 3)).last_hidden_state.shape == (3, 1568, width)
    logits = classifier(clips(config, 3)).logits
    assert (logits.shape, logits.device.type) == ((3, 400), "meta")


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_pretrains_with_its_masks_on_the_host(name: str, attention: str) -> None:
    config = VideoMAEConfig.preset(name)
    mask = tube_mask(config.grid, 0.9, torch.Generator().manual_seed(0)).repeat(2, 1)
    output = on_meta(VideoMAEForPreTraining, config, attention)(clips(config, 2), mask)
    assert output.logits.shape == (2, 1408, 1536)
    assert (output.loss.shape, output.loss.device.type) == ((), "meta")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_in_a_dtype_give_logits_in_it(dtype: torch.dtype) -> None:
    config = VideoMAEConfig(**SMALL, num_labels=5)
    model = on_meta(VideoMAEForVideoClassification, config).to(dtype)
    assert model(clips(config, 2)).logits.dtype == dtype
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_a_training_step_reads_nothing_back() -> None:
    config = VideoMAEConfig(**SMALL, num_labels=5, drop_path_rate=0.5, hidden_dropout_prob=0.1)
    model = on_meta(VideoMAEForVideoClassification, config).train()
    model(clips(config, 2), labels=torch.zeros(2, dtype=torch.long, device="meta")).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_decoder_mask_reads_nothing_back() -> None:
    config = VideoMAEConfig(**SMALL)
    mask = masks(config)
    output = on_meta(VideoMAEForPreTraining, config)(clips(config, 2), mask, bool_decoder_masked_pos=~mask)
    assert output.loss.shape == ()


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x.argmax().tolist(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
    ],
    ids=["item", "bool", "tolist", "boolean index", "nonzero", "cpu"],
)
def test_a_model_that_did_would_be_found_out(look: Callable[[Tensor], object]) -> None:
    config = VideoMAEConfig(**SMALL, num_labels=5)
    model = on_meta(VideoMAEForVideoClassification, config)
    model.videomae.blocks[0].register_forward_hook(lambda module, args, output: look(output[0]) and None)
    with pytest.raises((RuntimeError, NotImplementedError), match=r"(?i)meta"):
        model(clips(config, 2))
