"""Several processes that train one model: who am I, what do we agree on, and how the model is wrapped.

Started by torchrun, which sets RANK and WORLD_SIZE; without it there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from ..errors import MachineError, UsageError
from ..inference.device import choose_device
from ..model.layers import Block

Value = TypeVar("Value")

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

    def total(self, values: Tensor) -> Tensor:
        """The sum of what each process gives.

        Args:
            values: of this one.
        """
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values

    def gather(self, value: Value) -> list[Value]:
        """What each process gives, in each of them.

        Args:
            value: of this one; it pickles.
        """
        values = [value] * self.world_size
        if self.world_size > 1:
            distributed.all_gather_object(values, value)
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
        UsageError: no such device, or WORLD_SIZE was not set by torchrun.
        MachineError: it is not there, or another process ended before its time.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(0, 1, choose_device(device_name))
        return
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        hint = "Start several processes with torchrun, which sets them all; for a single one, unset WORLD_SIZE."
        raise UsageError(f"WORLD_SIZE is {world_size}, and {', '.join(missing)} not set", hint)
    has_cuda = device_name == "auto" and torch.cuda.is_available()
    if device_name == "cuda" or has_cuda:
        device_name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    elif device_name == "auto":
        device_name = "cpu"
    device = choose_device(device_name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    rank = int(os.environ["RANK"])
    with _others_told():
        distributed.init_process_group(backend, store=_store(), rank=rank, world_size=world_size, timeout=_PATIENCE)
        try:
            yield Ranks(rank, world_size, device)
        except BaseException as error:
            _forget_frames(error)
            raise
        finally:
            distributed.destroy_process_group()


def _forget_frames(error: BaseException | None) -> None:
    """Let go of the model that an error on its way holds: it may not outlive the process group (see run.py)."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _store() -> Store:
    """Where processes tell their addresses to each other.

    When one died, torchrun (2.13) starts all anew with the same store, where the addresses of the dead still stand. The
    number of the attempt keeps them apart. Machines count attempts each for itself, so this serves one machine; with
    several, torchrun itself must be run with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 (pytorch issue 135712).
    """
    store: Store
    store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        return store
    return PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)


@contextmanager
def _others_told() -> Iterator[None]:
    """Another process is gone -> MachineError. NCCL has a class of error for it, gloo only words."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error).lower():
            hint = "See what it said. With torchrun --max-restarts and --resume, training goes on by itself."
            raise MachineError("another process of this training ended, or cannot be reached", hint) from error
        raise


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
