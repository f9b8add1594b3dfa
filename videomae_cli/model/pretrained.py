"""from_pretrained and save_pretrained, shared by the three models.

Loading is strict: a weight that is missing, left over, of another shape or not finite is an error that names it.
"""

from __future__ import annotations

import copy
import functools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import ModelError, UsageError
from ..weights.hub import CheckpointFiles, locate
from ..weights.keymaps import PUBLISHED_HEADS, detect_layout, infer_config, to_hf, to_ours
from ..weights.read import read_json, read_tensors
from ..weights.write import write_tensors
from .config import VideoMAEConfig

_Model = TypeVar("_Model", bound="PretrainedModel")

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
_NOT_IN_AN_ENCODER = ("fc_norm.", "classifier.", "encoder_to_decoder.", "mask_token", "decoder.")
"""What a bare VideoMAEModel may leave unused in a checkpoint that was saved with a classifier or a decoder."""
_HINTS = (  # a name that the checkpoint has, one that it lacks, and what that combination means
    (
        "encoder_to_decoder.weight",
        "classifier.weight",
        "This is a pretraining checkpoint: it has no classifier yet. Train one with `videomae finetune`, "
        "or load it as VideoMAEForPreTraining or VideoMAEModel.",
    ),
    (
        "classifier.weight",
        "encoder_to_decoder.weight",
        "This is a classification checkpoint: it has no decoder. Load it as VideoMAEForVideoClassification.",
    ),
)
MAX_TOKENS = 2**15
"""Most tokens of one clip; the published recipes have 1568, and the time to attend grows with the square."""

_MAX_GROUPS = 6  # of like names, in one list of an error


class PretrainedModel(nn.Module):
    """A model that is loaded from, and saved to, a checkpoint.

    Attributes:
        config: what it was built from.
        load_warnings: what the user should know of the checkpoint that it was loaded from; each was also warned of.
    """

    config: VideoMAEConfig
    load_warnings: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(
        cls: type[_Model],
        name_or_path: str | os.PathLike[str],
        *,
        config: VideoMAEConfig | None = None,
        attn_implementation: str = "sdpa",
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> _Model:
        """Load a checkpoint of transformers, of the original code, or of this project.

        The weights stay memory-mapped and copy-on-write: training them never alters the file.

        Args:
            name_or_path: an alias, a hub id, a folder, or a .safetensors or .pth file.
            config: used instead of the checkpoint's own.
            attn_implementation: "sdpa" or "eager".
            dtype: of the weights, as a torch.dtype or its name; "auto" is as stored, None is float32.
            torch_dtype: the former name of `dtype`.
            revision: branch, tag or commit of a hub repository.
            offline: use what is cached and make no request.
            local_files_only: what transformers calls `offline`.
            token: hub token; never printed.

        Returns:
            The model on the CPU, in evaluation mode.

        Raises:
            ModelError: the checkpoint cannot be found, fetched or read, or it does not fit.
            UsageError: an argument is none of its choices.
        """
        wanted = _one_dtype(dtype, torch_dtype)
        files = locate(
            name_or_path, revision=revision, offline=offline or local_files_only, token=token, need=["weights"]
        )
        stored = read_tensors(files.weights)
        notes: list[str] = []
        config = copy.deepcopy(config) if config is not None else _read_config(files, stored, notes)
        tensors = to_ours(stored)
        notes += _mend_small(config, tensors)
        _check_sizes(config, tensors, files.source)
        with torch.device("meta"), _NoInitialization():  # nothing is drawn that is replaced at once
            model = cls(config, attn_implementation=attn_implementation)
        fitting = _fit(model, tensors, files.source)
        target = wanted or functools.reduce(torch.promote_types, (tensor.dtype for tensor in fitting.values()))
        model.load_state_dict({name: tensor.to(target) for name, tensor in fitting.items()}, assign=True)
        if "classifier.weight" in fitting and not config.use_mean_pooling:
            notes.append(
                f"{files.source} says use_mean_pooling=false: it classifies from the first token, not from the mean"
            )
        for note in notes:
            warnings.warn(note, stacklevel=2)
        model.load_warnings = tuple(notes)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], max_shard_size: int | str = "5GB") -> None:
        """Write `config.json` and `model.safetensors` as transformers reads them.

        Args:
            folder: where to; made when absent, and a checkpoint in it is replaced.
            max_shard_size: the largest file, in bytes or as "200MB", "5GB"; larger models are split, with an index.

        Raises:
            UsageError: `max_shard_size` is not a size, or the configuration cannot be written as JSON.
            MachineError: the folder cannot be written or the disk is full.
        """
        config = copy.deepcopy(self.config)
        config.extra.pop("torch_dtype", None)
        config.extra |= {"architectures": [type(self).__name__], "dtype": str(self.dtype).removeprefix("torch.")}
        state = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        config.save_pretrained(folder)  # first: a configuration that JSON cannot hold is refused here
        write_tensors(Path(folder), to_hf(state, (config.num_channels, *config.patch_shape)), max_shard_size)

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Number of weights.

        Args:
            only_trainable: leave out those that do not require a gradient.
        """
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype


class _NoInitialization(TorchFunctionMode):
    """Skips the functions of `torch.nn.init`: normal_ on "meta" imports sympy, which takes longer than to load."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"]
        return func(*args, **kwargs)


def _one_dtype(dtype: torch.dtype | str | None, torch_dtype: torch.dtype | str | None) -> torch.dtype | None:
    """The dtype asked for; None for "as stored"."""
    given = [_DTYPES.get(item, item) if isinstance(item, str) else item for item in (dtype, torch_dtype) if item]
    if len(set(given)) > 1:
        raise UsageError(f"dtype={dtype} and torch_dtype={torch_dtype} contradict each other", "Give one of the two.")
    wanted = given[0] if given else torch.float32
    if isinstance(wanted, str) or not wanted.is_floating_point:
        if wanted == "auto":
            return None
        raise UsageError(f"dtype={wanted} is no type for weights", f"Choose auto, {', '.join(_DTYPES)}.")
    return wanted


def _read_config(files: CheckpointFiles, stored: Mapping[str, Tensor], notes: list[str]) -> VideoMAEConfig:
    """The configuration beside the weights, or what an original checkpoint's shapes tell; guesses go to `notes`."""
    if files.config is None and detect_layout(stored) != "original":
        raise ModelError(f"{files.source} has no config.json", "Put the model's config.json beside its weights.")
    try:
        config = VideoMAEConfig.from_dict(infer_config(stored) if files.config is None else read_json(files.config))
    except UsageError as error:
        hint = error.hint or "Correct the file, or fetch it again."
        raise ModelError(f"{files.config or files.source}: {error.message}", hint) from None
    if files.config is None and config.hidden_size not in PUBLISHED_HEADS:
        num_heads = config.num_attention_heads
        notes.append(f"{files.source} does not say how many attention heads it has; {num_heads} are assumed")
    return config


def _mend_small(config: VideoMAEConfig, tensors: Mapping[str, Tensor]) -> list[str]:
    """Undo what the converter of transformers wrote into the configurations of ViT-S, and say so.

    It wrote 16 heads for 6, see `VideoMAEConfig.mend_heads`, and 12 decoder blocks for 4.
    """
    heads = config.mend_heads()
    notes = [heads] if heads else []
    depth = _num_blocks(tensors, "decoder.blocks.")
    if config.hidden_size == 384 and config.decoder_num_hidden_layers == 12 and depth == 4:
        config.decoder_num_hidden_layers = 4
        notes.append("the configuration says 12 decoder blocks for a width of 384; the weights have 4, and 4 are used")
    return notes


def _check_sizes(config: VideoMAEConfig, tensors: Mapping[str, Tensor], source: str) -> None:
    """Compare first what is costly to build: a false size must not take hours or all memory before it is found."""
    found = {
        "num_hidden_layers": _num_blocks(tensors, r"(videomae\.)?blocks\."),
        "hidden_size": _num_rows(tensors, "videomae.embeddings.projection.weight", "embeddings.projection.weight"),
        "decoder_num_hidden_layers": _num_blocks(tensors, r"decoder\.blocks\."),
        "decoder_hidden_size": _num_rows(tensors, "encoder_to_decoder.weight"),
    }
    for field, size in found.items():
        is_absent = size == 0 and field.startswith("decoder")  # only pretraining has a decoder
        if size != getattr(config, field) and not is_absent:
            raise ModelError(
                f"{source}: {field} is {getattr(config, field)}, but the weights have {size}", "Is the file complete?"
            )
    if config.num_tokens > MAX_TOKENS:
        raise ModelError(
            f"{source}: a clip of {config.num_frames} frames of {config.image_size} px has {config.num_tokens} tokens, "
            f"more than {MAX_TOKENS}",
            "Check num_frames and image_size in config.json.",
        )


def _num_blocks(tensors: Iterable[str], stem: str) -> int:
    return len({match[0] for name in tensors if (match := re.match(rf"{stem}\d+\.", name))})


def _num_rows(tensors: Mapping[str, Tensor], *names: str) -> int:
    """Rows of the first of these weights that is there; 0 where none is."""
    return next((int(tensors[name].shape[0]) for name in names if name in tensors and tensors[name].ndim), 0)


def _fit(model: nn.Module, tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Take exactly the weights that the model has from a checkpoint, or say what stands in the way."""
    expected = model.state_dict()
    if "embeddings.projection.weight" in expected:  # a bare encoder
        tensors = {
            name.removeprefix("videomae."): tensor
            for name, tensor in tensors.items()
            if not name.startswith(_NOT_IN_AN_ENCODER)
        }
    shapes = {name: (tuple(t.shape), tuple(expected[name].shape)) for name, t in tensors.items() if name in expected}
    faults = {
        "missing": expected.keys() - tensors.keys(),
        "unexpected": tensors.keys() - expected.keys(),
        "of another shape": {
            f"{name} is {found}, the model's {wanted}" for name, (found, wanted) in shapes.items() if found != wanted
        },
        "of a type that weights do not have": {
            f"{name} is {tensor.dtype}" for name, tensor in tensors.items() if tensor.dtype not in _DTYPES.values()
        },
        "with NaN or infinite values": {name for name, tensor in tensors.items() if not _is_finite(tensor)},
    }
    lines = [f"\n  {len(names)} {what}: {_grouped(names)}" for what, names in faults.items() if names]
    if lines:
        hints = (hint for has, lacks, hint in _HINTS if has in tensors and lacks in faults["missing"])
        hint = next(hints, "Is it a VideoMAE checkpoint, complete, and of the configuration in its config.json?")
        raise ModelError(f"{source} does not fit {type(model).__name__}:{''.join(lines)}", hint)
    return tensors


def _is_finite(tensor: Tensor) -> bool:
    if tensor.dtype not in _DTYPES.values():
        return True  # refused for its type
    # A sum shows NaN and infinity at a tenth of the cost of looking at each value; it may overflow, hence the second.
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


def _grouped(names: Iterable[str]) -> str:
    """Names in order, those that differ only in the number of their block as one."""
    groups: dict[str, int] = {}
    for name in sorted(names):
        pattern = re.sub(r"blocks\.\d+\.", "blocks.*.", name)
        groups[pattern] = groups.get(pattern, 0) + 1
    shown = [f"{pattern} ({count}x)" if "*" in pattern else pattern for pattern, count in groups.items()]
    more = len(shown) - _MAX_GROUPS
    return ", ".join(shown[:_MAX_GROUPS]) + (f" and {more} more" if more > 0 else "")
