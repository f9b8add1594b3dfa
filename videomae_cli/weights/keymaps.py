"""Names of weights: transformers (4 and 5) and original (V1, V2) checkpoints <-> ours.

A layout is three tables: the stem of each stack of blocks, the parts of a block, and the names outside the blocks. What
no table knows keeps its name, so that a strict load can report it: nothing is dropped.

    ours      videomae.blocks.0.attention.qkv.weight          one projection, in the order q, k, v
    hf        videomae.encoder.layer.0.attention.attention.query.weight, ...key..., ...value...
    original  [encoder.]blocks.0.attn.qkv.weight

Letters: D width, C channels, t frames and p pixels of a patch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from ..errors import ModelError

Layout = Literal["hf", "original", "ours"]

CONTAINERS = ("module.", "_orig_mod.", "backbone.", "model.")  # DistributedDataParallel, torch.compile, wrappers

_HF_STEMS = {  # HF modeling_videomae.py -> ours
    "videomae.encoder.layer.": "videomae.blocks.",
    "encoder.layer.": "blocks.",  # a bare VideoMAEModel
    "decoder.decoder_layers.": "decoder.blocks.",
}
_HF_PARTS = {
    "layernorm_before.weight": "norm1.weight",
    "layernorm_before.bias": "norm1.bias",
    "attention.attention.query.weight": "attention.query.weight",  # on the way to attention.qkv.weight
    "attention.attention.key.weight": "attention.key.weight",
    "attention.attention.value.weight": "attention.value.weight",
    "attention.attention.q_bias": "attention.q_bias",
    "attention.attention.v_bias": "attention.v_bias",
    "attention.output.dense.weight": "attention.output.weight",
    "attention.output.dense.bias": "attention.output.bias",
    "layernorm_after.weight": "norm2.weight",
    "layernorm_after.bias": "norm2.bias",
    "intermediate.dense.weight": "mlp.up.weight",
    "intermediate.dense.bias": "mlp.up.bias",
    "output.dense.weight": "mlp.down.weight",
    "output.dense.bias": "mlp.down.bias",
}
_HF5_PARTS = {  # how the modules of transformers 5 call what its checkpoints call q_bias and v_bias
    "attention.attention.query.bias": "attention.q_bias",
    "attention.attention.value.bias": "attention.v_bias",
}
_HF_NAMES = {
    "embeddings.patch_embeddings.projection.weight": "embeddings.projection.weight",
    "embeddings.patch_embeddings.projection.bias": "embeddings.projection.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_HF_NAMES |= {f"videomae.{theirs}": f"videomae.{ours}" for theirs, ours in _HF_NAMES.items()}

_ORIGINAL_STEMS = {  # V1 modeling_pretrain.py and modeling_finetune.py -> ours
    "encoder.blocks.": "videomae.blocks.",
    "blocks.": "videomae.blocks.",
    "decoder.blocks.": "decoder.blocks.",
}
_ORIGINAL_PARTS = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "attn.qkv.weight": "attention.qkv.weight",
    "attn.q_bias": "attention.q_bias",
    "attn.v_bias": "attention.v_bias",
    "attn.proj.weight": "attention.output.weight",
    "attn.proj.bias": "attention.output.bias",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.fc1.weight": "mlp.up.weight",
    "mlp.fc1.bias": "mlp.up.bias",
    "mlp.fc2.weight": "mlp.down.weight",
    "mlp.fc2.bias": "mlp.down.bias",
}
_ORIGINAL_NAMES = {
    "patch_embed.proj.weight": "videomae.embeddings.projection.weight",
    "patch_embed.proj.bias": "videomae.embeddings.projection.bias",
    "norm.weight": "videomae.norm.weight",
    "norm.bias": "videomae.norm.bias",
}
_ORIGINAL_NAMES |= {f"encoder.{theirs}": ours for theirs, ours in _ORIGINAL_NAMES.items()}
_ORIGINAL_NAMES |= {"head.weight": "classifier.weight", "head.bias": "classifier.bias"}
# Unchanged in all layouts: fc_norm, classifier, encoder_to_decoder, mask_token, decoder.norm, decoder.head.

_TABLES = {
    "hf": (_HF_STEMS, _HF_PARTS | _HF5_PARTS, _HF_NAMES),
    "original": (_ORIGINAL_STEMS, _ORIGINAL_PARTS, _ORIGINAL_NAMES),
}
_TO_HF = tuple({ours: theirs for theirs, ours in table.items()} for table in (_HF_STEMS, _HF_PARTS, _HF_NAMES))
_QKV = "attention.qkv.weight"
_PROJECTION = "embeddings.projection.weight"

# No weight shows how many heads there are. The widths of the papers' encoders and decoders, and their heads:
PUBLISHED_HEADS = {192: 3, 384: 6, 512: 8, 640: 8, 768: 12, 1024: 16, 1280: 16, 1408: 16}


def detect_layout(keys: Iterable[str]) -> Layout:
    """Whose names these are: the layout that knows most of them.

    Args:
        keys: names of weights, container prefixes included.

    Raises:
        ModelError: no layout knows any of them.
    """
    names = [_without_container(key) for key in keys]
    known: dict[Layout, int] = {
        "hf": sum(_translate(name, *_TABLES["hf"]) is not None for name in names),
        "original": sum(_translate(name, *_TABLES["original"]) is not None for name in names),
        "ours": sum(name.endswith(_QKV) or _translate(name, *_TO_HF) is not None for name in names),
    }
    best = max(known, key=lambda layout: known[layout])
    if known[best] == 0:
        example = f", such as {names[0]!r}" if names else ""
        raise ModelError(
            f"no VideoMAE weights among {len(names)} names{example}", "Is this another model's checkpoint?"
        )
    return best


def to_ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename to our names: queries, keys and values merged, the Conv3d patch embedding flattened to a matrix.

    Args:
        tensors: a checkpoint in any layout.

    Returns:
        The same weights in their own dtypes; names that no table knows are unchanged.

    Raises:
        ModelError: no VideoMAE weights, or two names for one weight.
    """
    ours = _renamed(tensors, detect_layout(tensors))
    for name in [name for name in ours if name.endswith("attention.query.weight")]:
        stem = name.removesuffix("query.weight")
        parts = [f"{stem}{part}.weight" for part in ("query", "key", "value")]
        shapes = {ours[part].shape if part in ours else None for part in parts}
        if len(shapes) == 1:  # otherwise the strict load shall name what is missing or misshapen
            ours[f"{stem}qkv.weight"] = torch.cat([ours.pop(part) for part in parts])  # (3D, D)
    for name, tensor in ours.items():
        if name.endswith(_PROJECTION) and tensor.ndim == 5:
            ours[name] = tensor.flatten(1)  # (D, C, t, p, p) -> (D, C*t*p*p)
    return ours


def to_hf(tensors: Mapping[str, Tensor], patch_shape: tuple[int, int, int, int]) -> dict[str, Tensor]:
    """Rename ours to what transformers reads and writes (4 and 5 alike): the inverse of `to_ours`.

    Args:
        tensors: weights under our names.
        patch_shape: (C, t, p, p), the shape of one patch in the Conv3d weight.

    Returns:
        The same weights; q, k and v are slices of one tensor.
    """
    theirs: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(_QKV):
            for part, weight in zip(("query", "key", "value"), tensor.chunk(3), strict=True):  # each (D, D)
                split = name.replace("qkv", part)
                theirs[_translate(split, *_TO_HF) or split] = weight
        else:
            theirs[_translate(name, *_TO_HF) or name] = (
                tensor.reshape(-1, *patch_shape) if name.endswith(_PROJECTION) else tensor
            )
    return theirs


def infer_config(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """What the shapes of an original checkpoint say of its configuration.

    Frames and image size leave no trace in the weights (positions are computed) and are not among the fields.

    Args:
        tensors: an original checkpoint, before `to_ours`.

    Returns:
        Fields of `VideoMAEConfig` by name. Norms are 1e-6 throughout, as V1 and V2 have it. Heads are the papers' where
        the width is one of `PUBLISHED_HEADS`, else 64 wide.

    Raises:
        ModelError: weights are missing, or the width is one whose heads are not known.
    """
    ours = _renamed(tensors, "original")
    hidden_size, num_channels, tubelet_size, *patch = _shape(ours, f"videomae.{_PROJECTION}", 5)
    config: dict[str, object] = {
        "num_channels": num_channels,
        "tubelet_size": tubelet_size,
        "patch_size": patch[0] if len(set(patch)) == 1 else tuple(patch),
        "hidden_size": hidden_size,
        "num_hidden_layers": _num_blocks(ours, "videomae.blocks."),
        "num_attention_heads": _num_heads(hidden_size),
        "intermediate_size": _shape(ours, "videomae.blocks.0.mlp.up.weight", 2)[0],
        "qkv_bias": "videomae.blocks.0.attention.q_bias" in ours,
        "use_mean_pooling": "videomae.norm.weight" not in ours,  # with it, fc_norm takes this norm's place
        "layer_norm_eps": 1e-6,
        "head_layer_norm_eps": 1e-6,
    }
    if "encoder_to_decoder.weight" in ours:
        width = _shape(ours, "encoder_to_decoder.weight", 2)[0]
        return config | {
            "decoder_hidden_size": width,
            "decoder_num_hidden_layers": _num_blocks(ours, "decoder.blocks."),
            "decoder_num_attention_heads": _num_heads(width),
            "decoder_intermediate_size": _shape(ours, "decoder.blocks.0.mlp.up.weight", 2)[0],
        }
    return config | {"num_labels": _shape(ours, "classifier.weight", 2)[0] if "classifier.weight" in ours else 0}


def _without_container(name: str) -> str:
    while name.startswith(CONTAINERS):
        name = name.partition(".")[2]
    return name


def _translate(name: str, stems: dict[str, str], parts: dict[str, str], names: dict[str, str]) -> str | None:
    """The other layout's name; None where the tables do not know this one."""
    block = re.fullmatch(r"(\D+)(\d+)\.(.+)", name)
    if block and block[1] in stems and block[3] in parts:
        return f"{stems[block[1]]}{block[2]}.{parts[block[3]]}"
    return names.get(name)


def _renamed(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    ours: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = _without_container(key)
        if layout != "ours":
            name = _translate(name, *_TABLES[layout]) or name
        if name in ours:
            raise ModelError(f"{key!r} is a second name for the weight {name!r}", "The checkpoint is ambiguous.")
        ours[name] = tensor
    return ours


def _shape(tensors: Mapping[str, Tensor], name: str, num_dimensions: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != num_dimensions:
        raise ModelError(f"the checkpoint has no {num_dimensions}-dimensional weight {name!r}", "Is the file complete?")
    return tuple(tensors[name].shape)


def _num_blocks(tensors: Mapping[str, Tensor], stem: str) -> int:
    return 1 + max(
        (int(name.removeprefix(stem).split(".")[0]) for name in tensors if name.startswith(stem)), default=-1
    )


def _num_heads(width: int) -> int:
    if width not in PUBLISHED_HEADS and width % 64:
        raise ModelError(f"a width of {width} is none of VideoMAE's", "Put a config.json beside the weights.")
    return PUBLISHED_HEADS.get(width, width // 64)
