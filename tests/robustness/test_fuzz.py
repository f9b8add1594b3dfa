"""A slice of `scripts/fuzz.py`: damaged files are classified or told as bad, one record each, and nothing breaks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from tests.clips import CLIPS, needs_clips
from tests.conftest import Ended
from tests.fuzzing import DAMAGES, damaged, variants
from tests.videos import write_video

NUM_VARIANTS = 40
BUGS = {"internal", "crashed", "timeout"}


def classify_variants(originals: list[Path], folder: Path, checkpoint: Path, run: Callable[..., Ended]) -> list[dict]:
    folder.mkdir()
    for name, data in islice(variants(originals), NUM_VARIANTS):
        (folder / name).write_bytes(data)
    ended = run("classify", folder, "-m", checkpoint, "-f", "jsonl")
    assert ended.code == 1, ended.err
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert [record["path"] for record in found] == [str(path) for path in sorted(folder.iterdir())]
    assert [record for record in found if record.get("kind") in BUGS] == []
    return found


def test_damaged_variants_of_small_clips(tmp_path: Path, checkpoint: Path, videomae_process: Callable) -> None:
    originals = [
        write_video(tmp_path / "a.mp4", 40, audio=True, gop=5),
        write_video(tmp_path / "b.webm", 40, codec="libvpx-vp9"),
    ]
    found = classify_variants(originals, tmp_path / "variants", checkpoint, videomae_process)
    assert NUM_VARIANTS // 4 <= sum(record["status"] == "ok" for record in found) < NUM_VARIANTS


@needs_clips
def test_damaged_variants_of_real_clips(tmp_path: Path, checkpoint: Path, videomae_process: Callable) -> None:
    originals = [CLIPS / name for name in ("one_second.mp4", "six_fps.mp4", "h265_10bits.mp4", "av1_video.mkv")]
    classify_variants(originals, tmp_path / "variants", checkpoint, videomae_process)


def test_the_same_seed_gives_the_same_variants(tmp_path: Path) -> None:
    original = tmp_path / "a.mp4"
    original.write_bytes(bytes(range(1, 256)) * 100)
    first, again, other = (list(islice(variants([original], seed), len(DAMAGES))) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert [name for name, _ in first] == [f"{k:05d} {damage} a.mp4" for k, damage in enumerate(DAMAGES)]
    assert all(data != original.read_bytes() for _, data in first)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_of_one_byte_can_be_damaged(damage: str) -> None:
    assert len(damaged(b"x", damage, b"y", random.Random(0))) <= 1
