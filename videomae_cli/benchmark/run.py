"""A whole run: the ceilings, the rows of the mode that was asked for, and what they were found on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from ..errors import UsageError
from ..inference.device import DTYPES, choose_device, choose_dtype, memory_told
from ..inference.fit import check_fit
from ..model.videomae import VideoMAEForVideoClassification
from ..video.processor import IMAGENET_MEAN, IMAGENET_STD, VideoMAEImageProcessor
from ..video.sampling import Sampling
from .ceiling import find_ceiling
from .clock import device_watch
from .latency import LatencyBench
from .machine import describe_machine, describe_versions
from .models import Model, clip_flops, is_architecture, load_model
from .pipeline import decode_rows, end_to_end_rows, synthetic_clip
from .published import published_ms
from .records import Ceiling, Report, Row, Settings

SYNTHETIC = "synthetic clip"  # the name of its rows

Tell = Callable[[list[Row]], None]
Stop = Callable[[], bool]


def resolve(settings: Settings) -> Settings:
    """The settings with the device and the dtypes that "auto" stands for.

    Raises:
        UsageError: the device, a dtype or TF32 makes no sense.
        MachineError: this machine does not have it.
    """
    device = choose_device("cpu" if settings.mode == "decode" else settings.device)
    if settings.tf32 and device.type != "cuda":
        raise UsageError(f"--tf32 on {device}", "It is a mode of NVIDIA's matrix units; leave it out.")
    chosen = [str(choose_dtype(name, device)).removeprefix("torch.") for name in settings.dtypes]
    if settings.mode == "train" and "float16" in chosen:
        raise UsageError("training in float16 needs loss scaling, which is not timed here", "Use bfloat16.")
    return replace(settings, device=str(device), dtypes=tuple(dict.fromkeys(chosen)))


def run(settings: Settings, stop: Stop, tell: Tell, *, revision: str | None = None, offline: bool = False) -> Report:
    """Measure.

    Args:
        settings: what; from `resolve`.
        stop: whether to end early, asked between calls.
        tell: given rows as they are found.
        revision: branch, tag or commit of a hub id.
        offline: use cached models only.

    Raises:
        ModelError: the checkpoint cannot be found, fetched or loaded.
        MachineError: the model does not fit into memory, or `torch.compile` has no compiler.
    """
    with _tf32(settings.tf32), memory_told(f"on {settings.device}", "Choose a smaller model."):
        report = Report(settings, describe_machine(torch.device(settings.device)), describe_versions())
        if settings.mode in ("forward", "train"):
            model = load_model(settings.model, settings.task, revision=revision, offline=offline)
            return _run_latency(replace(report, model=_sizes(model, settings)), model, stop, tell)
        if is_architecture(settings.model):
            processor = VideoMAEImageProcessor(image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD)
        else:
            processor = VideoMAEImageProcessor.from_pretrained(settings.model, revision=revision, offline=offline)
        with _files(settings) as files:
            if settings.mode == "decode":
                found = decode_rows(files, processor, Sampling(), settings, stop)
            else:
                model = load_model(settings.model, revision=revision, offline=offline)
                assert isinstance(model, VideoMAEForVideoClassification)
                check_fit(model.config, processor)
                report = replace(report, model=_sizes(model, settings))
                found = end_to_end_rows(files, model, processor, settings, stop)
            return replace(report, rows=_collect(found, tell))


def _run_latency(report: Report, model: Model, stop: Stop, tell: Tell) -> Report:
    settings, device = report.settings, torch.device(report.settings.device)
    watch = device_watch(device)
    ceilings: dict[str, Ceiling] = {}

    def find_ceilings() -> None:
        for name in settings.dtypes:
            if not stop():
                ceilings[name] = find_ceiling(device, DTYPES[name], model.config, watch, ceilings.get(name))

    find_ceilings()
    rows = _collect(LatencyBench(model, settings, stop).rows(), tell)
    find_ceilings()  # once more: the machine may have been busy before
    gpu = report.machine.get("gpu")
    rows = tuple(
        replace(
            row,
            ceiling_tflops=ceilings[str(row.case.dtype)].tflops,
            published_ms=published_ms(row.case, str(gpu) if gpu else None),
        )
        for row in rows
    )
    return replace(report, ceilings=ceilings, rows=rows)


def _collect(found: Iterable[list[Row]], tell: Tell) -> tuple[Row, ...]:
    rows: list[Row] = []
    for some in found:
        tell(some)
        rows += some
    return tuple(rows)


def _sizes(model: Model, settings: Settings) -> dict[str, int]:
    config = model.config
    return {
        "num_parameters": model.num_parameters(),
        "num_frames": config.num_frames,
        "num_tokens": config.num_tokens,
        "flops_per_clip": clip_flops(model, training=settings.mode == "train"),
    }


@contextmanager
def _files(settings: Settings) -> Iterator[dict[str, str]]:
    """The files to read, by the names of their rows."""
    if settings.videos:
        yield {video: video for video in settings.videos}
    else:
        with synthetic_clip() as path:
            yield {SYNTHETIC: path}


@contextmanager
def _tf32(wanted: bool) -> Iterator[None]:
    """Let float32 products be computed in TF32 for the time of a run, as its user asked; torch's own setting is off."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if wanted else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
