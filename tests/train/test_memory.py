"""A run holds as much memory at its end as at its beginning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.train.runs import RECIPE
from videomae_cli.benchmark.memory import Gauge, find_gauge
from videomae_cli.config.load import load
from videomae_cli.train.metrics import Row
from videomae_cli.train.run import train

NUM_STEPS = 200


class PeakWatcher:
    """Takes down the peak of each quarter of a run."""

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge
        self.peaks_bytes: list[int] = []

    def note(self, text: str) -> None:
        pass

    def row(self, row: Row) -> None:
        if "loss" in row and int(row["step"]) % (NUM_STEPS // 4) == 0:
            self.peaks_bytes.append(self.gauge.peak_bytes())
            self.gauge.reset_peak()

    def stop_code(self) -> int:
        return 0


def test_the_peak_of_memory_stays_where_it_is(videos: Path, tmp_path: Path) -> None:
    """Over 200 steps, which are 100 epochs with a checkpoint and a validation after every tenth."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)
    run = ["run.checkpoint_minutes=10", "run.checkpoint_epochs=10", "run.validate_epochs=10"]
    config = load("finetune", str(recipe), [*run, "optim.epochs=100"], {"data.train": str(videos)})
    gauge = find_gauge(torch.device("cpu"))
    if gauge is None:
        pytest.skip("this system does not tell the peak of memory")
    watcher = PeakWatcher(gauge)
    assert train(config, tmp_path / "run", watcher, resume=False).exit_code == 0
    print([f"{peak / 2**20:.1f} MiB" for peak in watcher.peaks_bytes])
    assert len(watcher.peaks_bytes) == 4
    assert watcher.peaks_bytes[-1] < 1.05 * watcher.peaks_bytes[0]
