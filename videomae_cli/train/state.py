"""Everything of a run that learns, as tensors on the CPU and back: weights, their average, the optimiser's moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule

from ..model.pretrained import PretrainedModel

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)  # however the model is sharded


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

    def restart(self) -> None:
        """Begin again at the model's weights."""
        with torch.no_grad():
            torch._foreach_copy_(self._averages, [p.detach() for p in self._parameters])

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
        Groups "model", "optimizer" (as "blocks.0.norm1.weight.exp_avg") and "average", on the CPU.
    """
    moments = cast(dict[str, dict[str, Tensor]], get_optimizer_state_dict(model, optimizer, options=_WHOLE)["state"])
    groups = {
        "model": _tensors(get_model_state_dict(model, options=_WHOLE)),
        "optimizer": {f"{name}.{key}": value for name, state in moments.items() for key, value in state.items()},
    }
    if average is not None:
        with average.in_place():
            groups["average"] = {
                name: tensor.clone() for name, tensor in _tensors(get_model_state_dict(model, options=_WHOLE)).items()
            }
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
        groups: from `gather`.
    """
    if average is not None:
        load_weights(model, groups["average"])
        average.restart()
    load_weights(model, groups["model"])
    moments: dict[str, Any] = {}
    for key, tensor in _copies(groups["optimizer"]).items():
        name, _, kind = key.rpartition(".")
        moments.setdefault(name, {})[kind] = tensor
    found = get_optimizer_state_dict(model, optimizer, options=_WHOLE)  # for its groups, whose rates each step sets
    set_optimizer_state_dict(
        model, optimizer, {"state": moments, "param_groups": found["param_groups"]}, options=_WHOLE
    )


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model, sharded or not, other weights. All processes call it.

    Args:
        model: that is trained, not wrapped.
        tensors: the group "model" or "average" of `gather`.
    """
    set_model_state_dict(model, _copies(tensors), options=_WHOLE)


def unsharded(model: PretrainedModel) -> PretrainedModel:
    """The model itself, or a copy with all weights where processes share them. All processes call it.

    Args:
        model: that is trained, not wrapped.
    """
    if not isinstance(model, FSDPModule):
        return model
    weights = _tensors(get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)))
    whole = type(model).__mro__[1](model.config)  # fully_shard puts a class of its own in front
    whole.load_state_dict(weights)
    return cast(PretrainedModel, whole.to(model.device))


def _tensors(state: Mapping[str, object]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in state.items() if isinstance(value, Tensor)}


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Off the memory-mapped file."""
    return {name: tensor.clone() for name, tensor in tensors.items()}
