"""The gradient of one step: forward and backward of its micro-batches, on this process' share of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..config.schema import Config
from ..data.dataset import ClipBatch
from ..data.loader import Clips
from ..inference.device import memory_told
from ..model.pretrained import PretrainedModel
from .distributed import Ranks, synchronised


class Task(Protocol):
    """What is trained: the model, its data, its loss, and what it is measured by."""

    @property
    def model(self) -> PretrainedModel:
        """That learns."""

    num_blocks: int
    """Of its encoder."""
    clips: Clips
    """That it learns from."""
    clips_per_video: int
    """In one step."""
    blank: ClipBatch
    """One clip that shows nothing."""
    fingerprint: str
    """Of the videos and their labels; a run does not go on with others."""

    def loss(self, model: nn.Module, batch: ClipBatch, generator: torch.Generator) -> Tensor:
        """The sum of the losses of a batch's clips; `model` is the task's own, wrapped."""

    def validate(self, model: PretrainedModel, ranks: Ranks, folder: Path, epoch: int) -> dict[str, float]:
        """Measure `model`, which has the weights to be judged. All processes call it.

        "score" among the results tells the best checkpoint.
        """


class Gradients:
    """Adds up the gradients of a step.

    Args:
        task: what is trained.
        model: its model, wrapped for several processes.
        config: the recipe.
        ranks: the processes.
        dtype: of the arithmetic.
        scaler: of the loss, for float16.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        config: Config,
        ranks: Ranks,
        dtype: torch.dtype,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self._task, self._model, self._ranks, self._dtype, self._scaler = task, model, ranks, dtype, scaler
        optim = config.optim
        self._seed = config.run.seed
        self._micro_batch = optim.micro_batch
        self.num_micro_batches = optim.batch_size // (optim.micro_batch * ranks.world_size)
        # The mean over the clips of a step: DDP and FSDP divide what they add up by the number of processes.
        self._scale = ranks.world_size / (optim.batch_size * task.clips_per_video)

    def add_up(self, step: int, batches: Iterator[ClipBatch]) -> tuple[float, int, float]:
        """Forward and backward, with the gradients left in the weights.

        Args:
            step: its number.
            batches: the micro-batches of this process, in order.

        Returns:
            Of this process: sum of the clips' losses, number of clips, seconds that data was waited for.

        Raises:
            MachineError: out of memory.
        """
        ranks = self._ranks
        total, num_clips, waited_seconds = torch.zeros((), device=ranks.device), 0, 0.0
        hint = f"Lower optim.micro_batch (it is {self._micro_batch}): more micro-batches make the same step."
        for number in range(self.num_micro_batches):
            start = time.monotonic()
            batch = next(batches)
            waited_seconds += time.monotonic() - start
            generator = self._seeded((step * self.num_micro_batches + number) * ranks.world_size + ranks.rank)
            is_last = number == self.num_micro_batches - 1
            with memory_told(f"on {ranks.device} in step {step}", hint), synchronised(self._model, is_last):
                with autocast(ranks.device, self._dtype):
                    loss = self._loss(batch, generator)
                self._scaler.scale(loss * self._scale).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            num_clips += len(batch.frames)
        return float(total), num_clips, waited_seconds

    def _loss(self, batch: ClipBatch, generator: torch.Generator) -> Tensor:
        """A process that could read nothing computes all the same, for nothing: the others wait for its gradient."""
        if len(batch.frames):
            return self._task.loss(self._model, batch, generator)
        return 0 * self._task.loss(self._model, self._task.blank, generator)

    def _seeded(self, place: int) -> torch.Generator:
        """What a micro-batch draws depends on its place in the run alone: dropout too, which has no generator."""
        model, task = np.random.SeedSequence([self._seed, place]).generate_state(2, np.uint64).tolist()
        torch.manual_seed(model >> 1)
        return torch.Generator().manual_seed(task >> 1)


def clipped_norm(optimizer: torch.optim.Optimizer, longest: float | None) -> float:
    """The norm of the whole gradient, which is shortened if it is longer than asked for.

    Args:
        optimizer: of the weights.
        longest: None leaves the gradient as it is.

    Returns:
        The norm from before.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
    if longest is None:
        norm = nn.utils.get_total_norm([weight.grad for weight in weights])
    else:
        norm = nn.utils.clip_grad_norm_(weights, longest)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type that products are computed in.

    Args:
        name: "auto", "float32", "bfloat16" or "float16".
        device: where.
    """
    if name == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Within it, products are computed in `dtype`.

    Args:
        device: where.
        dtype: float32 for none of it.
    """
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
