"""The fast forward pass on a CPU computes what the model computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models import small_model
from videomae_cli import VideoClassifier, VideoMAEImageProcessor
from videomae_cli.inference.cpu import fast_forward
from videomae_cli.model.videomae import VideoMAEForVideoClassification

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="the fast path is for x86 CPUs"
)


def model(**options: Any) -> VideoMAEForVideoClassification:
    made: VideoMAEForVideoClassification = small_model("VideoMAEForVideoClassification", num_labels=7, **options)
    made.set_attn_implementation("eager")
    return made


def clips(batch_size: int, num_frames: int = 4, size_px: int = 32) -> Tensor:
    return torch.randn(batch_size, num_frames, 3, size_px, size_px, generator=torch.Generator().manual_seed(3))


def fast_logits(model: VideoMAEForVideoClassification, pixel_values: Tensor) -> Tensor:
    forward = fast_forward(model)
    assert forward is not None
    return forward(pixel_values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_mean_pooling": False},
        {"qkv_bias": False},
        {"hidden_act": "gelu_new"},
        {"hidden_act": "relu"},
        {"num_hidden_layers": 1},
        {"hidden_size": 48, "num_attention_heads": 2, "layer_norm_eps": 1e-3},
    ],
    ids=str,
)
def test_float32_logits_are_the_models(options: dict[str, Any]) -> None:
    net, pixel_values = model(**options), clips(3)
    with torch.inference_mode():
        expected = net(pixel_values).logits
    torch.testing.assert_close(fast_logits(net, pixel_values), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 2, 16), (2, 8, 32), (1, 4, 64), (450, 4, 32)], ids=str)
def test_any_number_of_clips_and_tokens(shape: tuple[int, int, int]) -> None:
    """The last one is more tokens than one pass takes."""
    net, pixel_values = model(), clips(*shape)
    with torch.inference_mode():
        expected = net(pixel_values).logits
    torch.testing.assert_close(fast_logits(net, pixel_values), expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_as_near_to_float32_as_the_model_in_bfloat16() -> None:
    net, pixel_values = model(hidden_size=192, num_hidden_layers=4, intermediate_size=768), clips(8)
    with torch.inference_mode():
        exact = net(pixel_values).logits
        net.bfloat16().set_attn_implementation("sdpa")
        plain_error = (net(pixel_values).logits.float() - exact).square().mean()
    fast_error = (fast_logits(net, pixel_values.bfloat16()) - exact).square().mean()
    assert 0 < fast_error <= plain_error, (fast_error, plain_error)


def test_what_is_not_a_number_stays_so() -> None:
    pixel_values = clips(2)
    pixel_values[1, 0, 0, 0, 0] = float("nan")
    logits = fast_logits(model(), pixel_values)
    assert logits[0].isfinite().all()
    assert logits[1].isnan().all()


def test_models_that_it_does_not_know_are_left_to_torch() -> None:
    assert fast_forward(model(hidden_act="selu")) is None
    assert fast_forward(model(hidden_act=F.gelu)) is None
    assert fast_forward(model().half()) is None
    assert fast_forward(model().double()) is None
    assert fast_forward(model().to("meta")) is None


def test_the_classifier_uses_it_where_it_can() -> None:
    processor = VideoMAEImageProcessor()
    labels = [str(index) for index in range(7)]
    pixel_values = clips(2)
    by_default = VideoClassifier(model(), processor, labels)
    as_written = VideoClassifier(model(), processor, labels, fast=False)
    unknown = VideoClassifier(model(hidden_act="selu"), processor, labels)
    assert type(by_default.forward).__name__ == "_FastForward"
    assert as_written.forward == as_written.plain_forward
    assert unknown.forward == unknown.plain_forward
    torch.testing.assert_close(by_default.logits(pixel_values), as_written.logits(pixel_values), rtol=1e-5, atol=1e-5)


def test_logits_are_float32_in_every_type() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert (
            VideoClassifier(model().to(dtype), VideoMAEImageProcessor(), ["x"] * 7).logits(clips(1)).dtype
            == torch.float32
        )
