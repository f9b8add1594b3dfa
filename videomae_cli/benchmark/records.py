"""What a benchmark is asked and what it found, as plain values. No torch here: tables and JSON stand on this file."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .timing import Effort, percentile

FORMAT_VERSION = 1  # of the JSON file

Mode = Literal["forward", "train", "decode", "e2e"]
Task = Literal["finetune", "pretrain"]


@dataclass(frozen=True)
class Settings:
    """What is asked of a benchmark.

    Attributes:
        mode: "forward" (one pass of the classifier), "train" (one step: forward, backward, AdamW), "decode" (a file to
            pixels) or "e2e" (a file to labels).
        model: architecture, alias, hub id, folder or file.
        task: what "train" trains.
        device: as torch names it.
        dtypes: names.
        attentions: "eager", "sdpa", or "auto", which is what `classify` runs.
        batch_sizes: clips in one pass.
        effort: how often to time.
        compile: run the model through `torch.compile`.
        tf32: let CUDA multiply float32 matrices in TF32.
        videos: files, for "decode" and "e2e".
    """

    mode: Mode
    model: str
    task: Task
    device: str
    dtypes: tuple[str, ...]
    attentions: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    effort: Effort
    compile: bool = False
    tf32: bool = False
    videos: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """The attention that others are compared with: eager, or else the first that was named."""
        return "eager" if "eager" in self.attentions else self.attentions[0]


@dataclass(frozen=True)
class Case:
    """What a row is about; rows of two runs are compared where all of this is equal. None where it plays no part.

    Attributes:
        mode: see `Settings`, as for model, task, dtype and attention.
        model: see `Settings`.
        task: see `Settings`.
        batch_size: clips in one pass.
        dtype: name.
        attention: see `Settings`.
        video: path of the file, as it was given.
        stage: the step of the way from file to labels.
    """

    mode: str
    model: str | None = None
    task: str | None = None
    batch_size: int | None = None
    dtype: str | None = None
    attention: str | None = None
    video: str | None = None
    stage: str | None = None

    def __str__(self) -> str:
        batch = None if self.batch_size is None else f"batch {self.batch_size}"
        parts = (self.video, self.stage, batch, self.dtype, self.attention)
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Row:
    """What was found for one case. None where it could not be known or plays no part.

    Attributes:
        case: what was timed.
        samples_ms: every timed call, in order.
        warmup_ms: the calls before, which do not count.
        error: why there are no samples, such as "out of memory"; empty where there are.
        num_items: clips, or frames, that one call deals with.
        flops: operations of one call.
        speedup: median of the reference (see `latency.py`) over the row's own.
        max_logit_difference: largest absolute difference to the reference's logits, on the same input.
        logit_std: standard deviation of the logits, the scale to see that difference on.
        peak_bytes: memory of weights and input, and the most that a call adds to it.
        kernel: of attention; None for single steps, and where compiled code hides it.
        ceiling_tflops: the fastest matrix product of the dtype, in 10^12 operations a second.
        published_ms: the published mean of this case.
        baseline_ms: the median of this case in an earlier run.
    """

    case: Case
    samples_ms: tuple[float, ...] = ()
    warmup_ms: tuple[float, ...] = ()
    error: str = ""
    num_items: int | None = None
    flops: int | None = None
    speedup: float | None = None
    max_logit_difference: float | None = None
    logit_std: float | None = None
    peak_bytes: int | None = None
    kernel: str | None = None
    ceiling_tflops: float | None = None
    published_ms: float | None = None
    baseline_ms: float | None = None

    @property
    def mean_ms(self) -> float | None:
        """Mean of the samples."""
        return statistics.fmean(self.samples_ms) if self.samples_ms else None

    @property
    def median_ms(self) -> float | None:
        """Median of the samples, which every other figure is derived from."""
        return statistics.median(self.samples_ms) if self.samples_ms else None

    @property
    def p95_ms(self) -> float | None:
        """95th percentile of the samples; with fewer than 20 of them, close to the slowest."""
        return percentile(self.samples_ms, 95) if self.samples_ms else None

    @property
    def spread(self) -> float | None:
        """Distance of the quartiles as a share of the median: how restless the machine was."""
        if not self.samples_ms:
            return None
        return (percentile(self.samples_ms, 75) - percentile(self.samples_ms, 25)) / percentile(self.samples_ms, 50)

    @property
    def items_per_second(self) -> float | None:
        """Clips, or frames, in a second."""
        return None if self.num_items is None else _per_second(self.num_items, self.median_ms)

    @property
    def tflops(self) -> float | None:
        """Achieved 10^12 operations in a second."""
        return None if self.flops is None else _per_second(self.flops / 1e12, self.median_ms)

    @property
    def share_of_ceiling(self) -> float | None:
        """`tflops` as a share of `ceiling_tflops`."""
        return None if self.tflops is None or not self.ceiling_tflops else self.tflops / self.ceiling_tflops

    @property
    def change(self) -> float | None:
        """How much slower than the baseline: 0.05 is 5% slower, -0.5 twice as fast."""
        if not self.baseline_ms:
            return None
        return math.inf if self.median_ms is None else self.median_ms / self.baseline_ms - 1

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values that JSON can hold, in the order in which they are written; None is left out."""
        values = {
            **asdict(self.case),
            "status": "error" if self.error else "ok",
            "error": self.error or None,
            **{name: getattr(self, name) for name in FIGURES},
            "warmup_ms": [round(ms, 4) for ms in self.warmup_ms],
            "samples_ms": [round(ms, 4) for ms in self.samples_ms],
        }
        return {name: _plain(value) for name, value in values.items() if value is not None}


FIGURES = (
    *("mean_ms", "median_ms", "p95_ms", "speedup", "num_items", "items_per_second", "peak_bytes", "flops", "tflops"),
    *("ceiling_tflops", "share_of_ceiling", "max_logit_difference", "logit_std", "kernel", "published_ms"),
    *("baseline_ms", "change"),
)
"""Of a row, beside its case and samples, by their names in `Row`."""


@dataclass(frozen=True)
class Ceiling:
    """The fastest matrix product that was found.

    Attributes:
        tflops: 10^12 operations in a second.
        how: its shape, and whose code.
    """

    tflops: float
    how: str


@dataclass(frozen=True)
class Report:
    """A whole run.

    Attributes:
        settings: what was asked.
        machine: what it ran on, by name.
        versions: of the software, by name.
        model: its sizes, by name; empty where none was run.
        ceilings: by dtype.
        rows: one for each case that was reached.
    """

    settings: Settings
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    model: Mapping[str, int] = field(default_factory=dict)
    ceilings: Mapping[str, Ceiling] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()

    def to_json(self) -> str:
        """The whole report as JSON, a line for each of its parts and for each row."""
        head = {
            "videomae_benchmark": FORMAT_VERSION,
            "settings": asdict(self.settings),
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "model": dict(self.model),
            "ceilings": {dtype: asdict(ceiling) for dtype, ceiling in self.ceilings.items()},
        }
        lines = [f"  {json.dumps(name)}: {_dump(value)}" for name, value in head.items()]
        rows = ",\n".join(f"    {_dump(row.to_dict())}" for row in self.rows)
        return "{\n" + ",\n".join(lines) + ',\n  "rows": [\n' + rows + "\n  ]\n}\n"


def _dump(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()  # names of files need not be UTF-8


def _plain(value: object) -> object:
    """JSON has no NaN and no infinity: their names instead."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _per_second(amount: float, elapsed_ms: float | None) -> float | None:
    return amount / elapsed_ms * 1e3 if elapsed_ms else None
