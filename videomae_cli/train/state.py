"""Everything of a run that learns, as tensors on the CPU and back: weights, their average, the optimiser's moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from ..model.pretrained import PretrainedModel


class Average:
    """An exponential moving average of a model's weights.

    Args:
        model: whose; the average begins at its weights.
        decay: share of the old average that stays in a step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = list(model.parameters())
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        self._decay = decay

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimiser."""
        torch._foreach_lerp_(self._averages, [p.detach() for p in self._parameters], 1 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the average for its weights meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again at the model's weights."""
        for parameter, average in zip(self._parameters, self._averages, strict=True):
            average.copy_(parameter)

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self._parameters, self._averages, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)


def gather(model: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None) -> dict[str, dict[str, Tensor]]:
    """What a checkpoint holds; all processes call it.

    Args:
        model: that is trained, not wrapped.
        optimizer: of its weights.
        average: of its weights.

    Returns:
        Groups "model", "optimizer" (as "blocks.0.norm1.weight.exp_avg") and "average", copies on the CPU; in all
        processes but the first they are empty.
    """
    moments = {
        f"{name}.{kind}": tensor
        for name, parameter in model.named_parameters()
        for kind, tensor in optimizer.state.get(parameter, {}).items()
    }
    groups = {"model": _on_cpu(model.state_dict()), "optimizer": _on_cpu(moments)}
    if average is not None:
        with average.in_place():
            groups["average"] = _on_cpu(model.state_dict())
    return groups


def restore(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None,
    groups: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Undo `gather`; all processes call it.

    Args:
        model: that is trained, not wrapped.
        optimizer: of its weights.
        average: of its weights.
        groups: what `gather` gave the first process.
    """
    if average is not None:
        load_weights(model, groups["average"])
        average.restart()
    load_weights(model, groups["model"])
    parameters = dict(model.named_parameters())
    for key, tensor in groups["optimizer"].items():
        name, _, kind = key.rpartition(".")
        parameter = parameters[name]
        # The count of steps is a number on the CPU; moments lie where their weight does.
        value = tensor.clone() if tensor.ndim == 0 else _placed(tensor, parameter)
        optimizer.state[parameter][kind] = value


@torch.no_grad()
def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model, sharded or not, other weights. All processes call it.

    Args:
        model: that is trained, not wrapped.
        tensors: the group "model" or "average" of `gather`.
    """
    for name, weight in model.state_dict().items():
        weight.copy_(_placed(tensors[name], weight))


def unsharded(model: PretrainedModel) -> PretrainedModel:
    """The model itself, or a copy with all weights where processes share them. All processes call it.

    Args:
        model: that is trained, not wrapped.
    """
    if not isinstance(model, FSDPModule):
        return model
    # fully_shard puts classes of its own in front.
    kind: Any = next(kind for kind in type(model).__mro__ if not issubclass(kind, FSDPModule))
    with torch.device("meta"):  # no weights are drawn that are replaced at once
        whole = kind(model.config)
    whole.load_state_dict({name: _whole(weight) for name, weight in model.state_dict().items()}, assign=True)
    return cast(PretrainedModel, whole.to(model.device))


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies for the first process, one weight at a time; the others only give their shares."""
    is_first = not distributed.is_initialized() or distributed.get_rank() == 0
    wholes = ((name, _whole(tensor)) for name, tensor in tensors.items())
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in wholes if is_first}


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _placed(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy where `like` is; this process' share of it, if `like` is one."""
    copy = tensor.to(like.device, copy=True)  # off the memory-mapped file
    if not isinstance(like, DTensor):
        return copy
    return distribute_tensor(copy, like.device_mesh, like.placements, src_data_rank=None)
