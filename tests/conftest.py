"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, one a core

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same every time", derandomize=True)
settings.load_profile("same every time")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's model cache, settings or token."""
    for name in [n for n in os.environ if n.startswith(("VIDEOMAE_", "HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf-home"))


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


@pytest.fixture
def videomae(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ended]:
    """Run the command line in this process, through the very boundary that the console entry point uses."""
    from videomae_cli.cli.app import app
    from videomae_cli.cli.boundary import run

    def call(*arguments: str | Path) -> Ended:
        capfdbinary.readouterr()
        code = run(app, [str(a) for a in arguments])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(code, out, err.decode(errors="surrogateescape"))

    return call


@pytest.fixture
def videomae_process() -> Callable[..., Ended]:
    """Run the command line as a process of its own: for pipes, signals and what is imported."""

    def call(*arguments: str | Path, **options: object) -> Ended:
        command = [sys.executable, "-m", "videomae_cli", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False, **options)  # type: ignore[call-overload]
        return Ended(done.returncode, done.stdout, done.stderr.decode(errors="surrogateescape"))

    return call


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classification checkpoint with ten named classes, written by transformers."""
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    from tests.checkpoints import hf_folder

    folder = tmp_path_factory.mktemp("checkpoint")
    names = [f"class {k}" for k in range(10)]
    labels = {
        "num_labels": 10,
        "id2label": dict(enumerate(names)),
        "label2id": {name: k for k, name in enumerate(names)},
    }
    hf_folder(folder, "VideoMAEForVideoClassification", image_size=32, patch_size=16, num_frames=16, **labels)
    VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
