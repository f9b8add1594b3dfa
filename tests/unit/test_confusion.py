"""The confusion matrix as a table and as a picture, and accuracies as text."""

from __future__ import annotations

import base64
import csv
import html
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from videomae_cli.report.accuracy import render_accuracy_lines, render_accuracy_table
from videomae_cli.report.confusion import confusion_csv, confusion_svg

MATRIX = [[3, 1, 0], [0, 4, 0], [0, 0, 0]]
LABELS = ["run", "jump, high", 'say "hi"']


def words(svg: bytes) -> list[str]:
    """What the comments beside drawn letters say: matplotlib draws text as outlines."""
    return [html.unescape(word.strip()) for word in re.findall(r"<!--(.*?)-->", svg.decode(), re.DOTALL)]


def cells(svg: bytes, num_classes: int) -> np.ndarray:
    """The matrix of coloured cells, uint8 (num_classes, num_classes, 4)."""
    found = re.findall(r'xlink:href="data:image/png;base64,([^"]+)"', svg.decode())
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")) for data in found]
    (matrix,) = (picture for picture in pictures if picture.shape[:2] == (num_classes, num_classes))
    return matrix


def test_the_table() -> None:
    text = confusion_csv(MATRIX, LABELS)
    assert (
        text == 'truth \\ prediction,run,"jump, high","say ""hi"""\nrun,3,1,0\n"jump, high",0,4,0\n"say ""hi""",0,0,0\n'
    )
    assert [row[0] for row in csv.reader(io.StringIO(text))][1:] == LABELS


def test_the_picture_names_classes_and_counts() -> None:
    svg = confusion_svg(MATRIX, ["run", "jump $high$ <now>", "a name that is much longer than would fit"])
    ET.fromstring(svg)
    shown = words(svg)
    assert {"run", "jump $high$ <now>", "a name that is much lon…", "3", "1", "4", "truth", "prediction"} <= set(shown)
    assert "0" not in shown


def test_the_darker_a_cell_the_larger_its_part_of_the_row() -> None:
    matrix = cells(confusion_svg([[3, 1, 0], [0, 40, 0], [0, 0, 0]], LABELS), 3)
    darkness = 255 - matrix[..., :3].mean(axis=-1)
    order = darkness[1, 1] > darkness[0, 0] > darkness[0, 1] > darkness[0, 2]
    assert order
    assert len({tuple(matrix[place]) for place in [(0, 2), (1, 0), (2, 0), (2, 1), (2, 2)]}) == 1  # nothing is 0


@pytest.mark.parametrize(
    ("num_classes", "are_named", "are_counted"), [(20, True, True), (101, True, False), (400, False, False)]
)
def test_what_does_not_fit_is_not_shown(num_classes: int, are_named: bool, are_counted: bool) -> None:
    matrix = np.diag(np.full(num_classes, 777)).tolist()
    svg = confusion_svg(matrix, [f"class {k}" for k in range(num_classes)])
    ET.fromstring(svg)
    shown = set(words(svg))
    assert ({f"class {k}" for k in range(num_classes)} <= shown) == are_named
    assert ("777" in shown) == are_counted
    coloured = cells(svg, num_classes)
    assert (coloured[0, 0] != coloured[0, 1]).any()
    assert (coloured[range(num_classes), range(num_classes)] == coloured[0, 0]).all()


def test_the_same_matrix_gives_the_same_file() -> None:
    assert confusion_svg(MATRIX, LABELS) == confusion_svg(MATRIX, LABELS)


TOTALS = {"num_videos": 8, "num_failed": 1, "top1": 0.875}
PER_CLASS = [("run", 4, 0.75), ("jump\thigh\x1b[0m", 4, 1.0)]


def test_accuracies_in_a_pipe() -> None:
    assert render_accuracy_lines(TOTALS, PER_CLASS) == (
        "num_videos\t8\nnum_failed\t1\ntop1\t0.8750\n\nrun\t4\t0.7500\njump\\thigh\\x1b[0m\t4\t1.0000\n"
    )


def test_accuracies_on_a_terminal() -> None:
    from rich.console import Console

    text = render_accuracy_table(TOTALS, PER_CLASS, Console(width=60, file=io.StringIO()))
    assert [line.split() for line in text.splitlines()] == [
        ["num_videos", "8"],
        ["num_failed", "1"],
        ["top1", "0.8750"],
        [],
        ["accuracy", "videos", "class"],
        ["0.7500", "4", "run"],
        ["1.0000", "4", "jump\\thigh\\x1b[0m"],
    ]


def test_nothing_heavy_is_imported_before_something_is_drawn() -> None:
    code = "import sys; from videomae_cli.report import accuracy, confusion, curves; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"torch", "numpy", "matplotlib", "av"}
