"""Strict loading: what fits is loaded as it is, what does not is named; the traps of published configurations."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from tests.checkpoints import TINY, change_config, change_tensors, hf_folder, hf_model, original_file, original_state
from videomae_cli import (
    VideoMAEConfig,
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    VideoMAEModel,
)
from videomae_cli.errors import MachineError, ModelError, UsageError

CLASSIFIER, PRETRAINER = "VideoMAEForVideoClassification", "VideoMAEForPreTraining"
SMALL = {"hidden_size": 384, "num_attention_heads": 16, "num_hidden_layers": 1, "decoder_num_hidden_layers": 4}


def refusal(model: type, path: Path, **options: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        model.from_pretrained(path, **options)
    assert caught.value.exit_code == 3
    return caught.value


def test_loads_quietly_in_evaluation_mode(tmp_path: Path) -> None:
    hf_folder(tmp_path, CLASSIFIER)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = VideoMAEForVideoClassification.from_pretrained(tmp_path)
    assert not model.training
    assert model.load_warnings == ()
    assert model.config.num_labels == 5
    assert model.dtype == torch.float32
    assert model.device == torch.device("cpu")
    expected = hf_model(CLASSIFIER).num_parameters()
    assert model.num_parameters() == model.num_parameters(only_trainable=True) == expected
    model.classifier.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == expected - 5 * 33


@pytest.mark.parametrize(
    ("wanted", "stored", "loaded"),
    [
        (None, torch.float16, torch.float32),
        ("auto", torch.float16, torch.float16),
        ("auto", torch.bfloat16, torch.bfloat16),
        ("float16", torch.float32, torch.float16),
        (torch.bfloat16, torch.float32, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_dtypes(
    tmp_path: Path, name: str, wanted: str | torch.dtype | None, stored: torch.dtype, loaded: torch.dtype
) -> None:
    hf_model("VideoMAEModel").to(stored).save_pretrained(tmp_path)
    model = VideoMAEModel.from_pretrained(tmp_path, **{name: wanted})
    assert {parameter.dtype for parameter in model.parameters()} == {loaded}


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"dtype": torch.int64}, {"torch_dtype": "half"}])
def test_dtypes_that_are_none(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="is no type for weights"):
        VideoMAEModel.from_pretrained(tmp_path, **options)


def test_two_dtypes(tmp_path: Path) -> None:
    hf_folder(tmp_path, "VideoMAEModel")
    model = VideoMAEModel.from_pretrained(tmp_path, dtype="float16", torch_dtype=torch.float16)
    assert model.dtype == torch.float16
    with pytest.raises(UsageError, match="contradict each other"):
        VideoMAEModel.from_pretrained(tmp_path, dtype="float16", torch_dtype="float32")


def test_training_a_loaded_model_leaves_the_file_alone(tmp_path: Path) -> None:
    """The weights are mapped from the file; the optimizer writes to them in place."""
    hf_folder(tmp_path, CLASSIFIER)
    before = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).digest()
    model = VideoMAEForVideoClassification.from_pretrained(tmp_path).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    old = {name: parameter.clone() for name, parameter in model.named_parameters()}
    losses = []
    for _ in range(3):
        loss = model(torch.ones(1, 4, 3, 32, 32), labels=torch.tensor([3])).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    assert all(not torch.equal(parameter, old[name]) for name, parameter in model.named_parameters())
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).digest() == before
    model.save_pretrained(tmp_path)  # over the very file that is mapped
    again = VideoMAEForVideoClassification.from_pretrained(tmp_path)
    for ours, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_missing_and_unexpected_weights_are_listed_in_groups(tmp_path: Path) -> None:
    """A missing q_bias must never pass: transformers 5 once dropped them silently (#48675)."""
    hf_folder(tmp_path, CLASSIFIER)

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for layer in range(2):
            del tensors[f"videomae.encoder.layer.{layer}.attention.attention.q_bias"]
        tensors["videomae.embeddings.cls_token"] = torch.zeros(1)

    change_tensors(tmp_path, change)
    error = refusal(VideoMAEForVideoClassification, tmp_path)
    assert "does not fit VideoMAEForVideoClassification" in error.message
    assert "2 missing: videomae.blocks.*.attention.q_bias (2x)" in error.message
    assert "1 unexpected: videomae.embeddings.cls_token" in error.message


def test_long_lists_are_cut(tmp_path: Path) -> None:
    hf_folder(tmp_path, CLASSIFIER)
    change_tensors(tmp_path, lambda tensors: tensors.update({f"extra{i}": torch.zeros(1) for i in range(50)}))
    error = refusal(VideoMAEForVideoClassification, tmp_path)
    assert "50 unexpected: extra0, extra1, extra10, extra11, extra12, extra13 and 44 more" in error.message


def test_labels_that_differ_from_the_head(tmp_path: Path) -> None:
    hf_folder(tmp_path, CLASSIFIER)
    names = {str(i): f"LABEL_{i}" for i in range(7)}
    change_config(tmp_path, id2label=names, label2id={name: int(i) for i, name in names.items()})
    error = refusal(VideoMAEForVideoClassification, tmp_path)
    assert (
        "2 of another shape: classifier.bias is (5,), the model's (7,), classifier.weight is (5, 32)" in error.message
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    hf_folder(tmp_path, CLASSIFIER)
    change_tensors(tmp_path, lambda tensors: tensors["fc_norm.bias"].view(-1)[3:4].fill_(value))
    error = refusal(VideoMAEForVideoClassification, tmp_path)
    assert "1 with NaN or infinite values: fc_norm.bias" in error.message


def test_large_finite_weights_are_finite(tmp_path: Path) -> None:
    hf_folder(tmp_path, CLASSIFIER)
    change_tensors(tmp_path, lambda tensors: tensors["fc_norm.bias"].fill_(3e38))
    assert VideoMAEForVideoClassification.from_pretrained(tmp_path).fc_norm.bias[0] == 3e38


@pytest.mark.parametrize("dtype", [torch.int64, torch.float8_e4m3fn, torch.complex64])
def test_weights_of_no_use(tmp_path: Path, dtype: torch.dtype) -> None:
    hf_folder(tmp_path, CLASSIFIER)
    change_tensors(tmp_path, lambda tensors: tensors.update({"fc_norm.bias": torch.zeros(32).to(dtype)}))
    error = refusal(VideoMAEForVideoClassification, tmp_path)
    assert f"1 of a type that weights do not have: fc_norm.bias is {dtype}" in error.message


@pytest.mark.parametrize(
    ("written", "model", "hint"),
    [
        (PRETRAINER, VideoMAEForVideoClassification, "Train one with `videomae finetune`"),
        (CLASSIFIER, VideoMAEForPreTraining, "Load it as VideoMAEForVideoClassification"),
        ("VideoMAEModel", VideoMAEForVideoClassification, "Is it a VideoMAE checkpoint"),
    ],
)
def test_checkpoint_of_another_model(tmp_path: Path, written: str, model: type, hint: str) -> None:
    hf_folder(tmp_path, written)
    assert hint in refusal(model, tmp_path).hint


def test_number_of_blocks_that_the_weights_do_not_have(tmp_path: Path) -> None:
    hf_folder(tmp_path, PRETRAINER)
    change_config(tmp_path, num_hidden_layers=1_000_000)
    error = refusal(VideoMAEForPreTraining, tmp_path)
    assert "num_hidden_layers is 1000000, but the weights have 2" in error.message
    change_config(tmp_path, num_hidden_layers=2, decoder_num_hidden_layers=3)
    error = refusal(VideoMAEForPreTraining, tmp_path)
    assert "decoder_num_hidden_layers is 3, but the weights have 1" in error.message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert"}, "model_type='bert' is not 'videomae'"),
        ({"hidden_size": -1}, "hidden_size=-1 is not an integer from 1 to"),
        ({"hidden_size": "wide"}, "hidden_size='wide' is not an integer from 1 to"),
        ({"hidden_act": "swish"}, "hidden_act='swish' is not one of"),
        ({"num_attention_heads": 5}, "is not a multiple of num_attention_heads=5"),
        ({"hidden_size": 48}, "hidden_size is 48, but the weights have 32"),
        ({"hidden_size": 10**6}, f"hidden_size is {10**6}, but the weights have 32"),
        ({"image_size": 32000}, "frames of 32000 px has 8000000 tokens, more than 32768"),
    ],
)
def test_configuration_that_is_none(tmp_path: Path, values: dict[str, object], message: str) -> None:
    hf_folder(tmp_path, CLASSIFIER)
    change_config(tmp_path, **values)
    assert re.search(re.escape(message), refusal(VideoMAEForVideoClassification, tmp_path).message)


def test_weights_of_transformers_without_their_configuration(tmp_path: Path) -> None:
    hf_folder(tmp_path, CLASSIFIER)
    (tmp_path / "config.json").unlink()
    assert "has no config.json" in refusal(VideoMAEForVideoClassification, tmp_path).message
    model = VideoMAEForVideoClassification.from_pretrained(tmp_path, config=VideoMAEConfig(**TINY))
    assert model.config.num_frames == 4


def test_a_given_configuration_is_used_and_not_altered(tmp_path: Path) -> None:
    hf_folder(tmp_path, CLASSIFIER, **SMALL)
    config = VideoMAEConfig(**{**TINY, **SMALL, "hidden_dropout_prob": 0.5})
    with pytest.warns(UserWarning, match="16 attention heads"):
        model = VideoMAEForVideoClassification.from_pretrained(tmp_path, config=config)
    assert model.config.hidden_dropout_prob == 0.5
    assert (model.config.num_attention_heads, config.num_attention_heads) == (6, 16)


def test_small_checkpoints_have_six_heads_whatever_they_say(tmp_path: Path) -> None:
    hf_folder(tmp_path, CLASSIFIER, **SMALL)
    with pytest.warns(UserWarning, match="16 attention heads for a width of 384; ViT-S has 6") as caught:
        model = VideoMAEForVideoClassification.from_pretrained(tmp_path)
    assert model.config.num_attention_heads == 6
    assert model.load_warnings == tuple(str(warning.message) for warning in caught)
    right = hf_model(CLASSIFIER, **{**SMALL, "num_attention_heads": 6})
    pixels = torch.randn(1, 4, 3, 32, 32)
    torch.testing.assert_close(model(pixels).logits, right(pixels).logits, rtol=1e-4, atol=1e-5)


def test_small_checkpoints_have_four_decoder_blocks_whatever_they_say(tmp_path: Path) -> None:
    hf_folder(tmp_path, PRETRAINER, **{**SMALL, "num_attention_heads": 6})
    change_config(tmp_path, decoder_num_hidden_layers=12)
    with pytest.warns(UserWarning, match="12 decoder blocks for a width of 384; the weights have 4"):
        model = VideoMAEForPreTraining.from_pretrained(tmp_path)
    assert len(model.decoder.blocks) == model.config.decoder_num_hidden_layers == 4


def test_classifying_from_token_zero_is_warned_of(tmp_path: Path) -> None:
    hf_folder(tmp_path, CLASSIFIER, use_mean_pooling=False)
    with pytest.warns(UserWarning, match="classifies from the first token"):
        model = VideoMAEForVideoClassification.from_pretrained(tmp_path)
    assert len(model.load_warnings) == 1


def test_configuration_survives_loading_and_saving(tmp_path: Path) -> None:
    hf_folder(tmp_path / "a", CLASSIFIER, id2label={0: "run", 1: "jump"}, num_labels=2, layer_norm_eps=1e-4)
    change_config(tmp_path / "a", a_key_of_the_future=[1, 2], torch_dtype="float16")
    model = VideoMAEForVideoClassification.from_pretrained(tmp_path / "a")
    model.save_pretrained(tmp_path / "b")
    again = VideoMAEConfig.from_pretrained(tmp_path / "b")
    assert again.id2label == {0: "run", 1: "jump"}
    assert again.layer_norm_eps == 1e-4
    assert again.extra["a_key_of_the_future"] == [1, 2]
    assert again.extra["architectures"] == [CLASSIFIER]
    assert again.extra["dtype"] == "float32"
    assert "torch_dtype" not in again.extra


def test_original_file_with_a_configuration_beside_it(tmp_path: Path) -> None:
    theirs = hf_folder(tmp_path, CLASSIFIER)  # 4 heads for a width of 32: no original checkpoint has that
    (tmp_path / "model.safetensors").unlink()
    path = original_file(tmp_path / "checkpoint.pth", original_state(theirs))
    for source in (path, tmp_path):
        model = VideoMAEForVideoClassification.from_pretrained(source)
        pixels = torch.randn(1, 4, 3, 32, 32)
        torch.testing.assert_close(model(pixels).logits, theirs(pixels).logits, rtol=1e-4, atol=1e-5)


def test_saving_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot write"):
        VideoMAEModel(VideoMAEConfig(**TINY)).save_pretrained(tmp_path / "file")


def test_saving_changes_nothing_of_the_model(tmp_path: Path) -> None:
    model = VideoMAEModel(VideoMAEConfig(**TINY))
    model.save_pretrained(tmp_path)
    assert model.config == VideoMAEConfig(**TINY)


def test_loading_is_quick_because_nothing_is_drawn(tmp_path: Path) -> None:
    """torch draws random numbers for "meta" tensors through sympy, whose import takes longer than to load."""
    hf_folder(tmp_path, CLASSIFIER)
    code = (
        "import sys; from videomae_cli import VideoMAEForVideoClassification as Model\n"
        "Model.from_pretrained(sys.argv[1]); print('sympy' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert process.stdout == "False\n"
