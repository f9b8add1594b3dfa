"""The configuration: every field of the documentation, both spellings, labels, and errors that name the field."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from videomae_cli.errors import ModelError, UsageError
from videomae_cli.model.config import VideoMAEConfig

DOCUMENTED = {  # fields and defaults as the documentation lists them
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "num_frames": 16,
    "tubelet_size": 2,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
    "use_mean_pooling": True,
    "decoder_num_attention_heads": 6,
    "decoder_hidden_size": 384,
    "decoder_num_hidden_layers": 4,
    "decoder_intermediate_size": 1536,
    "norm_pix_loss": True,
}


def test_defaults_are_the_documented_ones() -> None:
    config = VideoMAEConfig()
    assert {name: getattr(config, name) for name in DOCUMENTED} == DOCUMENTED
    assert VideoMAEConfig(*DOCUMENTED.values()) == config  # in the documented order, too


def test_derived_sizes() -> None:
    config = VideoMAEConfig(image_size=(160, 224), num_frames=8)
    assert config.patch_shape == (2, 16, 16)
    assert config.grid == (4, 10, 14)
    assert (config.num_patches_per_frame, config.num_tokens, config.num_pixels_per_patch) == (140, 560, 1536)
    assert VideoMAEConfig().num_tokens == 1568
    assert VideoMAEConfig(return_dict=False).use_return_dict is False


@pytest.mark.parametrize(
    ("variant", "width", "depth", "heads", "mlp", "decoder_width", "decoder_depth", "decoder_heads"),
    [
        ("small", 384, 12, 6, 1536, 192, 4, 3),
        ("base", 768, 12, 12, 3072, 384, 4, 6),
        ("large", 1024, 24, 16, 4096, 512, 12, 8),
        ("huge", 1280, 32, 16, 5120, 640, 12, 8),
    ],
)
def test_presets(
    variant: str,
    width: int,
    depth: int,
    heads: int,
    mlp: int,
    decoder_width: int,
    decoder_depth: int,
    decoder_heads: int,
) -> None:
    assert VideoMAEConfig.preset(variant) == VideoMAEConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=mlp,
        decoder_hidden_size=decoder_width,
        decoder_num_hidden_layers=decoder_depth,
        decoder_num_attention_heads=decoder_heads,
        decoder_intermediate_size=4 * decoder_width,
    )


def test_two_spellings_of_one_flag() -> None:
    for config in (VideoMAEConfig(qkv_bias=False), VideoMAEConfig(qv_bias=False)):
        assert config.qkv_bias is config.qv_bias is False
        config.qv_bias = True
        assert config.qkv_bias is config.qv_bias is True
    assert VideoMAEConfig(qkv_bias=False, qv_bias=False).qv_bias is False
    with pytest.raises(UsageError, match="contradict"):
        VideoMAEConfig(qkv_bias=True, qv_bias=False)


def test_labels() -> None:
    assert VideoMAEConfig().id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert VideoMAEConfig(num_labels=0).num_labels == 0
    named = VideoMAEConfig.from_dict({"id2label": {"0": "run", "1": "jump", "2": "sit"}})
    assert named.id2label == {0: "run", 1: "jump", 2: "sit"}
    assert named.label2id == {"run": 0, "jump": 1, "sit": 2}
    assert named.num_labels == 3
    named.num_labels = 2
    assert named.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert named.label2id == {"LABEL_0": 0, "LABEL_1": 1}
    with pytest.raises(UsageError, match="num_labels=2, but id2label names 3"):
        VideoMAEConfig(num_labels=2, id2label={0: "a", 1: "b", 2: "c"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0 is not an integer from 1 to"),
        ({"num_frames": "16"}, "num_frames='16' is not an integer from 1 to"),
        ({"num_hidden_layers": 1.5}, "num_hidden_layers=1.5 is not an integer from 1 to"),
        ({"num_attention_heads": 7}, "hidden_size=768 is not a multiple of num_attention_heads=7"),
        ({"decoder_hidden_size": 100}, "decoder_hidden_size=100 is not a multiple of decoder_num_attention_heads=6"),
        ({"image_size": 225}, "image_size=225 is not a multiple of patch_size=16"),
        ({"image_size": (224, 225)}, r"image_size=\(224, 225\) is not a multiple of patch_size=16"),
        ({"image_size": (224, 224, 3)}, "image_size=.* is not a positive integer or a pair"),
        ({"patch_size": -16}, "patch_size=-16 is not a positive integer"),
        ({"num_frames": 15}, "num_frames=15 is not a multiple of tubelet_size=2"),
        ({"hidden_dropout_prob": 1.0}, r"hidden_dropout_prob=1.0 is not in \[0, 1\)"),
        ({"drop_path_rate": -0.1}, r"drop_path_rate=-0.1 is not in \[0, 1\)"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps=nan is not a number"),
        ({"qv_bias": "no"}, "qkv_bias='no' is not true or false"),
        ({"num_labels": -1}, "num_labels=-1 is not an integer"),
        ({"num_labels": "5"}, "num_labels='5' is not an integer"),
        ({"use_mean_pooling": "no"}, "use_mean_pooling='no' is not true or false"),
        ({"hidden_act": "swish"}, "hidden_act='swish' is not one of gelu, relu, selu, gelu_new"),
        ({"problem_type": "ranking"}, "problem_type='ranking' is not one of regression"),
        ({"id2label": ["run", "jump"]}, "id2label=.* is not a mapping of indices to names"),
        ({"id2label": {"first": "run"}}, "id2label=.* is not a mapping of indices to names"),
        ({"model_type": "vit"}, "model_type='vit' is not 'videomae'"),
    ],
)
def test_errors_name_the_field(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VideoMAEConfig.from_dict(values)


def test_no_such_option_or_variant() -> None:
    with pytest.raises(TypeError, match="hidden_sise"):
        VideoMAEConfig(hidden_sise=768)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="no variant 'giant'"):
        VideoMAEConfig.preset("giant")


def test_dictionary_round_trip_keeps_what_it_does_not_know() -> None:
    config = VideoMAEConfig(
        image_size=(160, 224), qkv_bias=False, num_labels=3, problem_type="regression", drop_path_rate=0.1
    )
    config.extra = {"architectures": ["VideoMAEModel"], "transformers_version": "4.57.1"}
    values = json.loads(json.dumps(config.to_dict()))  # as a file would hold it
    assert values["model_type"] == "videomae"
    assert values["qkv_bias"] is values["qv_bias"] is False
    assert values["architectures"] == ["VideoMAEModel"]
    assert VideoMAEConfig.from_dict(values) == config
    assert copy.deepcopy(config) == config
    assert VideoMAEConfig.from_dict(VideoMAEConfig(num_labels=0).to_dict()).num_labels == 0


def test_transformers_reads_ours_and_we_read_theirs(tmp_path: Path) -> None:
    ours = VideoMAEConfig(qkv_bias=False, id2label={0: "run", 1: "jump", 2: "sit"}, layer_norm_eps=1e-6, num_frames=8)
    ours.save_pretrained(tmp_path / "ours")
    theirs = transformers.VideoMAEConfig.from_pretrained(tmp_path / "ours")
    for name in {*DOCUMENTED, "num_labels", "id2label", "label2id"} - {"qkv_bias"}:
        assert getattr(theirs, name) == getattr(ours, name), name
    assert theirs.qv_bias is False

    theirs.save_pretrained(tmp_path / "theirs")
    again = VideoMAEConfig.from_pretrained(tmp_path / "theirs")
    assert again.extra.pop("transformers_version") == transformers.__version__
    assert again == ours


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit", "hidden_size": 768}')
    with pytest.raises(ModelError, match=r"config\.json: model_type='vit'"):
        VideoMAEConfig.from_pretrained(tmp_path)
    with pytest.raises(UsageError, match="cannot be saved"):
        VideoMAEConfig(hidden_act=abs).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()
