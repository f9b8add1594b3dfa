"""Checkpoints cross both ways: theirs load here, ours load there, original files load here, with equal outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

import videomae_cli
from tests.checkpoints import (
    CLASSES,
    TINY,
    change_config,
    hf_folder,
    hf_model,
    original_file,
    original_state,
    rename_keys,
)
from videomae_cli import VideoMAEConfig
from videomae_cli.model.pretrained import PretrainedModel

CONFIGS: dict[str, dict[str, object]] = {
    "default": {},
    "token 0": {"use_mean_pooling": False},
    "no biases": {"qv_bias": False},
    "eps": {"layer_norm_eps": 1e-3},
}
HEADS = {"VideoMAEForPreTraining", "VideoMAEForVideoClassification"}


def inputs(class_name: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 4, 3, 32, 32, generator=generator)
    mask = torch.tensor([[True, False, True, True, False, True, True, False]] * 2)
    return {"pixel_values": pixels} | ({"bool_masked_pos": mask} if "PreTraining" in class_name else {})


def output(model: torch.nn.Module, class_name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    values = inputs(class_name)
    values["pixel_values"] = values["pixel_values"].to(dtype)
    with torch.no_grad():
        result = model(**values)
    return (result.logits if class_name in HEADS else result.last_hidden_state).float()


def load(class_name: str, path: Path, **options: object) -> PretrainedModel:
    return getattr(videomae_cli, class_name).from_pretrained(path, attn_implementation="eager", **options)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


pytestmark = pytest.mark.filterwarnings("ignore:.*classifies from the first token")


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("name", CONFIGS)
def test_theirs_here_and_back(tmp_path: Path, class_name: str, name: str) -> None:
    theirs = hf_folder(tmp_path / "theirs", class_name, **CONFIGS[name])
    ours = load(class_name, tmp_path / "theirs")
    expected = output(theirs, class_name)
    assert_same(output(ours, class_name), expected)

    ours.save_pretrained(tmp_path / "ours")
    back, info = getattr(transformers, class_name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    back.set_attn_implementation("eager")
    assert_same(output(back, class_name), expected)
    for parameter, original in zip(back.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(parameter, original)


@pytest.mark.parametrize("class_name", CLASSES)
def test_ours_there(tmp_path: Path, class_name: str) -> None:
    torch.manual_seed(0)
    ours = getattr(videomae_cli, class_name)(VideoMAEConfig(**TINY, use_mean_pooling=False)).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.1)
    ours.save_pretrained(tmp_path)
    theirs, info = getattr(transformers, class_name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert theirs.config.architectures == [class_name]
    assert_same(output(ours, class_name), output(theirs, class_name))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_both_ways(tmp_path: Path, dtype: torch.dtype) -> None:
    class_name = "VideoMAEForVideoClassification"
    theirs = hf_model(class_name).to(dtype)
    theirs.save_pretrained(tmp_path / "theirs")
    stored = load(class_name, tmp_path / "theirs", dtype="auto")
    assert stored.dtype == dtype
    stored.save_pretrained(tmp_path / "ours")
    back = getattr(transformers, class_name).from_pretrained(tmp_path / "ours")
    assert back.dtype == dtype
    for parameter, original in zip(back.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(parameter, original)
    widened = load(class_name, tmp_path / "theirs")
    assert widened.dtype == torch.float32
    assert_same(output(widened, class_name), output(theirs.float(), class_name))
    torch.testing.assert_close(output(stored, class_name, dtype), output(widened, class_name), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("class_name", CLASSES)
def test_sharded_both_ways(tmp_path: Path, class_name: str) -> None:
    theirs = hf_model(class_name)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="100KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 1
    ours = load(class_name, tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours", max_shard_size="100KB")
    assert len(list((tmp_path / "ours").glob("*.safetensors"))) > 1
    back, info = getattr(transformers, class_name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    expected = output(theirs, class_name)
    assert_same(output(ours, class_name), expected)
    assert_same(output(back, class_name), expected)


def to_hf4(name: str) -> str:
    return name.replace("query.bias", "q_bias").replace("value.bias", "v_bias")


def to_hf5(name: str) -> str:
    return name.replace("q_bias", "query.bias").replace("v_bias", "value.bias")


@pytest.mark.parametrize(
    ("rename", "config"),
    [
        (to_hf4, {"qkv_bias": True, "qv_bias": None}),  # 4.x and the hub
        (to_hf5, {"qkv_bias": None, "qv_bias": True}),  # 5.x, as its modules are called
        (to_hf4, {"qkv_bias": None, "qv_bias": None}),  # the default
    ],
)
def test_both_spellings(tmp_path: Path, rename: object, config: dict[str, object]) -> None:
    class_name = "VideoMAEForPreTraining"
    theirs = hf_folder(tmp_path, class_name)
    rename_keys(tmp_path, rename)
    change_config(tmp_path, **config)
    assert_same(output(load(class_name, tmp_path), class_name), output(theirs, class_name))


@pytest.mark.parametrize("class_name", sorted(HEADS))
def test_encoder_of_a_larger_checkpoint(tmp_path: Path, class_name: str) -> None:
    """As transformers: what VideoMAEModel has no place for is left out without a word."""
    theirs = hf_folder(tmp_path, class_name, use_mean_pooling=False)
    ours = load("VideoMAEModel", tmp_path)
    assert_same(output(ours, "VideoMAEModel"), output(theirs.videomae, "VideoMAEModel"))
    assert ours.load_warnings == ()


@pytest.mark.filterwarnings("ignore:.*attention heads.*assumed")  # their width is none of the papers'
@pytest.mark.parametrize("container", ["model", "module", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
@pytest.mark.parametrize("class_name", sorted(HEADS))
def test_original_files(tmp_path: Path, class_name: str, prefix: str, container: str) -> None:
    """Without any configuration: the shapes tell it, but for heads, which the original code has one of per 64."""
    sizes = {"hidden_size": 128, "num_attention_heads": 2, "decoder_hidden_size": 64, "decoder_num_attention_heads": 1}
    theirs = hf_model(class_name, **sizes, layer_norm_eps=1e-6, use_mean_pooling="PreTraining" not in class_name)
    for norm in (getattr(theirs, "fc_norm", None), getattr(getattr(theirs, "decoder", None), "norm", None)):
        if norm is not None:
            norm.eps = 1e-6  # transformers fixes these at 1e-5; the original code has 1e-6 everywhere
    state = {f"{prefix}{name}": tensor for name, tensor in original_state(theirs).items()}
    ours = load(class_name, original_file(tmp_path / "checkpoint.pth", state, container))
    assert_same(output(ours, class_name), output(theirs, class_name))
