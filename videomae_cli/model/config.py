"""VideoMAEConfig: everything that fixes the shape and the arithmetic of a model, under the names of transformers.

Imports no torch, so that reading a configuration stays cheap.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import InitVar, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import ModelError, UsageError
from .checks import MAX_COUNT, is_count, is_naming, is_number, is_size, pair, require

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
ACTIVATIONS = ("gelu", "relu", "selu", "gelu_new")
CONFIG_FILE = "config.json"

_SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("decoder_hidden_size", "decoder_num_hidden_layers"),
    *("decoder_num_attention_heads", "decoder_intermediate_size"),
)
PRESETS = {  # the published variants; V1 modeling_finetune.py and modeling_pretrain.py
    "small": dict(zip(_SIZES, (384, 12, 6, 1536, 192, 4, 3, 768), strict=True)),
    "base": dict(zip(_SIZES, (768, 12, 12, 3072, 384, 4, 6, 1536), strict=True)),
    "large": dict(zip(_SIZES, (1024, 24, 16, 4096, 512, 12, 8, 2048), strict=True)),
    "huge": dict(zip(_SIZES, (1280, 32, 16, 5120, 640, 12, 8, 2560), strict=True)),
}
_COUNTS = ("num_channels", "num_frames", "tubelet_size", *_SIZES)
_PROBABILITIES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate", "head_dropout_prob")
_DEVIATIONS = ("layer_norm_eps", "head_layer_norm_eps", "initializer_range")
_FLAGS = ("qkv_bias", "use_mean_pooling", "norm_pix_loss", "output_attentions", "output_hidden_states", "return_dict")
_MULTIPLES = (
    ("image_size", "patch_size"),
    ("num_frames", "tubelet_size"),
    ("hidden_size", "num_attention_heads"),
    ("decoder_hidden_size", "decoder_num_attention_heads"),
)


def _placeholder_labels(num_labels: int) -> dict[int, str]:
    return {index: f"LABEL_{index}" for index in range(num_labels)}


@dataclass
class _Fields:
    """What `VideoMAEConfig` stores, in the order of its arguments; documented there."""

    image_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    num_channels: int = 3
    num_frames: int = 16
    tubelet_size: int = 2

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str | Callable[..., Any] = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12

    qkv_bias: bool | None = None  # never None once constructed
    use_mean_pooling: bool = True

    decoder_num_attention_heads: int = 6
    decoder_hidden_size: int = 384
    decoder_num_hidden_layers: int = 4
    decoder_intermediate_size: int = 1536
    norm_pix_loss: bool = True

    num_labels: InitVar[int | None] = None
    id2label: dict[int, str] = field(default_factory=lambda: _placeholder_labels(2))
    label2id: dict[str, int] = field(default_factory=dict)
    problem_type: ProblemType | None = None

    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True

    head_layer_norm_eps: float = 1e-5
    drop_path_rate: float = 0.0
    head_dropout_prob: float = 0.0
    qv_bias: InitVar[bool | None] = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self, num_labels: int | None, qv_bias: bool | None) -> None:
        require(self, "qkv_bias", self.qkv_bias in (None, True, False), "true or false")
        given = {flag for flag in (self.qkv_bias, qv_bias) if flag is not None}
        if len(given) > 1:
            raise UsageError(
                f"qkv_bias={self.qkv_bias} and qv_bias={qv_bias} contradict each other",
                "They are two names of one field: give one.",
            )
        self.qkv_bias = given.pop() if given else True
        require(self, "id2label", is_naming(self.id2label), "a mapping of indices to names")
        self.id2label = {int(index): str(name) for index, name in self.id2label.items()}
        if num_labels is not None and num_labels != len(self.id2label):
            if num_labels != 0 and not is_count(num_labels):
                raise UsageError(f"num_labels={num_labels!r} is not an integer from 0 to {MAX_COUNT}")
            if self.id2label != _placeholder_labels(2):
                raise UsageError(f"num_labels={num_labels}, but id2label names {len(self.id2label)} classes")
            self.id2label = _placeholder_labels(num_labels)
        self.label2id = self.label2id or {name: index for index, name in self.id2label.items()}
        self.validate()

    def validate(self) -> None:
        """Check every value, and the values against each other.

        Raises:
            UsageError: names the field, its value and what it may be.
        """
        for name in _COUNTS:
            require(self, name, is_count(getattr(self, name)), f"an integer from 1 to {MAX_COUNT}")
        for name in _PROBABILITIES:
            require(self, name, is_number(value := getattr(self, name)) and 0 <= value < 1, "in [0, 1)")
        for name in _DEVIATIONS:
            require(self, name, is_number(value := getattr(self, name)) and value >= 0, "a number, 0 or more")
        for name in _FLAGS:
            require(self, name, isinstance(getattr(self, name), bool), "true or false")
        for name in ("image_size", "patch_size"):
            require(self, name, is_size(getattr(self, name)), "a positive integer or a pair of them, in pixels")
        known_act = callable(self.hidden_act) or self.hidden_act in ACTIVATIONS
        require(self, "hidden_act", known_act, f"one of {', '.join(ACTIVATIONS)}, or a function")
        problems = get_args(ProblemType)
        require(self, "problem_type", self.problem_type in (None, *problems), f"one of {', '.join(problems)}, or None")
        for whole, part in _MULTIPLES:
            sizes = zip(pair(getattr(self, whole)), pair(getattr(self, part)), strict=True)
            fits = all(size % divisor == 0 for size, divisor in sizes)
            require(self, whole, fits, f"a multiple of {part}={getattr(self, part)!r}")


class VideoMAEConfig(_Fields):
    """The configuration of a model; the defaults give VideoMAE-base on 16 frames of 224 x 224 pixels.

    It may be changed after it was made; a model built from it checks it once more.

    Args:
        image_size: height and width of a frame in pixels; an int, or (height, width).
        patch_size: height and width of a patch in pixels; an int, or (height, width).
        num_channels: channels of a frame.
        num_frames: frames of a clip.
        tubelet_size: frames that one token spans.
        hidden_size: width of the encoder.
        num_hidden_layers: blocks of the encoder.
        num_attention_heads: heads of each encoder block.
        intermediate_size: width of the hidden layer of each encoder MLP.
        hidden_act: "gelu" (exact), "relu", "selu", "gelu_new" (tanh), or a function of one tensor.
        hidden_dropout_prob: dropout after the attention and after the MLP of each block, in [0, 1).
        attention_probs_dropout_prob: dropout of the attention probabilities, in [0, 1).
        initializer_range: standard deviation of fresh weights.
        layer_norm_eps: epsilon of the norms in all blocks and of the encoder's final norm. Transformers says 1e-12;
            the original checkpoints need 1e-6.
        qkv_bias: whether queries and values have a bias (keys never have); True unless `qv_bias` says otherwise.
        use_mean_pooling: classify from the mean of all tokens; if False, from token 0 after a final encoder norm.
        decoder_num_attention_heads: heads of each decoder block.
        decoder_hidden_size: width of the decoder.
        decoder_num_hidden_layers: blocks of the decoder.
        decoder_intermediate_size: width of the hidden layer of each decoder MLP.
        norm_pix_loss: reconstruct pixels normalised per patch and channel; if False, pixels in [0, 1].
        num_labels: number of classes; 0 for no head. Goes with `id2label`, or replaces it by placeholders.
        id2label: name of each class, by index (as JSON has it, "0", or 0).
        label2id: index of each class, by name; by default the inverse of `id2label`.
        problem_type: which loss goes with `labels`; None infers it from `num_labels` and the labels' dtype.
        output_attentions: return attention probabilities, unless a call says otherwise.
        output_hidden_states: return hidden states, unless a call says otherwise.
        return_dict: return an output with names rather than a tuple, unless a call says otherwise.
        head_layer_norm_eps: epsilon of `fc_norm` and of the decoder's norm. Transformers has 1e-5 there whatever
            `layer_norm_eps` is; the original checkpoints need 1e-6.
        drop_path_rate: stochastic depth of the last encoder block, in [0, 1), falling linearly to 0 at the first.
        head_dropout_prob: dropout before the classifier, in [0, 1).
        qv_bias: what transformers 5 calls `qkv_bias`.
        extra: keys of a config.json that mean nothing here, kept to be written back.

    Raises:
        UsageError: a value that no model can have, or two that contradict each other.
    """

    model_type = "videomae"

    @property
    def qv_bias(self) -> bool:
        """The same field as `qkv_bias`."""
        return bool(self.qkv_bias)

    @qv_bias.setter
    def qv_bias(self, flag: bool) -> None:
        self.qkv_bias = flag

    @property
    def num_labels(self) -> int:
        """Number of classes; setting another number replaces the names by placeholders, as in transformers."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, num_labels: int) -> None:
        if num_labels != len(self.id2label):
            self.id2label = _placeholder_labels(num_labels)
            self.label2id = {name: index for index, name in self.id2label.items()}

    @property
    def use_return_dict(self) -> bool:
        """The old name of `return_dict`."""
        return self.return_dict

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """(frames, height, width) of the piece of video behind one token, in frames and pixels."""
        return self.tubelet_size, *pair(self.patch_size)

    @property
    def num_pixels_per_patch(self) -> int:
        """Numbers behind one token: frames x height x width x channels."""
        frames, height, width = self.patch_shape
        return frames * height * width * self.num_channels

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens of a clip along (time, height, width)."""
        frames, height, width = self.patch_shape
        image_height, image_width = pair(self.image_size)
        return self.num_frames // frames, image_height // height, image_width // width

    @property
    def num_patches_per_frame(self) -> int:
        """Tokens of one tubelet."""
        _, rows, columns = self.grid
        return rows * columns

    @property
    def num_tokens(self) -> int:
        """Tokens of a clip."""
        return self.grid[0] * self.num_patches_per_frame

    @classmethod
    def preset(cls, variant: str) -> VideoMAEConfig:
        """The sizes of a published variant.

        Args:
            variant: "small", "base", "large" or "huge".

        Raises:
            UsageError: there is no such variant.
        """
        if variant not in PRESETS:
            raise UsageError(f"no variant {variant!r}", f"Variants: {', '.join(PRESETS)}.")
        return cls(**PRESETS[variant])  # type: ignore[arg-type]  # sizes only, none of them an InitVar

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VideoMAEConfig:
        """Build from the content of a config.json, of any release of transformers.

        Args:
            values: fields by name; unknown ones go to `extra`.

        Raises:
            UsageError: the dictionary describes another kind of model, or holds a value that no model can have.
        """
        if values.get("model_type", cls.model_type) != cls.model_type:
            raise UsageError(f"model_type={values['model_type']!r} is not {cls.model_type!r}")
        names = {*(item.name for item in fields(cls)), "num_labels", "qv_bias"} - {"extra"}
        known = {name: value for name, value in values.items() if name in names and value is not None}
        for name in ("image_size", "patch_size"):
            if isinstance(known.get(name), list):  # JSON has no tuples
                known[name] = tuple(known[name])
        extra = {name: value for name, value in values.items() if name not in {*names, "model_type"}}
        return cls(**known, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """Every field under the names that all releases of transformers read, `extra` merged in."""
        own = asdict(self)
        return {**own.pop("extra"), **own, "qv_bias": self.qv_bias, "model_type": self.model_type}

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> VideoMAEConfig:
        """Read the configuration of a checkpoint.

        Args:
            name_or_path: an alias, a hub id, or a folder.
            revision: branch, tag or commit of a hub repository.
            offline: use what is cached and make no request.
            local_files_only: what transformers calls `offline`.
            token: hub token; never printed.

        Raises:
            ModelError: it cannot be found, fetched or understood.
        """
        offline = offline or local_files_only
        from ..weights.hub import locate
        from ..weights.read import read_json

        path = locate(name_or_path, revision=revision, offline=offline, token=token, need=()).config
        if path is None:
            raise ModelError(f"{name_or_path} has no {CONFIG_FILE}")
        try:
            config = cls.from_dict(read_json(path))
        except UsageError as error:
            hint = error.hint or "Correct the file, or fetch it again."
            raise ModelError(f"{path}: {error.message}", hint) from error
        if note := config.mend_heads():
            warnings.warn(note, stacklevel=2)
        return config

    def mend_heads(self) -> str | None:
        """Give ViT-S its 6 heads back where the converter of transformers wrote 16 (huggingface/transformers#25868).

        The shapes of the weights do not show it, and the model loses 18 points of accuracy.

        Returns:
            What was mended, for the user; None where nothing was.
        """
        if self.hidden_size != 384 or self.num_attention_heads != 16:
            return None
        self.num_attention_heads = 6
        return "the configuration says 16 attention heads for a width of 384; ViT-S has 6, and 6 are used"

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json into a folder, which is made when it is missing.

        Args:
            folder: where to.

        Raises:
            UsageError: `hidden_act` is a function, which JSON cannot hold.
            MachineError: the folder cannot be written.
        """
        from ..weights.write import write_atomically

        if callable(self.hidden_act):
            raise UsageError(f"hidden_act={self.hidden_act!r} cannot be saved", f"Use one of {', '.join(ACTIVATIONS)}.")
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
        write_atomically(Path(folder) / CONFIG_FILE, text.encode())
