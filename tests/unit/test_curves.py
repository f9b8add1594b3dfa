"""The curves of a training."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from videomae_cli.report.curves import curves_svg


def words(svg: bytes) -> list[str]:
    """What the comments beside drawn letters say: matplotlib draws text as outlines."""
    ET.fromstring(svg)
    return [word.strip() for word in re.findall(r"<!--(.*?)-->", svg.decode(), re.DOTALL)]


def polylines(svg: bytes) -> list[list[tuple[float, float]]]:
    """The points of each line that is clipped to a panel, in drawing order, y downwards; grid lines are left out."""
    found = re.findall(r'<path d="([^"]+)" clip-path="[^"]+" style="fill: none; stroke: #(?!b0b0b0)', svg.decode())
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path)] for path in found]


TRAINING: list[dict[str, Any]] = [
    {"step": k, "epoch": k // 10, "loss": 2.0 - 0.01 * k, "lr": 1e-3, "clips_per_second": 8.0, "data_wait": 0.01}
    for k in range(0, 100, 10)
]
VALIDATION: list[dict[str, Any]] = [
    {"step": k, "top1": 0.1 + k / 200, "top5": 0.5, "mean_class": 0.2} for k in (30, 60, 90)
]


def test_a_finetuning_has_three_panels() -> None:
    svg = curves_svg([*TRAINING, *VALIDATION])
    titles = ["loss", "validation accuracy", "learning rate", "step", "top-1", "top-5", "mean of classes"]
    assert {title: words(svg).count(title) for title in titles} == dict.fromkeys(titles, 1)
    assert [len(line) for line in polylines(svg)] == [10, 3, 3, 3, 10]


def test_a_pretraining_has_no_accuracy() -> None:
    svg = curves_svg(TRAINING)
    assert "loss" in words(svg)
    assert "validation accuracy" not in words(svg)
    assert len(polylines(svg)) == 2


def test_lines_go_where_the_numbers_go() -> None:
    rows = [{"step": step, "loss": loss} for step, loss in [(0, 4.0), (10, 1.0), (40, 3.0)]]
    ((x0, y0), (x1, y1), (x2, y2)) = polylines(curves_svg(rows))[0]
    assert (x1 - x0) / (x2 - x0) == pytest.approx(10 / 40, abs=1e-3)
    assert (y1 - y0) / (y1 - y2) == pytest.approx(3 / 2, abs=1e-3)  # y points downwards


@pytest.mark.parametrize("gap", [None, float("nan"), float("inf")])
def test_values_that_are_no_numbers_leave_a_gap(gap: float | None) -> None:
    losses = [3.0, 2.0, gap, 2.5, 1.0]
    svg = curves_svg([{"step": k, "loss": loss} for k, loss in enumerate(losses)])
    (path,) = re.findall(r'<path d="([^"]+)" clip-path="[^"]+" style="fill: none; stroke: #(?!b0b0b0)', svg.decode())
    assert [len(re.findall("[ML]", part)) for part in re.split("(?=M)", path) if part.strip()] == [2, 2]


@pytest.mark.parametrize("rows", [[], [{"step": 0, "loss": None}], [{"step": 3}], [{"step": 1, "loss": 2.0}]])
def test_few_rows_are_still_a_picture(rows: list[dict[str, Any]]) -> None:
    assert "step" in words(curves_svg(rows))
