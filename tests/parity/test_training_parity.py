"""A step of our training against the same step made of transformers' model and torch's own optimiser.

Losses agree within 1e-5 and gradients within 1e-4, relative to the largest value of each tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models import SMALL, gradients, masks, pair, relative_error
from videomae_cli.config.schema import FinetuneConfig, PretrainConfig, with_values
from videomae_cli.data.dataset import ClipBatch
from videomae_cli.data.manifest import Manifest
from videomae_cli.train.distributed import Ranks
from videomae_cli.train.optim import build_optimizer, set_lr
from videomae_cli.train.step import Gradients, clipped_norm
from videomae_cli.train.tasks import FinetuneTask, PretrainTask

FORWARD, BACKWARD = 1e-5, 1e-4
LABELS = ("down", "left", "right", "up", "still")
RANKS = Ranks(0, 1, torch.device("cpu"))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAIN = {"augment.mixup": 0.0, "augment.cutmix": 0.0, "augment.label_smoothing": 0.0}
LR, LAYER_DECAY, WEIGHT_DECAY = 0.01, 0.5, 0.3
EPS = 1e-3  # a gradient that is all rounding error moves no weight by a whole step


def small(config: Any, init: Path, **changes: Any) -> Any:
    """A configuration of models of `SMALL` that begin with a checkpoint."""
    sizes = {f"model.{name}": size for name, size in SMALL.items() if name != "initializer_range"}
    own = {"init": str(init), "model.drop_path": 0.0, "model.attention": "eager"}
    optim = {"optim.batch_size": 4, "optim.micro_batch": 4, "optim.weight_decay": WEIGHT_DECAY, "optim.eps": EPS}
    return with_values(config, {**sizes, **own, **optim, **changes})


def pretraining(folder: Path, **changes: Any) -> tuple[Any, PretrainTask]:
    """(theirs, our task): the same weights."""
    is_normalised = changes.get("mask.target", "normalized") == "normalized"
    theirs, _ = pair("VideoMAEForPreTraining", **SMALL, use_mean_pooling=False, norm_pix_loss=is_normalised)
    theirs.save_pretrained(folder)
    config = small(PretrainConfig(), folder, **changes)
    return theirs.train(), PretrainTask(config, Manifest((), ()), Manifest((), ()))


def fine_tuning(folder: Path, **changes: Any) -> tuple[Any, FinetuneTask]:
    """(theirs, our task): the same weights, the head's too."""
    theirs, _ = pair("VideoMAEForVideoClassification", **SMALL, id2label=dict(enumerate(LABELS)))
    theirs.save_pretrained(folder)
    config = small(FinetuneConfig(), folder, **{**PLAIN, **changes})
    task = FinetuneTask(config, Manifest((), LABELS), Manifest((), LABELS))
    return theirs.train(), task


def clips(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (4, 4, 3, 32, 32), generator=generator, dtype=torch.uint8)


def as_theirs(frames: Tensor) -> Tensor:
    """Pixels as every processor of transformers makes them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (frames / 255 - mean) / std


def assert_same_gradients(ours: Any, theirs: Any) -> None:
    found, wanted = gradients(ours), gradients(theirs)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert relative_error(found[name], gradient) < BACKWARD, name


@pytest.mark.parametrize("target", ["normalized", "raw"])
def test_pretraining_step(tmp_path: Path, target: str) -> None:
    theirs, task = pretraining(tmp_path, **{"mask.target": target})
    batch = ClipBatch(clips(), masks=masks(task.model.config, 4))
    found = task.loss(task.model.train(), batch, torch.Generator())
    wanted = theirs(as_theirs(batch.frames), batch.masks).loss * 4  # the sum over the clips
    assert relative_error(found, wanted) < FORWARD
    found.backward()
    wanted.backward()
    assert_same_gradients(task.model, theirs)


@pytest.mark.parametrize(
    ("smoothing", "target"),
    [
        (0.0, [[0, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 1, 0, 0]]),
        (0.1, [[2, 2, 92, 2, 2], [92, 2, 2, 2, 2], [2, 2, 2, 2, 92], [2, 2, 92, 2, 2]]),  # percent
    ],
)
def test_fine_tuning_step(tmp_path: Path, smoothing: float, target: list[list[float]]) -> None:
    theirs, task = fine_tuning(tmp_path, **{"augment.label_smoothing": smoothing})
    batch = ClipBatch(clips(), labels=torch.tensor([2, 0, 4, 2]))
    found = task.loss(task.model.train(), batch, torch.Generator())
    rows = torch.tensor(target, dtype=torch.float32)
    wanted = F.cross_entropy(theirs(as_theirs(batch.frames)).logits, rows / rows.sum(1, keepdim=True), reduction="sum")
    assert relative_error(found, wanted) < FORWARD
    if smoothing == 0:
        by_index = theirs(as_theirs(batch.frames), labels=batch.labels).loss * 4
        assert relative_error(found, by_index) < FORWARD
    found.backward()
    wanted.backward()
    assert_same_gradients(task.model, theirs)


def test_fine_tuning_step_with_mixup(tmp_path: Path) -> None:
    """The share of each clip is read back from the pixels that the model saw, and the target made of it by hand."""
    theirs, task = fine_tuning(tmp_path, **{"augment.mixup": 0.8})
    seen: list[Tensor] = []
    task.model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].clone()))
    labels = torch.tensor([2, 0, 4, 2])
    found = task.loss(task.model.train(), ClipBatch(clips(), labels=labels), torch.Generator().manual_seed(1))
    plain = as_theirs(clips())
    difference = plain - plain.flip(0)
    share = ((seen[0] - plain.flip(0)) * difference).sum() / difference.square().sum()
    assert 0.05 < share < 0.95
    assert relative_error(seen[0], share * plain + (1 - share) * plain.flip(0)) < FORWARD
    hot = torch.eye(5)[labels]
    wanted = F.cross_entropy(theirs(seen[0]).logits, share * hot + (1 - share) * hot.flip(0), reduction="sum")
    assert relative_error(found, wanted) < FORWARD
    found.backward()
    wanted.backward()
    assert_same_gradients(task.model, theirs)


def groups_of_theirs(model: Any, layer_decay: float) -> list[dict[str, Any]]:
    """One group for each weight, its rate and decay by the recipe's words: 2 blocks, so the head is layer 3."""
    groups = []
    for name, parameter in model.named_parameters():
        block = re.match(r"videomae\.encoder\.layer\.(\d+)\.", name)
        layer = int(block[1]) + 1 if block else 0 if name.startswith("videomae.embeddings") else 3
        decays = name.endswith("weight") and "norm" not in name
        decay = WEIGHT_DECAY if decays else 0.0
        groups.append({"params": [parameter], "lr": LR * layer_decay ** (3 - layer), "weight_decay": decay})
    return groups


def three_steps(task: Any, batches: list[ClipBatch]) -> None:
    """Ours, in micro-batches of 2 clips."""
    config = task.config
    optimizer = build_optimizer(task.model.train(), config.optim, task.num_blocks)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    sums = Gradients(task, task.model, config, RANKS, torch.float32, scaler)
    for step, batch in enumerate(batches):
        set_lr(optimizer, LR)
        sums.add_up(step, halves(batch))
        clipped_norm(optimizer, config.optim.clip_grad)
        optimizer.step()
        optimizer.zero_grad()


def halves(batch: ClipBatch) -> Iterator[ClipBatch]:
    for part in (slice(0, 2), slice(2, 4)):
        cut = [None if tensor is None else tensor[part] for tensor in (batch.labels, batch.masks)]
        yield ClipBatch(batch.frames[part], *cut)


def assert_same_weights(ours: Any, theirs: Any, before: dict[str, Tensor]) -> None:
    """The way that each weight went agrees within 1e-4 of the longest way in its tensor."""
    for model in (ours, theirs):
        for parameter in model.parameters():
            parameter.grad = parameter.detach()  # so that `gradients` tells them by name
    found, wanted = gradients(ours), gradients(theirs)
    for name, weight in wanted.items():
        assert relative_error(found[name] - before[name], weight - before[name]) < BACKWARD, name


def weights_of(model: Any) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("clip_grad", [None, 0.5])
def test_three_steps_of_pretraining(tmp_path: Path, clip_grad: float | None) -> None:
    theirs, task = pretraining(tmp_path, **{"optim.micro_batch": 2, "optim.clip_grad": clip_grad})
    batches = [ClipBatch(clips(seed), masks=masks(task.model.config, 4, seed=seed)) for seed in range(3)]
    before = weights_of(theirs)
    three_steps(task, batches)
    optimizer = torch.optim.AdamW(groups_of_theirs(theirs, 1.0), betas=(0.9, 0.95), eps=EPS)
    for batch in batches:
        theirs(as_theirs(batch.frames), batch.masks).loss.backward()
        step_of_theirs(theirs, optimizer, clip_grad)
    assert_same_weights(task.model, theirs, before)


def test_three_steps_of_fine_tuning(tmp_path: Path) -> None:
    changes = {"optim.micro_batch": 2, "optim.layer_decay": LAYER_DECAY}
    theirs, task = fine_tuning(tmp_path, **changes)
    labels = torch.tensor([2, 0, 4, 2])
    batches = [ClipBatch(clips(seed), labels=labels) for seed in range(3)]
    before = weights_of(theirs)
    three_steps(task, batches)
    optimizer = torch.optim.AdamW(groups_of_theirs(theirs, LAYER_DECAY), betas=(0.9, 0.999), eps=EPS)
    for batch in batches:
        theirs(as_theirs(batch.frames), labels=labels).loss.backward()
        step_of_theirs(theirs, optimizer, None)
    assert_same_weights(task.model, theirs, before)


def step_of_theirs(model: Any, optimizer: torch.optim.Optimizer, clip_grad: float | None) -> None:
    if clip_grad is not None:
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_grad)
        assert norm > clip_grad
    optimizer.step()
    optimizer.zero_grad()
