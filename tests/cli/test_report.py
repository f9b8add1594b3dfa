"""`videomae classify --report`: real runs on generated clips."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Ended
from tests.videos import frame_numbers, write_text, write_video

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    write_video(folder / "a.mp4", 64, width=128, height=96)
    write_video(folder / "b.mkv", 3, width=128, height=96)
    write_text(folder / "broken.mp4")
    return folder


def records(page: Path) -> list[dict[str, Any]]:
    blocks = re.findall(r'<script type="application/json" class="record">(.*)</script>', page.read_text())
    return [json.loads(block) for block in blocks]


def shown_numbers(record: dict[str, Any]) -> list[int]:
    """The numbers that are painted in the thumbnails."""
    pictures = [Image.open(io.BytesIO(base64.b64decode(jpeg))).convert("RGB") for _, jpeg in record["thumbnails"]]
    return frame_numbers(np.stack([np.asarray(picture) for picture in pictures]))


def test_a_page_beside_the_records(videomae: Run, folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    page, labels = tmp_path / "out.html", tmp_path / "out.jsonl"
    ended = videomae("classify", folder, "-m", checkpoint, "-o", labels, "--report", page)
    assert ended.code == 1
    lines = [json.loads(line) for line in labels.read_text().splitlines()]
    found = records(page)
    assert [r["path"] for r in found] == [line["path"] for line in lines]
    assert [r["status"] for r in found] == ["ok", "ok", "error"]
    assert [p["label"] for p in found[0]["predictions"]] == [p["label"] for p in lines[0]["predictions"]]
    seen = [[number for number, _ in record["thumbnails"]] for record in found[:2]]
    assert seen[0] == [8, 24, 40, 56]
    assert seen[1] == sorted(set(lines[1]["sampling"]["frames"][0]))  # a frame that the model saw again is shown once
    assert [shown_numbers(record) for record in found[:2]] == seen
    assert "thumbnails" not in lines[0]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.html", "out.jsonl"]


def test_a_page_of_windows(videomae: Run, folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    ended = videomae("classify", folder / "a.mp4", "-m", checkpoint, "--window", "1", "--report", page)
    assert ended.code == 0
    (record,) = records(page)
    assert record["segments"][0][0] == 0.0
    numbers = [number for number, _ in record["thumbnails"]]
    assert len(numbers) == 8
    assert numbers == sorted(numbers) == shown_numbers(record)


def test_a_page_that_exists_is_kept(videomae: Run, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    page.write_text("mine")
    ended = videomae("classify", folder, "-m", "no-such-model", "--report", page)
    assert (ended.code, page.read_text()) == (2, "mine")
    assert "exists" in ended.err


def test_a_page_that_cannot_be_written_is_told_before_the_model_is_looked_for(
    videomae: Run, folder: Path, tmp_path: Path
) -> None:
    ended = videomae("classify", folder, "-m", "no-such-model", "--report", tmp_path / "no" / "out.html")
    assert ended.code == 4
    assert "no-such-model" not in ended.err


def test_page_and_output_are_two_files(videomae: Run, folder: Path, tmp_path: Path) -> None:
    same = tmp_path / "out.csv"
    ended = videomae("classify", folder, "-m", "no-such-model", "-o", same, "--report", same)
    assert ended.code == 2
    assert not same.exists()


def test_a_page_after_resume_says_what_it_lacks(videomae: Run, folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    labels, page = tmp_path / "out.jsonl", tmp_path / "out.html"
    common = ("-m", checkpoint, "-o", labels)
    assert videomae("classify", folder / "a.mp4", *common).code == 0
    assert videomae("classify", folder / "a.mp4", folder / "b.mkv", *common, "--resume", "--report", page).code == 0
    assert [Path(record["path"]).name for record in records(page)] == ["b.mkv"]
    assert '{"num_inputs":1,"num_skipped":1}' in page.read_text()


def test_overwrite_is_about_the_page_too(videomae: Run, folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    page.write_text("old")
    ended = videomae("classify", folder / "b.mkv", "-m", checkpoint, "--report", page, "--overwrite")
    assert ended.code == 0
    assert len(records(page)) == 1
    assert len(ended.out.splitlines()) == 5  # as many labels as the page has
