"""Several processes that train one model: who am I, what do we agree on, and how the model is wrapped.

Started by torchrun, which sets RANK and WORLD_SIZE; without it there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from ..errors import UsageError
from ..inference.device import choose_device
from ..model.layers import Block


_PATIENCE = timedelta(days=1)  # one process may wait as long for another's share of an evaluation


@dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Args:
        rank: of this one.
        world_size: how many there are.
        device: of this one.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def highest(self, value: int) -> int:
        """The highest of what each process gives: how they agree to stop.

        Args:
            value: of this one.
        """
        if self.world_size == 1:
            return value
        tensor = torch.tensor(value, device=self.device)
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return int(tensor.item())

    def total(self, values: Tensor) -> Tensor:
        """The sum of what each process gives.

        Args:
            values: of this one.
        """
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all are here."""
        if self.world_size > 1:
            distributed.barrier()


@contextmanager
def joined(device_name: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started, and leave them again.

    Args:
        device_name: "auto", "cpu", "cuda" or "mps"; each process of a machine takes a CUDA device of its own.

    Raises:
        UsageError: no such device.
        MachineError: it is not there.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(0, 1, choose_device(device_name))
        return
    has_cuda = device_name == "auto" and torch.cuda.is_available()
    if device_name == "cuda" or has_cuda:
        device_name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    elif device_name == "auto":
        device_name = "cpu"
    device = choose_device(device_name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), world_size, device)
    finally:
        distributed.destroy_process_group()


def wrap(model: nn.Module, ranks: Ranks, sharding: str) -> nn.Module:
    """What is called in training in the place of the model.

    Args:
        model: on its device.
        ranks: the processes.
        sharding: "none": each holds all weights and gradients are averaged (DDP). "full": each holds a share of them,
            block by block (FSDP2).

    Raises:
        UsageError: sharding among one process.
    """
    if sharding == "full":
        if ranks.world_size == 1:
            raise UsageError("run.sharding is full, and there is one process", "Start several with torchrun.")
        for module in model.modules():
            if isinstance(module, Block):
                fully_shard(module)
        return cast(nn.Module, fully_shard(model))
    if ranks.world_size == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
        broadcast_buffers=False,  # the tables of positions are computed, and equal
        gradient_as_bucket_view=True,
    )


@contextmanager
def synchronised(model: nn.Module, is_last: bool) -> Iterator[None]:
    """Around forward and backward of one micro-batch: gradients are exchanged in the last one of a step only.

    Args:
        model: from `wrap`.
        is_last: of the step.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
    elif isinstance(model, DistributedDataParallel) and not is_last:
        with model.no_sync():
            yield
        return
    yield
