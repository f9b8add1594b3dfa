"""From a file to pixels and to labels: the stages that are timed, and what they are timed on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.models import small_model
from tests.videos import write_text, write_video
from videomae_cli.benchmark.pipeline import decode_rows, end_to_end_rows, synthetic_clip
from videomae_cli.benchmark.records import Settings
from videomae_cli.benchmark.timing import Effort
from videomae_cli.video.processor import VideoMAEImageProcessor
from videomae_cli.video.reader import probe, read_frames
from videomae_cli.video.sampling import Sampling

ASKED = Settings("decode", "tiny", "finetune", "cpu", ("float32", "bfloat16"), ("auto", "eager"), (), Effort(1, 2))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_video(tmp_path_factory.mktemp("video") / "clip.mp4", 70))


def test_the_synthetic_clip_is_a_video_that_moves_and_is_gone_afterwards() -> None:
    with synthetic_clip() as path:
        info = probe(path)
        first, last = read_frames(path, [0, 299]).frames.astype(int)
    assert (info.num_frames, info.width, info.height, info.fps) == (300, 640, 360, 30.0)
    assert np.abs(first - last).mean() > 20
    assert not Path(path).exists()


def test_decoding(video: str) -> None:
    ((probed, read, prepared),) = decode_rows(
        {"a clip": video}, VideoMAEImageProcessor(), Sampling(), ASKED, lambda: False
    )
    assert [row.case.stage for row in (probed, read, prepared)] == ["probe", "read", "preprocess"]
    assert {row.case.video for row in (probed, read, prepared)} == {"a clip"}
    assert [row.num_items for row in (probed, read, prepared)] == [None, 16, 16]
    assert {len(row.samples_ms) for row in (probed, read, prepared)} == {2}
    assert read.items_per_second == pytest.approx(16e3 / read.median_ms)


def test_end_to_end(video: str) -> None:
    model = small_model("VideoMAEForVideoClassification", num_labels=5)
    processor = VideoMAEImageProcessor(size=32, crop_size=32)
    (rows,) = end_to_end_rows({"a clip": video}, model, processor, ASKED, lambda: False)
    assert [(row.case.stage, row.case.dtype, row.case.attention) for row in rows] == [
        ("decode", None, None),
        ("preprocess", None, None),
        ("transfer", "float32", None),
        ("forward", "float32", "auto"),
        ("total", "float32", "auto"),
        ("forward", "float32", "eager"),
        ("total", "float32", "eager"),
        ("transfer", "bfloat16", None),
        ("forward", "bfloat16", "auto"),
        ("total", "bfloat16", "auto"),
        ("forward", "bfloat16", "eager"),
        ("total", "bfloat16", "eager"),
    ]
    assert {len(row.samples_ms) for row in rows} == {2}
    assert [row.num_items for row in rows if row.case.stage == "total"] == [1] * 4


def test_a_file_that_cannot_be_read_is_a_row_and_the_run_goes_on(video: str, tmp_path: Path) -> None:
    files = {"bad": str(write_text(tmp_path / "bad.mp4")), "good": video}
    (bad,), good = decode_rows(files, VideoMAEImageProcessor(), Sampling(), ASKED, lambda: False)
    assert "no video format" in bad.error
    assert (bad.case.video, bad.case.stage, bad.samples_ms) == ("bad", None, ())
    assert len(good) == 3


@pytest.mark.parametrize(
    ("num_calls", "samples"),
    [
        (0, []),
        (4, [[]]),  # asked once for the file, three times in the warm-up
        (6, [[1, 1]]),
        (8, [[1, 1, 2]]),
    ],
)
def test_an_interruption_leaves_out_what_was_not_measured(num_calls: int, samples: list[list[int]], video: str) -> None:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > num_calls

    files = {"one": video, "two": video}
    found = list(decode_rows(files, VideoMAEImageProcessor(), Sampling(), ASKED, stop))
    assert [[len(row.samples_ms) for row in rows] for rows in found] == samples
