"""What a checkpoint holds is all that learns, and the average of weights is the one that a loop by hand computes.

Sharded models are in test_distributed.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.models import small_model
from videomae_cli.config.schema import OptimSection
from videomae_cli.train.optim import build_optimizer, set_lr
from videomae_cli.train.state import Average, gather, load_weights, restore, unsharded


def trained(num_steps: int, *, seed: int = 0, frozen: bool = False) -> tuple[Any, torch.optim.AdamW, Average]:
    """A model after some steps with random gradients."""
    model = small_model("VideoMAEForVideoClassification", num_labels=3, seed=seed)
    model.videomae.embeddings.requires_grad_(not frozen)
    optimizer = build_optimizer(model, OptimSection(layer_decay=0.5), 2)
    average = Average(model, 0.75)
    for step in range(num_steps):
        one_step(model, optimizer, seed=step)
        average.update()
    return model, optimizer, average


def one_step(model: Any, optimizer: torch.optim.AdamW, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draws) if parameter.requires_grad else None
    set_lr(optimizer, 0.01)
    optimizer.step()


def weights(model: Any) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def test_the_average_is_that_of_a_loop_by_hand() -> None:
    model, optimizer, average = trained(0)
    expected = weights(model)
    for step in range(3):
        one_step(model, optimizer, seed=step)
        average.update()
        expected = {name: 0.75 * tensor + 0.25 * model.state_dict()[name] for name, tensor in expected.items()}
    learned = weights(model)
    with average.in_place():
        found = weights(model)
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, rtol=1e-5, atol=1e-7), name
        assert not torch.equal(found[name], learned[name])
    assert_equal(weights(model), learned)


def test_weights_come_back_when_the_average_is_measured_and_fails() -> None:
    model, _, average = trained(2)
    learned = weights(model)
    try:
        with average.in_place():
            raise KeyError
    except KeyError:
        assert_equal(weights(model), learned)


def test_a_step_after_restoring_is_the_step_that_would_have_come() -> None:
    for frozen in (False, True):
        model, optimizer, average = trained(3, frozen=frozen)
        groups = gather(model, optimizer, average)
        other, its_optimizer, its_average = trained(1, seed=1, frozen=frozen)
        restore(other, its_optimizer, its_average, groups)
        for one, opt, avg in ((model, optimizer, average), (other, its_optimizer, its_average)):
            one_step(one, opt, seed=9)
            avg.update()
        assert_equal(weights(other), weights(model))
        with average.in_place(), its_average.in_place():
            assert_equal(weights(other), weights(model))


def test_what_is_gathered_is_named_and_does_not_change_any_more() -> None:
    model, optimizer, average = trained(2)
    groups = gather(model, optimizer, average)
    before = {group: {name: tensor.clone() for name, tensor in held.items()} for group, held in groups.items()}
    one_step(model, optimizer, seed=5)
    average.update()
    for group, held in groups.items():
        assert_equal(held, before[group])
    names = model.state_dict().keys()
    assert groups["model"].keys() == groups["average"].keys() == names
    assert groups["optimizer"].keys() == {f"{n}.{kind}" for n in names for kind in ("step", "exp_avg", "exp_avg_sq")}
    assert float(groups["optimizer"]["classifier.bias.step"]) == 2


def test_a_checkpoint_before_the_first_step_has_no_moments() -> None:
    """And to gather it begins none: a first step that is skipped must not count as one."""
    model, optimizer, _ = trained(0)
    groups = gather(model, optimizer, None)
    assert groups.keys() == {"model", "optimizer"}
    assert groups["optimizer"] == {}
    assert not optimizer.state
    other, its_optimizer, _ = trained(0, seed=1)
    restore(other, its_optimizer, None, groups)
    one_step(model, optimizer, seed=2)
    one_step(other, its_optimizer, seed=2)
    assert_equal(weights(other), weights(model))


def test_weights_can_be_given_alone() -> None:
    model, optimizer, average = trained(2)
    groups = gather(model, optimizer, average)
    load_weights(model, groups["average"])
    assert_equal(weights(model), groups["average"])
    groups["average"]["classifier.bias"].zero_()  # a copy was taken
    assert model.classifier.bias.any()


def test_a_model_that_is_not_sharded_is_whole() -> None:
    model, _, _ = trained(0)
    assert unsharded(model) is model
