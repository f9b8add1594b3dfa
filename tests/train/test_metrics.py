"""metrics.jsonl, and the same numbers in TensorBoard's files, read back by TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from videomae_cli.train.metrics import MetricsLog


def test_a_resumed_run_writes_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = MetricsLog(path)
    first.cut_after(0)
    for step in (1, 2, 3):
        first.write({"step": step, "loss": step / 10})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed here
    second = MetricsLog(path)
    second.cut_after(2)
    second.write({"step": 3, "loss": 0.25})
    assert [json.loads(line) for line in path.read_text().splitlines()] == second.rows()
    assert second.rows() == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}, {"step": 3, "loss": 0.25}]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, round(event.value, 3)) for event in board.Scalars("loss")] == [(1, 0.1), (2, 0.2), (3, 0.25)]


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write({"step": 1, "loss": float("nan"), "top1": 0.5})
    assert log.path.read_text() == '{"step": 1, "loss": null, "top1": 0.5}\n'
