"""`videomae evaluate`, end to end: a small random checkpoint, and labels chosen by what it says."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended
from tests.videos import write_text, write_video
from videomae_cli import VideoClassifier

Run = Callable[..., Ended]
FILES = ["confusion.csv", "confusion.svg", "metrics.json", "records.jsonl"]
ACCURACIES = {"num_videos": 5, "num_failed": 1, "top1": 0.4, "top5": 0.6}


@pytest.fixture(scope="module")
def listed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of five videos: two that are classified rightly, one rightly among five, one not so, one unreadable."""
    folder = tmp_path_factory.mktemp("data")
    classifier = VideoClassifier.from_pretrained(checkpoint, device="cpu")
    rows = []
    for name, first, rank in [("one/a.mp4", 0, 0), ("two/a.mp4", 40, 2), ("one/b.mkv", 80, 9), ("two/b.mkv", 120, 0)]:
        video = write_video(folder / name, 20, numbers=range(first, first + 20))
        rows.append((name, classifier.classify(video, top_k=10).predictions[rank].label))
    write_text(folder / "one" / "c.mp4")
    rows.append(("one/c.mp4", "class 4"))
    path = folder / "list.csv"
    path.write_text("".join(f"{name},{label}\n" for name, label in rows))
    return path


def test_a_pipe_gets_totals_and_classes(listed: Path, checkpoint: Path, videomae: Run) -> None:
    ended = videomae("evaluate", "-m", checkpoint, "--data", listed)
    assert ended.code == 1
    totals, classes = (part.splitlines() for part in ended.text.split("\n\n"))
    assert totals[:4] == ["num_videos\t5", "num_failed\t1", "top1\t0.4000", "top5\t0.6000"]
    rows = [line.split("\t") for line in classes]
    assert sum(int(num) for _, num, _ in rows) == 5
    mean = sum(float(accuracy) for _, _, accuracy in rows) / len(rows)
    assert totals[4:] == [f"mean_class\t{mean:.4f}"]
    error, *warnings = ended.err.splitlines()
    assert error.startswith(f"error: '{listed.parent / 'one' / 'c.mp4'}' ")
    assert warnings == ["warning: 4 padded; -v names them"]


def test_the_folder_of_results(listed: Path, checkpoint: Path, tmp_path: Path, videomae: Run) -> None:
    ended = videomae("evaluate", "-m", checkpoint, "--data", listed, "-o", tmp_path / "new" / "out", "-f", "json")
    out = tmp_path / "new" / "out"
    assert ended.code == 1
    assert sorted(os.listdir(out)) == FILES
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == json.loads(ended.text)
    assert {key: metrics[key] for key in ACCURACIES} == ACCURACIES
    assert (metrics["model"], metrics["views"]) == (str(checkpoint), "1x1")
    assert (metrics["sampling"], metrics["stride"]) == ("dense", 4)
    assert metrics["mean_class"] == pytest.approx(
        sum(c["accuracy"] for c in metrics["per_class"]) / len(metrics["per_class"])
    )

    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    given = [line.split(",") for line in listed.read_text().splitlines()]
    assert [(r["path"], r["label"]) for r in records] == [(str(listed.parent / name), label) for name, label in given]
    assert [r["status"] for r in records] == ["ok"] * 4 + ["error"]
    assert [len(r["predictions"]) for r in records[:4]] == [5] * 4
    as_classified = videomae("classify", *(r["path"] for r in records), "-m", checkpoint, "-f", "jsonl").text
    expected = [
        json.loads(line) | {"label": label} for line, (_, label) in zip(as_classified.splitlines(), given, strict=True)
    ]
    for record in expected:
        del record["file"], record["run"]  # by which `classify --resume` goes on
    assert records == expected

    header, *rows = csv.reader((out / "confusion.csv").read_text().splitlines())
    assert header[1:] == [row[0] for row in rows] == [f"class {k}" for k in range(10)]
    counts = {(row[0], column): int(n) for row in rows for column, n in zip(header[1:], row[1:], strict=True) if int(n)}
    pairs = [(r["label"], r["predictions"][0]["label"]) for r in records[:4]]
    assert counts == {pair: pairs.count(pair) for pair in pairs}


def test_two_processes_find_what_one_finds(listed: Path, checkpoint: Path, tmp_path: Path, videomae: Run) -> None:
    what = ["evaluate", "-m", str(checkpoint), "--data", str(listed), "--views", "2x3", "--device", "cpu", "-o"]
    alone = videomae(*what, tmp_path / "alone")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    together = subprocess.run(
        [*torchrun, "-m", "videomae_cli", *what, str(tmp_path / "together")],
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert (alone.code, together.returncode) == (1, 1), together.stderr.decode()
    assert together.stdout == alone.out
    assert sorted(os.listdir(tmp_path / "together")) == FILES
    for name in ("metrics.json", "confusion.csv"):
        assert (tmp_path / "together" / name).read_text() == (tmp_path / "alone" / name).read_text()
    one, two = (
        [json.loads(line) for line in (tmp_path / folder / "records.jsonl").read_text().splitlines()]
        for folder in ("alone", "together")
    )
    assert [r["path"] for r in two] == [r["path"] for r in one]
    for mine, other in zip(one[:4], two[:4], strict=True):
        assert [p["label"] for p in other["predictions"]] == [p["label"] for p in mine["predictions"]]
        scores = [[p["score"] for p in record["predictions"]] for record in (mine, other)]
        assert scores[1] == pytest.approx(scores[0], abs=2e-6)
    assert together.stderr.decode().count("one/c.mp4") == 1


def test_a_folder_for_each_class(checkpoint: Path, tmp_path: Path, videomae: Run) -> None:
    for name in ("class 2", "class 5"):
        write_video(tmp_path / name / "clip.mp4", 20)
    ended = videomae("evaluate", "-m", checkpoint, "--data", tmp_path)
    assert ended.code == 0
    assert [line.split("\t")[:2] for line in ended.text.splitlines()[6:]] == [["class 2", "1"], ["class 5", "1"]]
    assert ended.err == "warning: 2 padded; -v names them\n"
    assert videomae("evaluate", "-m", checkpoint, "--data", tmp_path, "-q").err == ""
    assert "class 2/clip.mp4: padded: " in videomae("evaluate", "-m", checkpoint, "--data", tmp_path, "-v").err


def test_lists_of_indices_mean_the_models_classes(
    checkpoint: Path, listed: Path, tmp_path: Path, videomae: Run
) -> None:
    indices = tmp_path / "list.csv"
    indices.write_text(listed.read_text().replace("class ", ""))
    by_name = videomae("evaluate", "-m", checkpoint, "--data", listed)
    assert videomae("evaluate", "-m", checkpoint, "--data", indices, "--root", listed.parent).out == by_name.out


def test_without_matplotlib_there_is_no_picture(
    listed: Path, checkpoint: Path, tmp_path: Path, videomae: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    ended = videomae("evaluate", "-m", checkpoint, "--data", listed, "-o", tmp_path)
    assert ended.code == 1
    assert sorted(os.listdir(tmp_path)) == [name for name in FILES if name != "confusion.svg"]
    assert "no confusion.svg: it needs matplotlib. Run pip install 'videomae[plots]'." in ended.err


def test_results_that_are_there_are_replaced_only_when_told_so(
    listed: Path, checkpoint: Path, tmp_path: Path, videomae: Run
) -> None:
    (tmp_path / "metrics.json").write_text("mine")
    what = ("evaluate", "-m", checkpoint, "--data", listed, "-o", tmp_path)
    ended = videomae(*what)
    assert (ended.code, os.listdir(tmp_path)) == (2, ["metrics.json"])
    assert "metrics.json' exists" in ended.err
    assert videomae(*what, "--overwrite").code == 1
    assert json.loads((tmp_path / "metrics.json").read_text())["num_videos"] == 5


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("one/a.mp4,class 3\none/b.mkv,jump\n", "'jump'"),
        ("one/a.mp4,3\none/b.mkv,10\n", "10 is out of range"),
        ("one/a.mp4,class 3\n../b.mkv,class 4\n", "'../b.mkv' leads out"),
    ],
)
def test_labels_that_the_model_does_not_know(
    content: str, named: str, listed: Path, checkpoint: Path, tmp_path: Path, videomae: Run
) -> None:
    (tmp_path / "list.csv").write_text(content)
    ended = videomae("evaluate", "-m", checkpoint, "--data", tmp_path / "list.csv", "--root", listed.parent)
    assert ended.code == 2
    assert f"{tmp_path / 'list.csv'}:2: " in ended.err
    assert named in ended.err
    assert ended.out == b""


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--data", "nowhere"], 2, "'nowhere'"),
        ([], 2, "--data"),
        (["-f", "csv"], 2, "'csv'"),
        (["--sampling", "sparse"], 2, "'sparse'"),
        (["--views", "5"], 2, "'5'"),
        (["-b", "0"], 2, "'0'"),
        (["--overwrite"], 2, "--overwrite"),
        (["-o", "list.csv"], 4, "list.csv"),
        (["-o", "list.csv/out"], 4, "list.csv/out"),
    ],
)
def test_what_cannot_be_is_said_before_a_model_is_looked_for(
    options: list[str], code: int, named: str, tmp_path: Path, videomae: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.csv").write_text("clip.mp4,class 1\n")
    data = [] if "--data" in options or not options else ["--data", "list.csv"]
    ended = videomae("evaluate", "-m", "no/such-model", *data, *options)
    assert ended.code == code
    assert ended.err.startswith("error: ")
    assert named in ended.err.splitlines()[0]
    assert os.listdir() == ["list.csv"]
