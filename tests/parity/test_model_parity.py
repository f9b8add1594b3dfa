"""Our models against those of transformers: the same weights and pixels give the same numbers.

Forward results agree within 1e-5 and gradients within 1e-4, relative to the largest value of each tensor.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models import SMALL, gradients, masks, pair, pixels, relative_error

FORWARD, BACKWARD = 1e-5, 1e-4

PRETRAINING: dict[str, dict[str, Any]] = {
    "as published": {"use_mean_pooling": False},
    "mean pooling, no final norm": {"use_mean_pooling": True},
    "no q and v biases": {"qkv_bias": False, "use_mean_pooling": False},
    "raw targets": {"norm_pix_loss": False},
    "one channel, tubelets of 1, patches of 8": {"num_channels": 1, "tubelet_size": 1, "patch_size": 8},
    "four channels, tubelets of 4": {"num_channels": 4, "tubelet_size": 4, "num_frames": 8},
    "wide and deep decoder": {
        "decoder_hidden_size": 48,
        "decoder_num_hidden_layers": 3,
        "decoder_num_attention_heads": 4,
        "decoder_intermediate_size": 17,
        "hidden_act": "gelu_new",
    },
    "large epsilon": {"layer_norm_eps": 1e-2, "use_mean_pooling": False, "hidden_act": "relu"},
}
CLASSIFICATION: dict[str, dict[str, Any]] = {
    "as published": {"num_labels": 7},
    "token 0": {"num_labels": 3, "use_mean_pooling": False, "qkv_bias": False},
    "wide frames": {"num_labels": 5, "image_size": (32, 64), "hidden_act": "gelu_new"},
    "flat patches": {
        "num_labels": 5,
        "patch_size": (8, 16),
        "tubelet_size": 1,
        "num_channels": 1,
        "hidden_act": "relu",
    },
    "large epsilon": {"num_labels": 4, "layer_norm_eps": 1e-2, "hidden_act": "relu"},
    "regression to one number": {"num_labels": 1},
    "regression to many": {"num_labels": 3, "problem_type": "regression"},
    "several labels at once": {"num_labels": 6, "problem_type": "multi_label_classification"},
    "no head": {"num_labels": 0},
}


def assert_same_outputs(found: Any, wanted: Any) -> None:
    """Every field that transformers returns, each hidden state and each attention map included."""
    assert tuple(found) == tuple(wanted)
    for name in wanted:
        theirs, ours = wanted[name], found[name]
        if isinstance(theirs, Tensor):
            theirs, ours = (theirs,), (ours,)
        assert len(ours) == len(theirs)
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert relative_error(a, b) < FORWARD, f"{name}[{index}]"


def assert_same_gradients(found: Any, wanted: Any) -> None:
    ours, theirs = gradients(found), gradients(wanted)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert relative_error(ours[name], gradient) < BACKWARD, name


def labels_for(config: Any) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    if config.problem_type == "multi_label_classification":
        return torch.randint(2, (2, config.num_labels), generator=generator).float()
    if config.num_labels == 1 or config.problem_type == "regression":
        return torch.randn(2, config.num_labels, generator=generator)
    return torch.randint(config.num_labels, (2,), generator=generator)


@pytest.mark.parametrize("name", PRETRAINING)
def test_pretraining(name: str) -> None:
    theirs, ours = pair("VideoMAEForPreTraining", **{**SMALL, **PRETRAINING[name]})
    inputs = {"pixel_values": pixels(ours.config), "bool_masked_pos": masks(ours.config)}
    results = [model(**inputs, output_hidden_states=True, output_attentions=True) for model in (ours, theirs)]
    assert_same_outputs(*results)
    for result in results:
        result.loss.backward()
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification(name: str) -> None:
    theirs, ours = pair("VideoMAEForVideoClassification", **{**SMALL, **CLASSIFICATION[name]})
    inputs = {"pixel_values": pixels(ours.config)}
    if ours.config.num_labels:
        inputs["labels"] = labels_for(ours.config)
    results = [model(**inputs, output_hidden_states=True, output_attentions=True) for model in (ours, theirs)]
    assert_same_outputs(*results)
    for result in results:
        (result.logits.square().sum() if result.loss is None else result.loss).backward()
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("use_mean_pooling", [False, True])
def test_bare_encoder(masked: bool, use_mean_pooling: bool) -> None:
    theirs, ours = pair("VideoMAEModel", **{**SMALL, "use_mean_pooling": use_mean_pooling})
    inputs = {"pixel_values": pixels(ours.config)}
    if masked:
        inputs["bool_masked_pos"] = masks(ours.config)
    results = [model(**inputs, output_hidden_states=True, output_attentions=True) for model in (ours, theirs)]
    assert_same_outputs(*results)
    for result in results:
        result.last_hidden_state.square().sum().backward()
    assert_same_gradients(ours, theirs)


def test_base_pretraining() -> None:
    """16 frames of 224 x 224: 157 tokens in the encoder, all 1,568 in the decoder."""
    theirs, ours = pair("VideoMAEForPreTraining", use_mean_pooling=False)
    inputs = {
        "pixel_values": pixels(ours.config, batch_size=1),
        "bool_masked_pos": masks(ours.config, batch_size=1, ratio=0.9),
    }
    with torch.no_grad():
        results = [model(**inputs, output_hidden_states=True, output_attentions=True) for model in (ours, theirs)]
    assert_same_outputs(*results)
    assert results[0].logits.shape == (1, 1411, 1536)


def test_base_classification() -> None:
    """4 frames, to be quick."""
    theirs, ours = pair("VideoMAEForVideoClassification", num_labels=400, num_frames=4)
    clip = pixels(ours.config, batch_size=1)
    with torch.no_grad():
        results = [model(clip, output_hidden_states=True, output_attentions=True) for model in (ours, theirs)]
    assert_same_outputs(*results)
    assert results[0].logits.shape == (1, 400)


def test_selu() -> None:
    """Transformers 5 has no name for it, though its documentation lists it."""
    theirs, ours = pair("VideoMAEForVideoClassification", **SMALL)
    for layer in theirs.videomae.encoder.layer:
        layer.intermediate.intermediate_act_fn = nn.SELU()
    ours.config.hidden_act = "selu"
    with_selu = type(ours)(ours.config, "eager").eval()
    with_selu.load_state_dict(ours.state_dict())
    assert_same_outputs(with_selu(pixels(ours.config)), theirs(pixels(ours.config)))


@pytest.mark.parametrize("per_layer", [False, True])
def test_head_mask(per_layer: bool) -> None:
    """Transformers 5 dropped the argument; scaling a head's columns of the output projection does the same."""
    theirs, ours = pair("VideoMAEForVideoClassification", **SMALL)
    mask = torch.tensor([[1.0, 0.0, 0.25], [0.5, 1.0, 0.0]]) if per_layer else torch.tensor([0.0, 1.0, 0.25])
    for layer, scales in zip(theirs.videomae.encoder.layer, mask.expand(2, 3), strict=True):
        with torch.no_grad():
            layer.attention.output.dense.weight.mul_(scales.repeat_interleave(8))  # 3 heads of width 8
    clip = pixels(ours.config)
    found, wanted = ours(clip, head_mask=mask, output_hidden_states=True), theirs(clip, output_hidden_states=True)
    assert_same_outputs(found, wanted)
    ours.set_attn_implementation("sdpa")
    assert_same_outputs(ours(clip, head_mask=mask, output_hidden_states=True), wanted)


@pytest.mark.parametrize("name", PRETRAINING)
def test_sdpa_equals_eager(name: str) -> None:
    _, ours = pair("VideoMAEForPreTraining", **{**SMALL, **PRETRAINING[name]})
    _, fused = pair("VideoMAEForPreTraining", **{**SMALL, **PRETRAINING[name]})
    fused.set_attn_implementation("sdpa")
    inputs = {"pixel_values": pixels(ours.config), "bool_masked_pos": masks(ours.config)}
    results = [model(**inputs, output_hidden_states=True) for model in (fused, ours)]
    assert_same_outputs(*results)
    for result in results:
        result.loss.backward()
    assert_same_gradients(fused, ours)


def test_half_precision_rounds_where_transformers_does() -> None:
    """In bfloat16 the two differ by rounding alone: far less than either differs from float32."""
    theirs, ours = pair("VideoMAEForVideoClassification", **SMALL)
    clip = pixels(ours.config)
    exact = ours(clip).logits
    found = ours.bfloat16()(clip).logits.float()
    wanted = theirs.bfloat16()(clip.bfloat16()).logits.float()
    assert relative_error(found, wanted) < 0.02
    assert relative_error(found, exact) < 0.05
