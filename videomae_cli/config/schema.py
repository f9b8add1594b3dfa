"""What a training run can be told: one frozen dataclass for each section of a YAML file, every default in sight.

Imports no torch. `load.py` reads files into these; sections are named as in the file, so `optim.lr` here is
`--set optim.lr=5e-4` there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from operator import attrgetter
from typing import Any, Literal, TypeVar, get_type_hints

Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class ModelSection:
    """The network.

    Args:
        preset: the published variant that gives the sizes below that are not set.
        image_size: height and width of a frame in pixels.
        patch_size: height and width of a patch in pixels.
        num_frames: frames of a clip.
        tubelet_size: frames that one token spans.
        hidden_size: width of the encoder.
        num_hidden_layers: blocks of the encoder.
        num_attention_heads: heads of each encoder block.
        intermediate_size: hidden width of each encoder MLP.
        decoder_hidden_size: width of the decoder (pretraining).
        decoder_num_hidden_layers: blocks of the decoder.
        decoder_num_attention_heads: heads of each decoder block.
        decoder_intermediate_size: hidden width of each decoder MLP.
        drop_path: stochastic depth of the last encoder block; falls linearly to 0 at the first.
        head_dropout: dropout before the classifier.
        head_scale: of the weights of a new classifier, relative to those of other layers.
        attention: "sdpa" or "eager".
        gradient_checkpointing: keep only the blocks' inputs, and compute the rest again: less memory, slower.
    """

    preset: Literal["small", "base", "large", "huge"] = "base"
    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 16
    tubelet_size: int = 2
    hidden_size: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    intermediate_size: int | None = None
    decoder_hidden_size: int | None = None
    decoder_num_hidden_layers: int | None = None
    decoder_num_attention_heads: int | None = None
    decoder_intermediate_size: int | None = None
    drop_path: float = 0.0
    head_dropout: float = 0.0
    head_scale: float = 1e-3
    attention: Literal["sdpa", "eager"] = "sdpa"
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class DataSection:
    """The videos and the clips that are cut from them.

    Args:
        source: "videos", or "camera-motion": films of a camera that moves over pictures, with what it does for a label.
        train: a folder with a folder for each class, or a list file. `--data` on the command line. Of camera motion: a
            folder of pictures and videos to film, at any depth; None films drawn pictures alone.
        validation: likewise; None holds `validation_fraction` of `train` back.
        validation_fraction: part of the source videos to hold back, in [0, 1); 0 for no validation.
        root: what relative paths in lists are relative to; None is the folder of the list. Paths may not leave it.
        sampling: "dense" (every `stride`-th frame of a span) or "segments" (one frame from each of equal parts).
        stride: source frames from one chosen frame to the next.
        repeats: differently augmented clips of each video in a step; the batch size counts videos.
        num_films: of an epoch (camera motion).
        num_large: films of the training, from its first on, that show large movements alone (camera motion); over as
            many more, smaller ones come in.
        num_drawn: drawn pictures among those that are filmed; 0 films found ones alone (camera motion).
        num_workers: processes that decode; "auto" is one for each core left beside the trainer, 0 is none.
        max_bad: unreadable videos that training passes over before it stops.
        max_pixels: frames of more are refused.
    """

    source: Literal["videos", "camera-motion"] = "videos"
    train: str | None = None
    validation: str | None = None
    validation_fraction: float = 0.1
    root: str | None = None
    sampling: Literal["dense", "segments"] = "dense"
    stride: int = 4
    repeats: int = 1
    num_films: int = 3200
    num_large: int = 0
    num_drawn: int = 400
    num_workers: int | Literal["auto"] = "auto"
    max_bad: int = 100
    max_pixels: int = 35_389_440


@dataclass(frozen=True)
class OptimSection:
    """AdamW and its schedule: a line up, then half a cosine down, both by step.

    Args:
        lr: learning rate for 256 videos in a step; scaled by batch_size / 256.
        min_lr: at the end; not scaled.
        batch_size: videos in a step, over all devices.
        micro_batch: videos in one forward pass on one device; a step adds up the gradients of as many as it takes.
        epochs: passes over the videos.
        warmup_epochs: of them, with a rising rate.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: of matrices; biases, norms, mask token and positions have none.
        layer_decay: the rate of block i is multiplied by layer_decay^(L + 1 - i).
        clip_grad: largest norm of the gradient; None does not clip.
        ema: decay of a moving average of the weights, which is then what is validated and saved; None keeps none.
        precision: of the arithmetic; weights stay float32. "auto" is bfloat16 where a GPU has it, else float32.
        max_bad_steps: steps in a row whose loss or gradient is not finite (they are skipped) before the run stops; an
            epoch of them is the most in any case.
        compile: compile the model with torch.compile.
    """

    lr: float = 1e-3
    min_lr: float = 1e-6
    batch_size: int = 512
    micro_batch: int = 8
    epochs: int = 100
    warmup_epochs: float = 5.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    clip_grad: float | None = None
    ema: float | None = None
    precision: Precision = "auto"
    max_bad_steps: int = 10
    compile: bool = False


@dataclass(frozen=True)
class RunSection:
    """The run around the training.

    Args:
        seed: of everything that is drawn.
        checkpoint_minutes: between checkpoints within an epoch; the end of an epoch has one in any case.
        checkpoint_epochs: epochs between the checkpoints at their ends.
        keep_checkpoints: of the newest, beside the best.
        validate_epochs: epochs between validations (pretraining: between pictures of reconstructions).
        log_steps: steps between two lines of metrics.jsonl.
        device: "auto", "cpu", "cuda" or "mps".
        sharding: "none" (DDP: every device holds all weights) or "full" (FSDP2: devices share them).
    """

    seed: int = 0
    checkpoint_minutes: float = 10.0
    checkpoint_epochs: int = 1
    keep_checkpoints: int = 2
    validate_epochs: int = 1
    log_steps: int = 10
    device: str = "auto"
    sharding: Literal["none", "full"] = "none"


@dataclass(frozen=True)
class MaskSection:
    """What pretraining hides, and what it asks for.

    Args:
        kind: "tube" (the same patches of every frame) or "random".
        ratio: part of the patches that is hidden.
        decoder_ratio: part of the tokens that is not decoded (VideoMAE V2's running cells); 0 decodes all hidden ones.
        target: "normalized" (each patch and channel by its own mean and deviation) or "raw" pixels in [0, 1].
        scales: of the crop's sides, relative to the shorter side; drawn apart for height and width.
    """

    kind: Literal["tube", "random"] = "tube"
    ratio: float = 0.9
    decoder_ratio: float = 0.0
    target: Literal["normalized", "raw"] = "normalized"
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)


@dataclass(frozen=True)
class AugmentSection:
    """How clips of a fine-tuning are varied; one draw for all frames of a clip.

    Args:
        area: of the crop, relative to the frame: lowest and highest.
        aspect: of the crop, width / height: lowest and highest.
        flip: probability of a mirror image. 0 where left and right have a meaning.
        rand_augment: as timm writes it: m magnitude, n operations, mstd deviation, inc1 operations that grow with it;
            None for no operations.
        erasing: probability that one box of all frames is replaced by noise.
        mixup: alpha of the Beta distribution that two clips are blended by; 0 never blends.
        cutmix: alpha, of the area of one clip that replaces that of another; 0 never.
        mix_prob: probability that a batch is mixed at all.
        mix_switch: probability of cutmix where both could be.
        label_smoothing: probability mass that is spread over all classes.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    rand_augment: str | None = "rand-m7-n4-mstd0.5-inc1"
    erasing: float = 0.25
    mixup: float = 0.8
    cutmix: float = 1.0
    mix_prob: float = 1.0
    mix_switch: float = 0.5
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class PretrainConfig:
    """A pretraining run.

    Args:
        init: a checkpoint to begin with; None begins at random. `--init` on the command line.
        model: the network.
        data: videos and clips.
        mask: what is hidden.
        optim: optimiser and schedule.
        run: everything around.
    """

    init: str | None = None
    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=lambda: DataSection(validation_fraction=0.0))
    mask: MaskSection = field(default_factory=MaskSection)
    optim: OptimSection = field(
        default_factory=lambda: OptimSection(
            lr=1.5e-4, min_lr=1e-5, batch_size=2048, epochs=800, warmup_epochs=40.0, betas=(0.9, 0.95)
        )
    )
    run: RunSection = field(default_factory=lambda: RunSection(checkpoint_epochs=20, validate_epochs=20))


@dataclass(frozen=True)
class FinetuneConfig:
    """A fine-tuning run.

    Args:
        init: a checkpoint to begin with; None begins at random. `--init` on the command line.
        frozen_blocks: the patch embedding and this many first blocks are not trained.
        linear_probe: train the norm before the classifier and the classifier alone.
        views: temporal x spatial views of the evaluation at the end, as "5x3".
        model: the network.
        data: videos and clips.
        augment: how clips are varied.
        optim: optimiser and schedule.
        run: everything around.
    """

    init: str | None = None
    frozen_blocks: int = 0
    linear_probe: bool = False
    views: str = "5x3"
    model: ModelSection = field(default_factory=lambda: ModelSection(drop_path=0.1))
    data: DataSection = field(default_factory=DataSection)
    augment: AugmentSection = field(default_factory=AugmentSection)
    optim: OptimSection = field(default_factory=lambda: OptimSection(layer_decay=0.75))
    run: RunSection = field(default_factory=RunSection)


Config = PretrainConfig | FinetuneConfig
AnyConfig = TypeVar("AnyConfig", bound=Config)


def declared(section: type) -> dict[str, Any]:
    """The types of all values of a configuration.

    Args:
        section: `PretrainConfig`, `FinetuneConfig` or a section of theirs.

    Returns:
        Type by dotted name, such as "optim.lr", in the order of the file.
    """
    names: dict[str, Any] = {}
    for name, kind in get_type_hints(section).items():
        inner = (
            {f"{name}.{key}": value for key, value in declared(kind).items()}
            if isinstance(kind, type) and is_dataclass(kind)
            else {}
        )
        names |= inner or {name: kind}
    return names


def values(config: Config) -> dict[str, Any]:
    """All values of a configuration, by dotted name, in the order of the file."""
    return {name: attrgetter(name)(config) for name in declared(type(config))}


def with_values(config: AnyConfig, changes: Mapping[str, object]) -> AnyConfig:
    """A configuration with other values.

    Args:
        config: what it is but for them.
        changes: value by dotted name; of the declared types.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        section, _, key = name.rpartition(".")
        groups.setdefault(section, {})[key] = value
    top = groups.pop("", {})
    top |= {section: replace(getattr(config, section), **inner) for section, inner in groups.items()}
    return replace(config, **top)


def model_fields(section: ModelSection) -> dict[str, int | float]:
    """What a section says beyond its preset: arguments of `VideoMAEConfig`, to be put over the preset's sizes."""
    own = ("preset", "drop_path", "head_dropout", "head_scale", "attention", "gradient_checkpointing")
    sizes = {name: value for name, value in vars(section).items() if name not in own and value is not None}
    return {**sizes, "drop_path_rate": section.drop_path}
