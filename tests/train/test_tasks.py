"""One step of both tasks: what is trained, in what precision, and what a step of nothing is."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models import SMALL, masks, relative_error
from tests.motion import write_motions
from videomae_cli.config.schema import FinetuneConfig, PretrainConfig, with_values
from videomae_cli.data.dataset import ClipBatch
from videomae_cli.data.manifest import Manifest
from videomae_cli.model.masking import running_cell_mask
from videomae_cli.train.distributed import Ranks
from videomae_cli.train.metrics import Row
from videomae_cli.train.optim import build_optimizer
from videomae_cli.train.run import train
from videomae_cli.train.step import Gradients, clipped_norm
from videomae_cli.train.tasks import FinetuneTask, PretrainTask, normalised

LABELS = ("down", "left", "right", "up")
RANKS = Ranks(0, 1, torch.device("cpu"))
SIZES = {f"model.{name}": size for name, size in SMALL.items() if name != "initializer_range"}
NOTHING_DRAWN = {"pretrain": {}, "finetune": {"model.drop_path": 0.0, "augment.mix_prob": 0.0}}
OPTIM = {"optim.batch_size": 4, "optim.micro_batch": 2}
Task = PretrainTask | FinetuneTask


def fine_tuning(**changes: Any) -> FinetuneTask:
    config = with_values(FinetuneConfig(), {**SIZES, **OPTIM, **changes})
    return FinetuneTask(config, Manifest((), LABELS), Manifest((), LABELS))


def pretraining(**changes: Any) -> PretrainTask:
    config = with_values(PretrainConfig(), {**SIZES, **OPTIM, "mask.ratio": 0.5, **changes})
    return PretrainTask(config, Manifest((), ()), Manifest((), ()))


TASKS = {"pretrain": pretraining, "finetune": fine_tuning}


def some_clips(task: Task, seed: int = 0, num_clips: int = 2) -> ClipBatch:
    draws = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (num_clips, 4, 3, 32, 32), generator=draws, dtype=torch.uint8)
    if isinstance(task, FinetuneTask):
        return ClipBatch(frames, labels=torch.randint(0, 4, (num_clips,), generator=draws))
    return ClipBatch(frames, masks=masks(task.model.config, num_clips, ratio=0.5, seed=seed))


def nothing() -> ClipBatch:
    """As the loader gives it where no video of a micro-batch can be read."""
    return ClipBatch(torch.empty((0, 4, 3, 32, 32), dtype=torch.uint8), unreadable=(("a.mp4", "a.mp4 is damaged"),))


def step(task: Task, batches: list[ClipBatch], number: int = 0) -> tuple[float, int, dict[str, Tensor]]:
    """Sum of losses, number of clips, gradients."""
    task.model.train().zero_grad()
    sums = Gradients(task, task.model, task.config, RANKS, torch.float32, torch.amp.GradScaler("cpu", enabled=False))
    loss, num_clips, _ = sums.add_up(number, iter(batches))
    return loss, num_clips, {name: weight.grad for name, weight in task.model.named_parameters()}


# ---- micro-batches of nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TASKS)
def test_a_step_of_nothing_has_a_gradient_of_zero(kind: str) -> None:
    loss, num_clips, gradients = step(TASKS[kind](), [nothing(), nothing()])
    assert (loss, num_clips) == (0.0, 0)
    assert all(gradient is not None and not gradient.any() for gradient in gradients.values())


def test_nothing_is_masked_as_the_rest_is() -> None:
    task = pretraining(**{"mask.decoder_ratio": 0.5})
    assert (task.blank.masks.sum(), task.blank.decoder_masks.sum()) == (4, 4)
    assert step(task, [nothing(), nothing()])[:2] == (0.0, 0)


@pytest.mark.parametrize("kind", TASKS)
def test_nothing_adds_nothing(kind: str) -> None:
    task = TASKS[kind](**NOTHING_DRAWN[kind])
    batch = some_clips(task)
    loss, num_clips, gradients = step(task, [batch, nothing()])
    alone = task.loss(task.model.train(), batch, torch.Generator())
    task.model.zero_grad()
    (alone / 4).backward()  # the batch counts 4 videos, whether they can be read or not
    assert (loss, num_clips) == (pytest.approx(float(alone.detach())), 2)
    for name, weight in task.model.named_parameters():
        assert relative_error(gradients[name], weight.grad) < 1e-5, name


# ---- what a step draws -----------------------------------------------------------------------------------------------


def test_a_step_is_a_function_of_its_number() -> None:
    task = fine_tuning(**{"model.drop_path": 0.5, "model.head_dropout": 0.5})
    batches = [some_clips(task, seed) for seed in range(2)]
    first, other = step(task, batches), step(task, batches, number=1)
    torch.manual_seed(7)
    again = step(task, batches)
    assert first[0] == again[0] != other[0]
    assert all(torch.equal(again[2][name], gradient) for name, gradient in first[2].items())


@pytest.mark.parametrize("kind", TASKS)
def test_gradient_checkpointing_changes_no_gradient(kind: str) -> None:
    changes = {"model.drop_path": 0.5}
    plain, saving = (TASKS[kind](**{**changes, "model.gradient_checkpointing": flag}) for flag in (False, True))
    assert saving.model.videomae.blocks.gradient_checkpointing
    batches = [some_clips(plain, seed) for seed in range(2)]
    found, wanted = step(saving, batches), step(plain, batches)
    assert found[0] == wanted[0]
    assert all(torch.equal(found[2][name], gradient) for name, gradient in wanted[2].items())


@pytest.mark.parametrize("kind", TASKS)
def test_a_loss_reads_nothing_back_from_the_device(kind: str) -> None:
    """On "meta" there is nothing to read, see tests/unit/test_no_host_sync.py."""
    task = TASKS[kind](**{"model.drop_path": 0.5, **({"mask.decoder_ratio": 0.5} if kind == "pretrain" else {})})
    batch = some_clips(task)
    if kind == "pretrain":
        cells = running_cell_mask(task.model.config.grid, torch.Generator())
        batch.decoder_masks = cells.repeat(2, 1)
    task.model.to("meta").train()
    loss = task.loss(task.model, batch, torch.Generator())
    loss.backward()
    assert loss.device.type == "meta"


def test_levels_become_what_processors_make_of_them() -> None:
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1, 1).expand(1, 2, 3, 1, 1)
    assert normalised(frames, torch.device("cpu")).flatten().tolist() == pytest.approx(
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225, 0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]
    )


# ---- what is trained -------------------------------------------------------------------------------------------------

HEAD = {"fc_norm.weight", "fc_norm.bias", "classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    ("changes", "frozen"),
    [
        ({}, ()),
        ({"frozen_blocks": 1}, ("videomae.embeddings.", "videomae.blocks.0.")),
        ({"frozen_blocks": 2}, ("videomae.",)),
        ({"linear_probe": True}, ("videomae.",)),
    ],
)
def test_what_is_frozen_stays_and_all_else_moves(changes: dict[str, Any], frozen: tuple[str, ...]) -> None:
    task = fine_tuning(**changes)
    before = {name: weight.clone() for name, weight in task.model.state_dict().items()}
    optimizer = build_optimizer(task.model, task.config.optim, task.num_blocks)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for number in range(2):  # the fresh head is small: in the first step, next to nothing goes below it
        step(task, [some_clips(task, 2 * number), some_clips(task, 2 * number + 1)], number)
        optimizer.step()
    same = {name for name, weight in task.model.state_dict().items() if torch.equal(weight, before[name])}
    assert same == {name for name in before if frozen and name.startswith(frozen)}


# ---- clipping and precision ------------------------------------------------------------------------------------------


def test_clipping_shortens_the_whole_gradient() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(3)]
    optimizer = torch.optim.AdamW([{"params": weights[:1]}, {"params": weights[1:]}])
    weights[0].grad, weights[2].grad = torch.tensor([3.0]), torch.tensor([4.0])  # one has none
    assert clipped_norm(optimizer, None) == 5
    assert clipped_norm(optimizer, 10.0) == 5
    assert (float(weights[0].grad), float(weights[2].grad)) == (3, 4)
    assert clipped_norm(optimizer, 1.0) == 5
    assert (float(weights[0].grad), float(weights[2].grad)) == (pytest.approx(0.6), pytest.approx(0.8))


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_motions(tmp_path_factory.mktemp("motions"), range(1))


@dataclass
class Notebook:
    """Keeps what a run tells."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def row(self, row: Row) -> None:
        self.rows.append(row)

    def stop_code(self) -> int:
        return 0


OVERFIT = {
    "data.validation_fraction": 0.0,
    "data.num_workers": 0,
    "augment.area": (1.0, 1.0),
    "augment.aspect": (1.0, 1.0),
    "augment.flip": 0.0,
    "augment.rand_augment": None,
    "augment.erasing": 0.0,
    "augment.mix_prob": 0.0,
    "augment.label_smoothing": 0.0,
    "optim.lr": 0.64,
    "optim.layer_decay": 1.0,
    "optim.epochs": 24,
    "optim.warmup_epochs": 2.0,
    "run.device": "cpu",
    "run.checkpoint_epochs": 100,
    "run.log_steps": 1,
}


def overfit(precision: str, motions: Path, folder: Path) -> Notebook:
    changes = {**SIZES, **OPTIM, **OVERFIT, "optim.precision": precision, "data.train": str(motions)}
    told = Notebook()
    assert train(with_values(FinetuneConfig(), changes), folder, told, resume=False).exit_code == 0
    return told


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_every_precision_learns_four_videos(motions: Path, tmp_path: Path, precision: Any) -> None:
    told = overfit(precision, motions, tmp_path)
    losses = [row["loss"] for row in told.rows if "loss" in row]
    assert len(losses) == 24
    assert losses[0] == pytest.approx(1.386, abs=0.01)  # log 4
    assert losses[-1] < 0.9
    assert any(f"torch.{precision} on cpu" in note for note in told.notes)


def test_float16_that_overflows_skips_steps_and_goes_on(
    motions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale that is far too large for the first steps is halved until the gradient fits."""
    too_large = functools.partial(torch.amp.GradScaler, init_scale=2.0**20)
    monkeypatch.setattr(torch.amp, "GradScaler", too_large)
    told = overfit("float16", motions, tmp_path)
    rows = [row for row in told.rows if "loss" in row]
    num_skipped = sum(not math.isfinite(row["gradient_norm"]) for row in rows)
    assert 1 <= num_skipped <= 6
    assert not any(math.isfinite(row["gradient_norm"]) for row in rows[:num_skipped])
    unlearnt = [row["loss"] for row in rows[: num_skipped + 1]]
    assert unlearnt == pytest.approx([rows[0]["loss"]] * len(unlearnt), abs=1e-5)
    assert rows[-1]["loss"] < 1.3
