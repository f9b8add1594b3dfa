"""Training on films of a moving camera: pictures in, a model of ten classes out, and files to measure it on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.models import SMALL
from tests.videos import write_text
from videomae_cli.config.load import load
from videomae_cli.config.schema import FinetuneConfig, PretrainConfig, with_values
from videomae_cli.data.camera_path import CLASSES
from videomae_cli.data.dataset import Draw
from videomae_cli.data.manifest import read_manifest
from videomae_cli.errors import UsageError
from videomae_cli.model.config import VideoMAEConfig
from videomae_cli.train import films
from videomae_cli.train.films import filmed, read_pictures
from videomae_cli.train.metrics import Row
from videomae_cli.train.run import train
from videomae_cli.train.tasks import FinetuneTask, PretrainTask

PLAIN = {"augment.flip": 0.0, "augment.rand_augment": None, "augment.erasing": 0.0}
SIZES = {f"model.{name}": size for name, size in SMALL.items() if name != "initializer_range"}
FILMS = {"data.source": "camera-motion", "data.num_films": 20, "data.num_drawn": 3, "data.num_workers": 0}
STEPS = {"optim.batch_size": 10, "optim.micro_batch": 5, "optim.epochs": 1, "optim.warmup_epochs": 0.0}
FINETUNE = with_values(FinetuneConfig(views="1x1"), {**SIZES, **FILMS, **STEPS, **PLAIN, "run.device": "cpu"})
PRETRAIN = with_values(PretrainConfig(), {**SIZES, **FILMS, **STEPS, "mask.ratio": 0.5})


@dataclass
class Told:
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def row(self, row: Row) -> None: ...

    def stop_code(self) -> int:
        return 0


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for number in range(8):
        levels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(levels.repeat(8, axis=0).repeat(8, axis=1)).save(folder / f"{number}.png")
    return folder


def test_a_run_films_its_validation_and_names_what_the_camera_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "_FILES_PER_CLASS", 1)
    config = with_values(FINETUNE, {"data.train": str(pictures(tmp_path / "pictures"))})
    told, out = Told(), tmp_path / "out"
    outcome = train(config, out, told, resume=False)
    assert outcome.exit_code == 0
    assert outcome.evaluation is not None
    assert (outcome.evaluation.num_videos, outcome.evaluation.num_failed) == (10, 0)
    assert "data: 20 films an epoch, of 7 files and 3 drawn pictures of 10 classes, 10 for validation" in told.notes
    model = VideoMAEConfig.from_pretrained(str(out))
    assert tuple(model.id2label[index] for index in range(10)) == CLASSES
    assert len(read_manifest(str(out / "validation"), labels=CLASSES).samples) == 10
    assert not (out / ".validation").exists()
    written = (out / "validation" / "static" / "0000.mp4").stat().st_mtime_ns
    assert train(config, out, told, resume=True).exit_code == 0
    assert (out / "validation" / "static" / "0000.mp4").stat().st_mtime_ns == written


def test_a_picture_held_back_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "_FILES_PER_CLASS", 1)
    folder = pictures(tmp_path / "pictures")
    for path in folder.iterdir():
        write_text(path)
    config = with_values(FINETUNE, {"data.train": str(folder), "data.validation_fraction": 0.5})
    task_ranks = films.Ranks(0, 1, torch.device("cpu"))
    told = Told()
    found = filmed(config, read_pictures(config)[1], tmp_path / "out", task_ranks, told.note)
    assert len(found.samples) == 10  # of drawn pictures
    assert sum("not filmed" in text for text in told.notes) == 4


def test_pretraining_sees_masked_films() -> None:
    task = PretrainTask(PRETRAIN, *read_pictures(PRETRAIN))
    batch = task.clips[Draw(0, 3)]
    assert batch.masks is not None
    assert batch.frames.shape == task.blank.frames.shape
    assert batch.masks.shape == task.blank.masks.shape
    assert torch.isfinite(task.loss(task.model, batch, torch.Generator()))


def test_fine_tuning_learns_from_films() -> None:
    task = FinetuneTask(FINETUNE, *read_pictures(FINETUNE))
    batch = task.clips[Draw(0, 13)]
    assert batch.labels.tolist() == [3]
    assert task.clips.num_videos == 20
    assert torch.isfinite(task.loss(task.model, batch, torch.Generator().manual_seed(0)))


def test_something_must_be_filmed() -> None:
    with pytest.raises(UsageError, match="no pictures to film"):
        read_pictures(with_values(FINETUNE, {"data.num_drawn": 0}))


def test_films_are_not_varied_again() -> None:
    with pytest.raises(UsageError, match="films vary by themselves"):
        load("finetune", "camera-motion", ["augment.flip=0.5"])


def test_the_recipes_fit_together() -> None:
    pretrain, finetune = load("pretrain", "camera-motion"), load("finetune", "camera-motion")
    assert pretrain.data.source == finetune.data.source == "camera-motion"
    for name in ("image_size", "patch_size", "num_frames", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        assert getattr(pretrain.model, name) == getattr(finetune.model, name)
