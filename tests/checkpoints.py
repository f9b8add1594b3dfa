"""Checkpoints to test with: written by transformers with random weights, or laid out as the original scripts do."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

CLASSES = ("VideoMAEModel", "VideoMAEForPreTraining", "VideoMAEForVideoClassification")
TINY: dict[str, Any] = {  # 8 tokens of width 32
    "image_size": 32,
    "num_frames": 4,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
    "num_labels": 5,
}


def hf_model(class_name: str, *, seed: int = 0, **config: Any) -> transformers.PreTrainedModel:
    """A model of transformers in evaluation mode with random weights, its biases and norms random too."""
    torch.manual_seed(seed)
    model = getattr(transformers, class_name)(transformers.VideoMAEConfig(**{**TINY, **config}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.set_attn_implementation("eager")
    return model.eval()


def hf_folder(folder: Path, class_name: str, *, seed: int = 0, **config: Any) -> transformers.PreTrainedModel:
    """Write a checkpoint as transformers does and return the model that is in it."""
    model = hf_model(class_name, seed=seed, **config)
    model.save_pretrained(folder)
    return model


def rename_keys(folder: Path, rename: Callable[[str], str]) -> None:
    """Write the weights of a folder anew under other names."""
    path = folder / "model.safetensors"
    save_file({rename(name): tensor for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Write the weights of a folder anew after `change` has altered their dictionary in place."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def change_config(folder: Path, **values: Any) -> None:
    """Set keys of a folder's config.json; None removes one."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


_ORIGINAL_NAMES = (  # (HF pattern, original name), REFERENCE section 4
    (r"^videomae\.embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^videomae\.encoder\.layer", "blocks"),
    (r"^decoder\.decoder_layers", "decoder.blocks"),
    (r"\.attention\.attention\.query\.bias", ".attn.q_bias"),
    (r"\.attention\.attention\.value\.bias", ".attn.v_bias"),
    (r"\.attention\.output\.dense", ".attn.proj"),
    (r"\.layernorm_before", ".norm1"),
    (r"\.layernorm_after", ".norm2"),
    (r"\.intermediate\.dense", ".mlp.fc1"),
    (r"\.output\.dense", ".mlp.fc2"),
    (r"^videomae\.layernorm", "norm"),
    (r"^classifier", "head"),
)


def original_state(model: transformers.PreTrainedModel) -> dict[str, Tensor]:
    """The weights of a model of transformers under the names of the original scripts, q, k and v joined."""
    is_pretraining = isinstance(model, transformers.VideoMAEForPreTraining)
    theirs = model.state_dict()
    state: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        original = name
        for pattern, replacement in _ORIGINAL_NAMES:
            original = re.sub(pattern, replacement, original)
        if original.endswith((".key.weight", ".value.weight")):
            continue
        joined = tensor
        if original.endswith(".query.weight"):
            stem = name.removesuffix("query.weight")
            joined = torch.cat([theirs[f"{stem}{part}.weight"] for part in ("query", "key", "value")])
            original = original.replace("attention.attention.query", "attn.qkv")
        in_encoder = original.startswith(("patch_embed", "blocks", "norm"))
        state[f"encoder.{original}" if is_pretraining and in_encoder else original] = joined.clone()
    return state


def original_file(path: Path, state: Mapping[str, Tensor], container: str = "model") -> Path:
    """Save a state as the original scripts do: in a container, with the command line beside it."""
    arguments = argparse.Namespace(model="vit_base_patch16_224", lr=1e-3)
    torch.save({container: dict(state), "epoch": 3, "args": arguments}, path)
    return path
