"""Names of weights: theirs to ours and back, for every weight, nothing lost and nothing changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from tests.checkpoints import CLASSES, hf_model, original_state
from videomae_cli.errors import ModelError
from videomae_cli.model import videomae
from videomae_cli.model.config import PRESETS, VideoMAEConfig
from videomae_cli.weights.keymaps import detect_layout, infer_config, to_hf, to_ours

PATCH = (3, 2, 16, 16)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"use_mean_pooling": False},
    {"qkv_bias": False},
)


def as_saved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The live names of transformers 5 as its files, those of transformers 4 and the hub have them."""
    hub = {"attention.attention.query.bias": "attention.attention.q_bias"}
    hub["attention.attention.value.bias"] = "attention.attention.v_bias"
    for live, saved in hub.items():
        state = {name.replace(live, saved): tensor for name, tensor in state.items()}
    return state


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("class_name", CLASSES)
def test_transformers_to_ours_and_back(class_name: str, options: dict[str, Any]) -> None:
    theirs = hf_model(class_name, **options)
    live, saved = theirs.state_dict(), as_saved(theirs.state_dict())
    assert detect_layout(live) == detect_layout(saved) == "hf"

    ours = to_ours(live)
    assert_equal(to_ours(saved), ours)
    model = getattr(videomae, class_name)(VideoMAEConfig.from_dict(theirs.config.to_dict()))
    model.load_state_dict(ours)  # strict

    assert_equal(to_hf(model.state_dict(), PATCH), saved)
    assert_equal(to_ours(to_hf(ours, PATCH)), ours)


@pytest.mark.parametrize("container", ["", "module.", "backbone.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("class_name", CLASSES[1:])
def test_original_names(class_name: str, options: dict[str, Any], container: str) -> None:
    theirs = hf_model(class_name, **options)
    original = {f"{container}{name}": tensor for name, tensor in original_state(theirs).items()}
    assert detect_layout(original) == "original"
    assert_equal(to_ours(original), to_ours(theirs.state_dict()))


def test_original_names_with_their_encoder_prefix_are_the_same_without() -> None:
    original = original_state(hf_model("VideoMAEForPreTraining"))
    bare = {name.removeprefix("encoder."): tensor for name, tensor in original.items()}
    assert_equal(to_ours(bare), to_ours(original))


def test_ours_stay_as_they_are() -> None:
    ours = to_ours(hf_model("VideoMAEForPreTraining").state_dict())
    assert detect_layout(ours) == "ours"
    assert_equal(to_ours({f"_orig_mod.{name}": tensor for name, tensor in ours.items()}), ours)


def test_types_are_kept() -> None:
    """V2 publishes its fine-tuned weights in fp16."""
    original = {name: tensor.half() for name, tensor in original_state(hf_model(CLASSES[2])).items()}
    assert {tensor.dtype for tensor in to_ours(original).values()} == {torch.float16}


def test_what_is_not_known_keeps_its_name() -> None:
    theirs = hf_model("VideoMAEForVideoClassification").state_dict()
    strange = torch.zeros(1)
    names = ("videomae.encoder.layer.0.attention.attention.k_bias", "videomae.pooler.weight", "head.weight")
    ours = to_ours({**theirs, **dict.fromkeys(names, strange)})
    assert [name for name in ours if ours[name] is strange] == list(names)
    assert set(names) <= to_hf(ours, PATCH).keys()


def test_an_incomplete_projection_is_not_merged() -> None:
    theirs = hf_model("VideoMAEModel").state_dict()
    del theirs["encoder.layer.0.attention.attention.key.weight"]
    theirs["encoder.layer.1.attention.attention.value.weight"] = torch.zeros(32, 31)
    names = to_ours(theirs).keys()
    assert not any(name.endswith("qkv.weight") for name in names)
    assert {"blocks.0.attention.query.weight", "blocks.1.attention.value.weight"} <= names


def test_two_names_for_one_weight() -> None:
    theirs = hf_model("VideoMAEModel").state_dict()
    theirs["encoder.layer.0.attention.attention.q_bias"] = torch.zeros(32)
    with pytest.raises(ModelError, match="q_bias' is a second name"):
        to_ours(theirs)


def test_another_model_altogether() -> None:
    with pytest.raises(ModelError, match=r"no VideoMAE weights among 1 names, such as 'conv1\.weight'"):
        to_ours({"conv1.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match="no VideoMAE weights among 0 names"):
        to_ours({})


SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "qkv_bias",
    "use_mean_pooling",
    "patch_size",
    "tubelet_size",
    "num_channels",
)
DECODER_SIZES = tuple(name for name in PRESETS["base"] if name.startswith("decoder"))


@pytest.mark.parametrize("options", [{}, {"use_mean_pooling": False}, {"qkv_bias": False, "patch_size": 14}])
@pytest.mark.parametrize("variant", PRESETS)
def test_configuration_from_shapes(variant: str, options: dict[str, Any]) -> None:
    """Few blocks are enough to count, and few tokens; the published widths are real, on the meta device."""
    sizes = {**PRESETS[variant], "num_hidden_layers": 2, "decoder_num_hidden_layers": 3, **options}
    few_tokens = {"image_size": 2 * sizes.get("patch_size", 16), "num_frames": 2}
    with torch.device("meta"):
        config = transformers.VideoMAEConfig(**sizes, **few_tokens, num_labels=11)
        classifier = transformers.VideoMAEForVideoClassification(config)
        pretraining = transformers.VideoMAEForPreTraining(config)
    wanted = VideoMAEConfig(**sizes, num_labels=11, layer_norm_eps=1e-6, head_layer_norm_eps=1e-6)
    norms = ("layer_norm_eps", "head_layer_norm_eps")

    found = infer_config(original_state(classifier))
    assert found == {name: getattr(wanted, name) for name in (*SIZES, *norms, "num_labels")}
    found = infer_config(original_state(pretraining))
    assert found == {name: getattr(wanted, name) for name in (*SIZES, *norms, *DECODER_SIZES)}


def test_configuration_of_the_giant() -> None:
    sizes = {"hidden_size": 1408, "num_attention_heads": 16, "intermediate_size": 6144, "num_hidden_layers": 1}
    with torch.device("meta"):
        config = transformers.VideoMAEConfig(**sizes, patch_size=14, image_size=28, num_frames=2)
        model = transformers.VideoMAEForVideoClassification(config)
    found = infer_config(original_state(model))
    assert {name: found[name] for name in sizes} == sizes
    assert found["patch_size"] == 14


def test_features_without_a_head() -> None:
    state = original_state(hf_model("VideoMAEForVideoClassification", hidden_size=64))
    bare = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    assert infer_config(bare)["num_labels"] == 0


def test_shapes_that_tell_nothing() -> None:
    state = original_state(hf_model("VideoMAEForVideoClassification", hidden_size=64))
    del state["patch_embed.proj.weight"]
    with pytest.raises(ModelError, match=r"no 5-dimensional weight 'videomae\.embeddings\.projection\.weight'"):
        infer_config(state)
    with pytest.raises(ModelError, match="a width of 32 is none of VideoMAE's"):
        infer_config(original_state(hf_model("VideoMAEForVideoClassification", hidden_size=32)))
