"""What the values of a configuration may be, beyond their types: alone, and with each other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .schema import Config, FinetuneConfig, PretrainConfig, values


@dataclass(frozen=True)
class Limits:
    """An interval of numbers; its ends belong to it unless they are open."""

    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, number: float) -> bool:
        above = number > self.low if self.low_open else number >= self.low
        return above and (number < self.high if self.high_open else number <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"more than {self.low}" if self.low_open else f"at least {self.low}"
        low, high = "[("[self.low_open], "])"[self.high_open]
        return f"in {low}{self.low}, {self.high}{high}"


LIMITS: dict[Limits, tuple[str, ...]] = {
    Limits(1, 2**20): (
        *("model.image_size", "model.patch_size", "model.num_frames", "model.tubelet_size"),
        *("model.hidden_size", "model.num_hidden_layers", "model.num_attention_heads", "model.intermediate_size"),
        *("model.decoder_hidden_size", "model.decoder_num_hidden_layers"),
        *("model.decoder_num_attention_heads", "model.decoder_intermediate_size"),
        *("data.stride", "data.repeats", "data.num_films", "optim.batch_size", "optim.micro_batch", "optim.epochs"),
        *("run.checkpoint_epochs", "run.validate_epochs", "run.log_steps"),
    ),
    Limits(0): (
        *("frozen_blocks", "model.head_scale", "data.num_large", "data.num_drawn", "data.num_workers"),
        *("data.max_bad", "optim.max_bad_steps"),
        *("run.checkpoint_minutes",),
        *("optim.min_lr", "optim.warmup_epochs", "optim.weight_decay", "augment.mixup", "augment.cutmix"),
    ),
    Limits(0, low_open=True): ("optim.lr", "optim.eps", "optim.clip_grad", "augment.aspect"),
    Limits(0, 1): ("augment.flip", "augment.erasing", "augment.mix_prob", "augment.mix_switch"),
    Limits(0, 1, high_open=True): (
        *("model.drop_path", "model.head_dropout", "data.validation_fraction", "optim.betas"),
        *("augment.label_smoothing", "mask.decoder_ratio"),
    ),
    Limits(0, 1, low_open=True): ("optim.layer_decay", "mask.scales", "augment.area"),
    Limits(0, 1, low_open=True, high_open=True): ("mask.ratio", "optim.ema"),
    Limits(1): ("data.max_pixels",),
    Limits(2): ("run.keep_checkpoints",),  # the older one is what is left when the newer one is damaged
    Limits(0, 2**32 - 1): ("run.seed",),
}
"""Of every number of a configuration; a tuple's numbers are each within."""

PATH = (re.compile(r"[^\0]+"), "a path")
PATTERNS: dict[str, tuple[re.Pattern[str], str]] = {
    "init": (re.compile(r"[^\0]+"), "a checkpoint"),
    "data.train": PATH,
    "data.validation": PATH,
    "data.root": PATH,
    "views": (re.compile(r"[1-9]\d?x[1-9]\d?", re.ASCII), 'temporal x spatial views, such as "5x3" (at most 99x99)'),
    "run.device": (re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?", re.ASCII), "auto, cpu, mps, cuda or cuda:N"),
    "augment.rand_augment": (
        re.compile(r"rand(-(m(10(\.0+)?|\d(\.\d+)?)|n[1-9]\d?|mstd\d+(\.\d+)?|inc[01]))*", re.ASCII),
        'null, or as "rand-m7-n4-mstd0.5-inc1": magnitude m up to 10, n operations',
    ),
}
"""Of every text of a configuration that is free."""


def out_of_range(config: Config) -> Iterator[tuple[str, str]]:
    """The values that cannot be, each by itself.

    Args:
        config: with every value of its declared type.

    Yields:
        The dotted name of a field, and what it must be.
    """
    found = values(config)
    for limits, names in LIMITS.items():
        for name in names:
            value = found.get(name)
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, int | float) and number not in limits for number in numbers):
                yield name, str(limits)
    for name, (pattern, wanted) in PATTERNS.items():
        if isinstance(value := found.get(name), str) and not pattern.fullmatch(value):
            yield name, wanted


def contradictions(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """The values that cannot be together.

    Args:
        config: with every value in its range.

    Yields:
        The dotted names of the fields that clash, and what is wrong.
    """
    found = values(config)
    for whole, part in (
        ("model.image_size", "model.patch_size"),
        ("model.num_frames", "model.tubelet_size"),
        ("model.hidden_size", "model.num_attention_heads"),
        ("model.decoder_hidden_size", "model.decoder_num_attention_heads"),
        ("optim.batch_size", "optim.micro_batch"),
    ):
        small_batch = part == "optim.micro_batch" and found[whole] < found[part]  # one short pass makes the step
        if None not in (found[whole], found[part]) and found[whole] % found[part] and not small_batch:
            yield (whole, part), f"{whole} is {found[whole]}; it must be a multiple of {part}, {found[part]}"
    optim = config.optim
    if optim.warmup_epochs >= optim.epochs:
        names = ("optim.warmup_epochs", "optim.epochs")
        yield names, f"optim.warmup_epochs is {optim.warmup_epochs}; it must be less than optim.epochs, {optim.epochs}"
    if optim.min_lr > optim.lr:
        names = ("optim.min_lr", "optim.lr")
        yield names, f"optim.min_lr is {optim.min_lr}; it must be at most optim.lr, {optim.lr}"
    yield from _in_pretraining(config) if isinstance(config, PretrainConfig) else _in_fine_tuning(config)


def _in_pretraining(config: PretrainConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    side = config.model.image_size // config.model.patch_size
    times = config.model.num_frames // config.model.tubelet_size
    num_patches = side**2 * (times if config.mask.kind == "random" else 1)
    num_masked = int(config.mask.ratio * num_patches)
    if not 0 < num_masked < num_patches:
        yield (
            ("model.image_size", "model.patch_size", "model.num_frames", "model.tubelet_size", "mask.ratio"),
            f"mask.ratio is {config.mask.ratio}, which hides {num_masked} of {num_patches} patches",
        )
    cell_ratio = config.mask.decoder_ratio
    if cell_ratio not in (0, 0.25, 0.5, 0.75):
        yield ("mask.decoder_ratio",), f"mask.decoder_ratio is {cell_ratio}; it must be 0, 0.25, 0.5 or 0.75"
    elif cell_ratio and side % 2:
        yield (
            ("model.image_size", "model.patch_size", "mask.decoder_ratio"),
            f"mask.decoder_ratio is {cell_ratio}; its cells of 2 x 2 need an even grid, not {side} x {side} patches",
        )


def _in_fine_tuning(config: FinetuneConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, (low, high) in {"augment.area": config.augment.area, "augment.aspect": config.augment.aspect}.items():
        if low > high:
            yield (name,), f"{name} is [{low}, {high}]; the lowest comes first"
    augment = config.augment
    if config.data.source == "camera-motion" and (augment.flip or augment.rand_augment or augment.erasing):
        yield (
            ("data.source", "augment.flip", "augment.rand_augment", "augment.erasing"),
            "films vary by themselves; set augment.flip and augment.erasing to 0, augment.rand_augment to null",
        )
    if config.linear_probe and config.frozen_blocks:
        names = ("frozen_blocks", "linear_probe")
        yield names, f"frozen_blocks is {config.frozen_blocks} and linear_probe true; the probe freezes all blocks"
    depth = config.model.num_hidden_layers
    if depth is not None and config.frozen_blocks > depth:
        names = ("model.num_hidden_layers", "frozen_blocks")
        yield names, f"frozen_blocks is {config.frozen_blocks}; the model has {depth} blocks"
