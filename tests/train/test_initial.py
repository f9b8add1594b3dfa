"""What a run begins with: drawn weights, or exactly those of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from tests.checkpoints import TINY, change_config, hf_folder, hf_model, original_file, original_state
from videomae_cli.config.schema import ModelSection
from videomae_cli.errors import ModelError, UsageError
from videomae_cli.model.config import VideoMAEConfig
from videomae_cli.model.videomae import VideoMAEForPreTraining, VideoMAEForVideoClassification
from videomae_cli.train.initial import model_config, new_classifier, new_pretraining_model
from videomae_cli.weights.keymaps import to_ours

LABELS = ("down", "left", "right", "up", "still")
HEAD = ("fc_norm.weight", "fc_norm.bias", "classifier.weight", "classifier.bias")
NUM_ENCODER_TENSORS = 2 + 2 * 13  # the patch embedding; of each block qkv, 2 biases, output, 2 norms, MLP
WIDE = {"hidden_size": 64, "num_attention_heads": 1, "decoder_hidden_size": 64, "decoder_num_attention_heads": 1}
"""What an original checkpoint, which does not tell its heads, is taken to have."""


def section(**changes: Any) -> ModelSection:
    return ModelSection(**{**{name: size for name, size in TINY.items() if name != "num_labels"}, **changes})


def classifier(
    init: Path | None, labels: tuple[str, ...] = LABELS, **changes: Any
) -> tuple[VideoMAEForVideoClassification, list[str]]:
    config = model_config(section(**changes), use_mean_pooling=True, id2label=dict(enumerate(labels)))
    return new_classifier(config, "sdpa", None if init is None else str(init), labels)


def autoencoder(init: Path | None, *, norm_pix_loss: bool = True, **changes: Any) -> VideoMAEForPreTraining:
    config = model_config(section(**changes), use_mean_pooling=False, norm_pix_loss=norm_pix_loss)
    return new_pretraining_model(config, "sdpa", None if init is None else str(init))


def assert_carried(model: VideoMAEForVideoClassification, theirs: Any) -> None:
    """Every tensor of the encoder, bit for bit."""
    wanted = to_ours(theirs.state_dict())
    found = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("videomae.")}
    assert len(found) == NUM_ENCODER_TENSORS
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name]), name


# ---- from pretraining to fine-tuning ---------------------------------------------------------------------------------


def test_the_encoder_of_a_pretraining_is_carried_and_the_head_is_new(tmp_path: Path) -> None:
    theirs = hf_folder(tmp_path, "VideoMAEForPreTraining", use_mean_pooling=False)
    model, report = classifier(tmp_path)
    assert_carried(model, theirs)
    assert model.config.use_mean_pooling
    assert model.videomae.norm is None
    assert model.fc_norm is not None
    assert torch.equal(model.fc_norm.weight, torch.ones(32))
    assert torch.equal(model.classifier.bias, torch.zeros(5))
    assert 0 < model.classifier.weight.std() < 4e-5  # 0.02 x 0.001
    assert report == [
        f"{tmp_path}: 28 tensors of the encoder are carried over",
        "its final norm is dropped: fc_norm, after the mean over tokens, is new",
        "the classifier of 5 classes is new",
    ]


def test_a_pretraining_as_the_original_scripts_save_it(tmp_path: Path) -> None:
    theirs = hf_model("VideoMAEForPreTraining", use_mean_pooling=False, **WIDE)
    path = original_file(tmp_path / "checkpoint.pth", original_state(theirs))
    with pytest.warns(UserWarning, match="1 are assumed"):
        model, report = classifier(path, **WIDE)
    assert_carried(model, theirs)
    assert model.config.layer_norm_eps == 1e-6
    assert report[0] == f"{path}: 28 tensors of the encoder are carried over"


@pytest.mark.parametrize("eps", [1e-12, 1e-3])
def test_what_recipes_do_not_name_is_kept(tmp_path: Path, eps: float) -> None:
    hf_folder(tmp_path, "VideoMAEForPreTraining", layer_norm_eps=eps, hidden_act="relu", qkv_bias=False)
    model, _ = classifier(tmp_path, drop_path=0.3)
    assert (model.config.layer_norm_eps, model.config.hidden_act, model.config.qkv_bias) == (eps, "relu", False)
    assert {block.norm1.eps for block in model.videomae.blocks} == {eps}
    assert model.videomae.blocks[0].attention.q_bias is None
    assert [block.drop_path for block in model.videomae.blocks] == [0.0, 0.3]


def test_more_frames_than_the_checkpoint_saw(tmp_path: Path) -> None:
    """Positions are computed, so the encoder is the same."""
    theirs = hf_folder(tmp_path, "VideoMAEForPreTraining", use_mean_pooling=False)
    model, _ = classifier(tmp_path, num_frames=8, image_size=48)
    assert_carried(model, theirs)
    assert (model.config.num_frames, model.config.image_size) == (8, 48)
    assert model(torch.zeros(1, 8, 3, 48, 48)).logits.shape == (1, 5)


# ---- from one classifier to another ----------------------------------------------------------------------------------


def test_a_head_of_the_same_classes_is_carried(tmp_path: Path) -> None:
    theirs = hf_folder(tmp_path, "VideoMAEForVideoClassification", id2label=dict(enumerate(LABELS)), num_labels=5)
    model, report = classifier(tmp_path)
    assert_carried(model, theirs)
    wanted = to_ours(theirs.state_dict())
    assert all(torch.equal(model.state_dict()[name], wanted[name]) for name in HEAD)
    assert report[1:] == ["its classifier is carried over: the 5 classes are the same"]
    pixels = torch.randn(2, 4, 3, 32, 32)
    assert torch.allclose(model.eval()(pixels).logits, theirs(pixels).logits, atol=1e-5)


@pytest.mark.parametrize("labels", [("a", "b"), tuple(reversed(LABELS))], ids=["fewer", "in another order"])
def test_a_head_of_other_classes_is_replaced(tmp_path: Path, labels: tuple[str, ...]) -> None:
    theirs = hf_folder(tmp_path, "VideoMAEForVideoClassification", id2label=dict(enumerate(LABELS)), num_labels=5)
    model, report = classifier(tmp_path, labels)
    assert_carried(model, theirs)
    assert model.classifier.weight.shape == (len(labels), 32)
    assert model.classifier.weight.abs().max() < 1e-3
    assert report[1:] == [f"its classifier of 5 classes is replaced by a new one of {len(labels)}"]


# ---- pretraining that goes on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_mean_pooling", [False, True])
def test_a_pretraining_goes_on_from_every_tensor(tmp_path: Path, use_mean_pooling: bool) -> None:
    theirs = hf_folder(tmp_path, "VideoMAEForPreTraining", use_mean_pooling=use_mean_pooling, layer_norm_eps=1e-3)
    model = autoencoder(tmp_path, num_frames=8, norm_pix_loss=False)
    assert_same_tensors(model, theirs)
    found = model.config
    assert (found.layer_norm_eps, found.use_mean_pooling) == (1e-3, use_mean_pooling)
    assert (found.num_frames, found.norm_pix_loss) == (8, False)  # the recipe's


def test_a_pretraining_goes_on_from_an_original_checkpoint(tmp_path: Path) -> None:
    theirs = hf_model("VideoMAEForPreTraining", use_mean_pooling=False, **WIDE)
    path = original_file(tmp_path / "checkpoint.pth", original_state(theirs))
    with pytest.warns(UserWarning, match="1 are assumed"):
        model = autoencoder(path, **WIDE)
    assert_same_tensors(model, theirs)
    assert {model.config.layer_norm_eps, model.decoder.norm.eps} == {1e-6}


def assert_same_tensors(model: torch.nn.Module, theirs: transformers.PreTrainedModel) -> None:
    found, wanted = model.state_dict(), to_ours(theirs.state_dict())
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


# ---- what does not fit -----------------------------------------------------------------------------------------------


def test_another_encoder_is_refused_by_name(tmp_path: Path) -> None:
    hf_folder(tmp_path, "VideoMAEForPreTraining")
    with pytest.raises(UsageError) as error:
        classifier(tmp_path, hidden_size=48, num_attention_heads=2, patch_size=8)
    assert error.value.message.endswith(
        "hidden_size is 32, the recipe's 48; num_attention_heads is 4, the recipe's 2; patch_size is 16, the recipe's 8"
    )
    assert "model.preset" in error.value.hint


def test_another_decoder_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    hf_folder(tmp_path, "VideoMAEForPreTraining", use_mean_pooling=False)
    with pytest.raises(UsageError, match="decoder_hidden_size is 16, the recipe's 20"):
        autoencoder(tmp_path, decoder_hidden_size=20)
    classifier(tmp_path, decoder_hidden_size=20)  # has none


def test_other_channels_are_refused(tmp_path: Path) -> None:
    hf_folder(tmp_path, "VideoMAEForPreTraining", num_channels=1)
    with pytest.raises(UsageError, match="num_channels is 1, the recipe's 3"):
        classifier(tmp_path)


def test_a_patch_size_of_two_equal_numbers_is_that_number(tmp_path: Path) -> None:
    theirs = hf_folder(tmp_path, "VideoMAEForPreTraining")
    change_config(tmp_path, patch_size=[16, 16])
    model, _ = classifier(tmp_path)
    assert_carried(model, theirs)
    assert model.config.patch_shape == (2, 16, 16)


def test_a_classifier_has_no_decoder_to_pretrain(tmp_path: Path) -> None:
    hf_folder(tmp_path, "VideoMAEForVideoClassification")
    with pytest.raises(ModelError, match="does not fit VideoMAEForPreTraining"):
        autoencoder(tmp_path)


# ---- drawn weights ---------------------------------------------------------------------------------------------------


def test_a_classifier_from_nothing_is_drawn_as_for_pretraining_but_for_its_head() -> None:
    torch.manual_seed(0)
    model, report = classifier(None, hidden_size=256)
    assert report == ["all weights are drawn at random"]
    assert_drawn(model.videomae.blocks[0].mlp.up.weight, deviation=(2 / 320) ** 0.5)
    num_pixels = model.videomae.embeddings.projection.weight.shape[1]
    assert_drawn(model.videomae.embeddings.projection.weight, deviation=(2 / (256 + num_pixels)) ** 0.5)
    assert_drawn(model.classifier.weight, deviation=0.02e-3)
    assert all(tensor.eq(0).all() for name, tensor in model.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_new_head_has_the_scale_that_is_asked_for(scale: float) -> None:
    torch.manual_seed(0)
    config = model_config(section(hidden_size=256), use_mean_pooling=True, id2label=dict(enumerate(LABELS)))
    model, _ = new_classifier(config, "sdpa", None, LABELS, scale)
    assert_drawn(model.classifier.weight, deviation=0.02 * scale)


def test_an_autoencoder_is_drawn_as_v1_draws_it() -> None:
    torch.manual_seed(0)
    model = autoencoder(None, hidden_size=256, decoder_hidden_size=128)
    up = model.videomae.blocks[0].mlp.up.weight  # (64, 256): Xavier's bound is sqrt(6 / 320)
    assert up.abs().max() <= (6 / 320) ** 0.5
    assert_drawn(up, deviation=(2 / 320) ** 0.5)
    assert_drawn(model.mask_token, deviation=0.02)


def assert_drawn(weight: Tensor, deviation: float) -> None:
    expected = pytest.approx(deviation, rel=0.15)
    assert float(weight.detach().std()) == expected
    assert abs(float(weight.detach().mean())) <= deviation / 4


def test_the_norms_of_a_drawn_model_are_those_of_v1() -> None:
    config = model_config(section(), use_mean_pooling=True)
    assert isinstance(config, VideoMAEConfig)
    assert (config.layer_norm_eps, config.hidden_size) == (1e-6, 32)
