"""A rehearsal: it tells what would happen, finds what is wrong, and leaves nothing behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.videos import write_text, write_video
from videomae_cli.config.load import load
from videomae_cli.train.dry_run import rehearse

TINY = [
    *("model.image_size=32", "model.num_frames=4", "model.hidden_size=24", "model.num_hidden_layers=2"),
    *("model.num_attention_heads=3", "model.intermediate_size=48", "data.stride=1"),
    *("optim.batch_size=2", "optim.micro_batch=2", "optim.epochs=3", "optim.warmup_epochs=0"),
]
DECODER = [
    *("model.decoder_hidden_size=24", "model.decoder_num_hidden_layers=1"),
    *("model.decoder_num_attention_heads=3", "model.decoder_intermediate_size=48", "mask.ratio=0.5"),
]


class Listener:
    """A Watcher that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def row(self, row: object) -> None:
        raise AssertionError("a rehearsal has no metrics")

    def stop_code(self) -> int:
        return 0


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for label in ("jump", "run"):
        for number in range(3):
            write_video(tmp_path / "videos" / label / f"{number}.mp4", 8)
    return tmp_path / "videos"


def test_it_tells_what_would_be_trained(videos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    listener = Listener()
    arguments = {"data.train": str(videos), "data.validation_fraction": 0.34, "optim.lr": 0.0128}
    assert rehearse(load("finetune", None, TINY, arguments), listener) == 0
    text = "\n".join(listener.lines)
    for line in (
        "data: 4 videos of 2 classes, 2 for validation",
        "batch: 2 videos a step = 1 processes x 1 x 2; 1 clips of each",
        "learning rate: 0.0128 x 2 / 256 = 0.0001 at its peak",
        "steps: 6 = 3 epochs of 2",
        "jump: 2 to learn from, 1 for validation",
        "opened 6 videos, 0 cannot be read",
    ):
        assert line in text
    found = re.search(r"overfitting 4 clips: loss ([\d.]+) -> ([\d.]+)", text)
    assert found is not None
    assert float(found[2]) < 0.5 * float(found[1])
    assert re.search(r"memory: about \d+\.\d GB a process", text)
    assert not list((tmp_path / "empty").iterdir())


def test_it_names_what_cannot_be_read(videos: Path) -> None:
    write_text(videos / "run" / "prose.mp4")
    listener = Listener()
    config = load("pretrain", None, TINY + DECODER, {"data.train": str(videos)})
    assert rehearse(config, listener) == 1
    assert "opened 7 videos, 1 cannot be read" in listener.lines
    assert any("prose.mp4" in line for line in listener.lines)
    assert any(line.startswith("overfitting 4 clips") for line in listener.lines)
