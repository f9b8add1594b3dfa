"""Shards of a run, and what becomes one of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ended
from tests.videos import write_video

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for k in range(4):
        write_video(folder / f"{k}.mp4", 4 + k)
    (folder / "bad.mp4").write_bytes(b"")
    return folder


RUN = {"model": "m", "weights": "1", "views": "1x1", "shard": None, "num_inputs": 5}


def write_shard(path: Path, shard: str | None, names: str, **run: Any) -> Path:
    """Records of failures, as a run would write them."""
    said = RUN | {"shard": shard} | run
    records = [
        {"path": n, "status": "error", "kind": "empty", "message": "x", "file": None, "run": said} for n in names
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def three_shards(folder: Path) -> list[Path]:
    parts = {"1/3": "ad", "2/3": "b", "3/3": "ce"}
    return [write_shard(folder / f"{k}.jsonl", shard, names) for k, (shard, names) in enumerate(parts.items())]


def test_shards_of_a_real_run_are_what_one_run_says(
    folder: Path, tmp_path: Path, checkpoint: Path, videomae: Run
) -> None:
    classify = ("classify", folder, "-m", checkpoint, "-k", 2)
    assert videomae(*classify, "-o", tmp_path / "whole.jsonl").code == 1
    codes = []
    for number in range(1, 8):  # more shards than inputs: some get nothing
        ended = videomae(*classify, "--shard", f"{number}/7", "-o", tmp_path / "part-{shard}.jsonl")
        codes.append(ended.code)
        assert f"shard {number}/7" in ended.err
    assert set(codes) == {0, 1}
    shards = sorted(tmp_path.glob("part-?-of-7.jsonl"))
    assert any(shard.stat().st_size == 0 for shard in shards)
    merged = tmp_path / "merged.jsonl"
    ended = videomae("merge", *reversed(shards), "-o", merged)
    assert (ended.code, ended.out) == (0, b"")
    assert "7 shards, 5 records, 1 of failures" in ended.err
    whole = (tmp_path / "whole.jsonl").read_bytes().splitlines()
    assert sorted(merged.read_bytes().splitlines()) == sorted(whole)
    assert "nothing to do" in videomae(*classify, "-o", merged, "--resume").err


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_other_formats(suffix: str, tmp_path: Path, videomae: Run) -> None:
    output = tmp_path / f"out.{suffix}"
    assert videomae("merge", *three_shards(tmp_path), "-o", output, "-q").err == ""
    if suffix == "json":
        paths = [record["path"] for record in json.loads(output.read_text())]
    elif suffix == "csv":
        paths = [row["path"] for row in csv.DictReader(output.read_text().splitlines())]
    else:
        from pyarrow import parquet

        paths = parquet.read_table(output).column("path").to_pylist()
    assert paths == list("adbce")


def test_a_shard_without_inputs_is_a_valid_output(
    folder: Path, tmp_path: Path, checkpoint: Path, videomae: Run
) -> None:
    video = folder / "0.mp4"
    for suffix, content in (("csv", "path,status,rank,label,score,error\n"), ("json", "[\n]\n"), ("jsonl", "")):
        outputs = [tmp_path / f"{number}.{suffix}" for number in (1, 2)]
        for number, output in enumerate(outputs, start=1):
            arguments = ("classify", video, "-m", checkpoint, "--shard", f"{number}/2", "-o", output)
            assert videomae(*arguments).code == 0
        assert [output.read_text() for output in outputs].count(content) == 1


def test_shard_auto_asks_the_environment(
    folder: Path, tmp_path: Path, videomae: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEOMAE_SHARD", "auto")
    assert "neither Slurm" in videomae("classify", folder, "-m", "no/model").err
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "shard 2/2" in videomae("classify", folder, "-m", tmp_path / "none").err


FAULTS: dict[str, tuple[Callable[[list[Path]], object], str]] = {
    "one is missing": (lambda s: s.pop(), "2 of 3 shards are given; missing: 3/3"),
    "one is empty": (lambda s: s[1].write_text(""), "hold 4 records, and the run has 5 inputs"),
    "one is not finished": (lambda s: write_shard(s[0], "1/3", "a"), "hold 4 records, and the run has 5 inputs"),
    "one is torn": (lambda s: s[0].write_text(s[0].read_text()[:-5]), "0.jsonl' is torn"),
    "one is there twice": (lambda s: s.append(s[0]), "'a' is in"),
    "two hold one input": (lambda s: write_shard(s[0], "1/3", "adb"), "'b' is in"),
    "two are one shard": (lambda s: write_shard(s[0], "2/3", "ad"), "these are not the shards of one run"),
    "one is of another division": (lambda s: write_shard(s[0], "1/4", "ad"), "is 1/4"),
    "one is of other weights": (lambda s: write_shard(s[0], "1/3", "ad", weights="2"), "model was m (2), is m (1)"),
    "one is of another sampling": (lambda s: write_shard(s[0], "1/3", "ad", views="5x3"), "views was 5x3, is 1x1"),
    "one is no shard": (lambda s: write_shard(s[0], None, "ad"), "0.jsonl' is no output of classify --shard"),
    "one is no file of records": (lambda s: s[0].write_text("a,b\n"), "line 1 of"),
    "one is not there": (lambda s: s[0].unlink(), "cannot read"),
    "all are empty": (lambda s: [path.write_text("") for path in s], "all these files are empty"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_shards_that_are_no_whole(fault: str, tmp_path: Path, videomae: Run) -> None:
    spoil, named = FAULTS[fault]
    shards = three_shards(tmp_path)
    spoil(shards)
    ended = videomae("merge", *shards, "-o", tmp_path / "out.jsonl")
    assert ended.code == 2
    assert named in ended.err
    assert "\nhint: " in ended.err
    assert not [p for p in tmp_path.iterdir() if p.name.startswith((".", "out"))]


def test_where_it_goes(tmp_path: Path, videomae: Run) -> None:
    shards, output = three_shards(tmp_path), tmp_path / "out.jsonl"
    output.write_text("precious")
    assert videomae("merge", *shards, "-o", output).code == 2
    assert output.read_text() == "precious"
    assert videomae("merge", *shards, "-o", output, "--overwrite").code == 0
    assert len(output.read_text().splitlines()) == 5
    assert videomae("merge", *shards, "-o", shards[0], "--overwrite").code == 2
    assert videomae("merge", *shards, "-o", tmp_path / "out.txt").code == 2
    assert videomae("merge", *shards, "-o", tmp_path / "no-folder" / "out.jsonl").code == 4
