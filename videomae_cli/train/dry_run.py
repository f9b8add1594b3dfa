"""Everything that can be found out before a run: do the videos open, is there memory, does a model learn from them."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from ..config.schema import Config, FinetuneConfig, with_values
from ..data.dataset import ClipBatch, Draw
from ..data.manifest import Sample
from ..errors import DivergedError, UsageError, VideoError
from ..video.pictures import open_video
from .distributed import joined
from .loop import Training, Watcher
from .run import Videos, introduction, make_task, read_videos
from .step import Task, autocast
from .tasks import FinetuneTask, PretrainTask

_NUM_READERS = 4
_MAX_NAMED = 10  # unreadable videos
_MAX_CLASSES = 20  # in the table of classes
_MAX_CLIPS = 4  # of the batch that is overfitted
_MAX_STEPS, _MAX_SECONDS = 40, 60.0
_LR = 1e-3
_BYTES_PER_WEIGHT = 16  # float32: itself, its gradient, AdamW's two moments
_WITHOUT_MIXING = {"augment.mixup": 0.0, "augment.cutmix": 0.0, "augment.label_smoothing": 0.0, "model.drop_path": 0.0}


def rehearse(config: Config, watcher: Watcher) -> int:
    """Look at every video, and train for a moment on a few of them; writes nothing.

    Args:
        config: the recipe.
        watcher: who is told.

    Returns:
        0, or 1 when some videos cannot be read.

    Raises:
        UsageError: the configuration and the videos do not go together.
        MachineError: out of memory.
    """
    videos = read_videos(config)
    if isinstance(config, FinetuneConfig):  # a batch of mixed clips has a lowest loss that is not 0
        config = with_values(config, _WITHOUT_MIXING)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--dry-run is for one process", "Run it without torchrun.")
    with joined(config.run.device) as ranks:
        task = make_task(config, videos)
        training = Training(task, config, Path(), ranks, watcher)
        balance = _balance(videos) if config.data.source == "videos" else ()
        for line in (*task.notes, *introduction(config, training, videos), *balance):
            watcher.note(line)
        pictures_too = config.data.source == "camera-motion"
        failures = _unreadable([*videos.training.samples, *videos.validation.samples], pictures_too)
        num_videos = len(videos.training.samples) + len(videos.validation.samples)
        watcher.note(f"opened {num_videos} videos, {len(failures)} cannot be read")
        for message in failures[:_MAX_NAMED]:
            watcher.note(f"  {message}")
        batch = _some_clips(task)
        watcher.note(_memory(training, task, batch))
        watcher.note(_overfit(training, task, batch))
    return 1 if failures else 0


def _balance(videos: Videos) -> Iterator[str]:
    """How many videos each class has."""
    labels = videos.training.labels
    counts = [Counter(sample.label for sample in part.samples) for part in (videos.training, videos.validation)]
    for index, label in enumerate(labels[:_MAX_CLASSES]):
        yield f"  {label}: {counts[0][index]} to learn from, {counts[1][index]} for validation"
    if len(labels) > _MAX_CLASSES:
        fewest, most = min(counts[0].values()), max(counts[0].values())
        yield f"  and {len(labels) - _MAX_CLASSES} more classes; of {fewest} to {most} videos each"


def _unreadable(samples: list[Sample], pictures_too: bool) -> list[str]:
    """What is wrong with each video that does not open."""

    def fault(sample: Sample) -> str:
        try:
            with open_video(sample.path, allow_images=pictures_too):
                return ""
        except VideoError as error:
            return f"{error.message} ({sample.source})"

    with ThreadPoolExecutor(_NUM_READERS) as readers:
        return [text for text in readers.map(fault, samples) if text]


def _some_clips(task: PretrainTask | FinetuneTask) -> ClipBatch:
    """A small batch, of the first videos that can be read."""
    found: list[ClipBatch] = []
    for index in range(task.clips.num_videos):
        clips = task.clips[Draw(epoch=0, index=index)]
        found += [clips] * bool(len(clips.frames))
        if len(found) == _MAX_CLIPS:
            break
    if not found:
        raise VideoError("damaged", "not one of the videos can be read")
    return ClipBatch.join(found)


def _memory(training: Training, task: Task, batch: ClipBatch) -> str:
    """What training takes: weights and all that goes with them, and what a forward pass keeps for the way back."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in task.model.parameters()}
    device, optim = training.ranks.device, training.config.optim
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), autocast(device, training.dtype):
        task.loss(task.model, batch, torch.Generator().manual_seed(0))
    activations = sum(size for place, size in kept.items() if place not in weights)
    clips = optim.micro_batch * task.clips_per_video
    total = activations / len(batch.frames) * clips
    state = task.model.num_parameters(only_trainable=True) * (_BYTES_PER_WEIGHT + 4 * (optim.ema is not None))
    return (
        f"memory: about {(state + total) / 1e9:.1f} GB a process: {state / 1e9:.1f} for weights and optimiser, "
        f"{total / 1e9:.1f} for {clips} clips at a time"
    )


def _overfit(training: Training, task: Task, batch: ClipBatch) -> str:
    """Train on one small batch: a loss that does not fall says that something is wrong with labels or settings.

    Raises:
        DivergedError: the loss is not finite.
    """
    optimizer = torch.optim.AdamW((p for p in task.model.parameters() if p.requires_grad), lr=_LR)
    losses: list[float] = []
    end = time.monotonic() + _MAX_SECONDS
    while len(losses) < _MAX_STEPS and (len(losses) < 2 or time.monotonic() < end):
        with autocast(training.ranks.device, training.dtype):
            loss = task.loss(task.model, batch, torch.Generator().manual_seed(0)) / len(batch.frames)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    if not all(map(math.isfinite, losses)):
        raise DivergedError(f"the loss on one batch became {losses[-1]}", "Look at --init and at the precision.")
    return f"overfitting {len(batch.frames)} clips: loss {losses[0]:.4f} -> {losses[-1]:.4f} in {len(losses)} steps"
