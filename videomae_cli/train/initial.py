"""The weights that a run begins with: drawn as the original code draws them, or carried over from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..config.schema import ModelSection, model_fields
from ..errors import UsageError
from ..model.checks import pair
from ..model.config import PRESETS, VideoMAEConfig
from ..model.videomae import VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel
from ..weights.hub import locate
from ..weights.keymaps import to_ours
from ..weights.read import read_tensors

_LAYER_NORM_EPS = 1e-6  # V1; transformers reads it from config.json, except the head's, which is 1e-5 there
# What the weights of an encoder mean; the shapes of the weights do not show all of it.
_ENCODER = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("num_channels", "patch_size", "tubelet_size"),
)
_DECODER = (
    *("decoder_hidden_size", "decoder_num_hidden_layers"),
    *("decoder_num_attention_heads", "decoder_intermediate_size"),
)
# Of a checkpoint's configuration, which recipes do not name.
_KEPT = ("hidden_act", "qkv_bias", "layer_norm_eps")
_KEPT_IN_PRETRAINING = (*_KEPT, "head_layer_norm_eps", "use_mean_pooling")


def model_config(section: ModelSection, **options: Any) -> VideoMAEConfig:
    """The configuration of the model that a recipe describes.

    Args:
        section: `model` of the recipe.
        **options: further fields of `VideoMAEConfig`.

    Raises:
        UsageError: sizes that do not go together.
    """
    fields: dict[str, Any] = {**PRESETS[section.preset], **model_fields(section), "layer_norm_eps": _LAYER_NORM_EPS}
    return VideoMAEConfig(**fields, **options)


def new_pretraining_model(config: VideoMAEConfig, attention: str, init: str | None) -> VideoMAEForPreTraining:
    """A masked autoencoder to train.

    Args:
        config: from `model_config`; takes over what only the checkpoint knows.
        attention: "sdpa" or "eager".
        init: a pretraining checkpoint to go on from; None draws weights (Xavier-uniform matrices, as V1).

    Raises:
        UsageError: the checkpoint is of another architecture.
        ModelError: it cannot be found or loaded.
    """
    if init is not None:
        found = VideoMAEForPreTraining.from_pretrained(init)
        _check_architecture(config, found.config, (*_ENCODER, *_DECODER), init)
        _keep(config, found.config, _KEPT_IN_PRETRAINING)
        model = VideoMAEForPreTraining(config, attention)
        model.load_state_dict(found.state_dict())
        return model
    model = VideoMAEForPreTraining(config, attention)
    _draw(model)
    nn.init.trunc_normal_(model.mask_token, std=0.02)
    return model


def new_classifier(
    config: VideoMAEConfig, attention: str, init: str | None, labels: Sequence[str], head_scale: float = 1e-3
) -> tuple[VideoMAEForVideoClassification, list[str]]:
    """A classifier to fine-tune.

    Args:
        config: from `model_config`, with mean pooling, as V1 fine-tunes; takes over what only the checkpoint knows.
        attention: "sdpa" or "eager".
        init: a checkpoint whose encoder is carried over, and its head too if that names the same classes; None draws
            all weights as for pretraining: V1's truncated normal is too small for narrow networks to begin with.
        labels: names of the classes.
        head_scale: of a new classifier, V1's `init_scale`.

    Returns:
        The model, and what was carried over and what is new, for the user.

    Raises:
        UsageError: the checkpoint is of another architecture.
        ModelError: it cannot be found or loaded.
    """
    if init is None:
        model = VideoMAEForVideoClassification(config, attention)
        _draw(model, head_scale)
        return model, ["all weights are drawn at random"]
    encoder = VideoMAEModel.from_pretrained(init)
    _check_architecture(config, encoder.config, _ENCODER, init)
    _keep(config, encoder.config, _KEPT)
    model = VideoMAEForVideoClassification(config, attention)
    _draw(model, head_scale)
    has_norm, encoder.norm = encoder.norm is not None, None
    carried = encoder.state_dict()
    model.videomae.load_state_dict(carried)
    report = [f"{init}: {len(carried)} tensors of the encoder are carried over"]
    if has_norm:
        report.append("its final norm is dropped: fc_norm, after the mean over tokens, is new")
    return model, [*report, *_carry_head(model, init, encoder.config, labels)]


def _carry_head(
    model: VideoMAEForVideoClassification, init: str, found: VideoMAEConfig, labels: Sequence[str]
) -> list[str]:
    """Take the head of a classifier where it fits; says what was done."""
    tensors = to_ours(read_tensors(locate(init, need=["weights"]).weights))
    names = {"fc_norm.weight", "fc_norm.bias", "classifier.weight", "classifier.bias"}
    if "classifier.weight" not in tensors:
        return [f"the classifier of {len(labels)} classes is new"]
    if not names <= tensors.keys() or [found.id2label[index] for index in range(found.num_labels)] != list(labels):
        return [f"its classifier of {found.num_labels} classes is replaced by a new one of {len(labels)}"]
    model.load_state_dict({name: tensors[name].float() for name in names}, strict=False)
    return [f"its classifier is carried over: the {len(labels)} classes are the same"]


def _draw(model: nn.Module, head_scale: float = 1.0) -> None:
    """Xavier-uniform matrices; a classifier is V1's truncated normal, scaled."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    if isinstance(model, VideoMAEForVideoClassification) and isinstance(model.classifier, nn.Linear):
        nn.init.trunc_normal_(model.classifier.weight, std=0.02)
        with torch.no_grad():
            model.classifier.weight.mul_(head_scale)


def _keep(config: VideoMAEConfig, found: VideoMAEConfig, names: Sequence[str]) -> None:
    for name in names:
        setattr(config, name, getattr(found, name))


def _check_architecture(wanted: VideoMAEConfig, found: VideoMAEConfig, names: Sequence[str], init: str) -> None:
    differing = [name for name in names if pair(getattr(wanted, name)) != pair(getattr(found, name))]
    if differing:
        lines = (f"{name} is {getattr(found, name)}, the recipe's {getattr(wanted, name)}" for name in differing)
        raise UsageError(
            f"{init} is of another architecture than the recipe: {'; '.join(lines)}",
            "Choose the recipe of that model, or set model.preset and the sizes under model.",
        )
