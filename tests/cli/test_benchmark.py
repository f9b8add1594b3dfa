"""`videomae benchmark`, end to end, with a small checkpoint and a short video: how figures are told, not which."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended
from tests.videos import write_text, write_video

Run = Callable[..., Ended]
QUICK = ("--warmup", "1", "--iters", "2", "--device", "cpu")


needs_a_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler"
)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", 70)


@pytest.fixture
def decode(video: Path, videomae: Run) -> Run:
    """The cheapest run that there is."""
    return lambda *options: videomae("benchmark", "--mode", "decode", video, *QUICK, *options)


def test_help_names_every_option(videomae: Run) -> None:
    text = videomae("benchmark", "--help").text
    for option in (
        *("-m", "--model", "--mode", "--task", "--batch-sizes", "--attention", "--dtype", "--warmup", "--iters"),
        *("--compile", "--tf32", "--device", "-f", "--format", "-o", "--output", "--overwrite", "--baseline"),
        *("--fail-above", "--plot", "--revision", "--offline", "-q", "-v", "--debug", "VIDEOS"),
    ):
        assert option in text


def test_a_table_of_forward_passes(checkpoint: Path, videomae: Run) -> None:
    asked = ("--batch-sizes", "1,3", "--attention", "eager,sdpa,auto", "--dtype", "float32,bfloat16")
    ended = videomae("benchmark", "-m", checkpoint, *asked, *QUICK)
    assert ended.code == 0
    what, on, software, blank, titles, *rows = ended.text.splitlines()
    assert what.startswith(f"{checkpoint}: forward pass")
    assert on.startswith("on cpu: ")
    assert "TF32 off" in software
    assert blank == ""
    assert titles.split()[:4] == ["batch", "dtype", "attention", "kernel"]
    cells = [row.split()[:3] for row in rows[:12]]
    assert cells == [[b, d, a] for b in "13" for d in ("float32", "bfloat16") for a in ("eager", "sdpa", "auto")]
    assert "ceiling: the fastest matrix product here; float32 " in ended.text
    assert "batch 3, bfloat16, auto: " in ended.err


@needs_a_compiler
def test_compiled(checkpoint: Path, tmp_path: Path, videomae_process: Run) -> None:
    """In a process of its own: what torch compiles, and the workers that do it, are gone with it."""
    asked = ("-m", checkpoint, "--compile", "--attention", "sdpa", "--batch-sizes", "1", "-f", "json", *QUICK)
    ended = videomae_process("benchmark", *asked, env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)})
    assert ended.code == 0, ended.err
    content = json.loads(ended.text)
    assert content["settings"]["compile"] is True
    (row,) = content["rows"]
    assert (row["status"], len(row["samples_ms"]), "kernel" in row) == ("ok", 2, False)
    assert list(tmp_path.rglob("*.cpp")), "code was generated"


def test_without_a_compiler(checkpoint: Path, tmp_path: Path, videomae_process: Run) -> None:
    asked = ("-m", checkpoint, "--compile", "--attention", "sdpa", "--batch-sizes", "1", *QUICK)
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    ended = videomae_process("benchmark", *asked, env=environment)
    assert (ended.code, ended.out) == (4, b"")
    assert ended.err.splitlines()[0].startswith("error: torch.compile fails here: ")
    assert ended.err.splitlines()[-1] == "hint: Leave --compile out, or install a C++ compiler."


def test_json_of_training_steps(checkpoint: Path, tmp_path: Path, videomae: Run) -> None:
    path = tmp_path / "train.json"
    ended = videomae("benchmark", "-m", checkpoint, "--mode", "train", "--batch-sizes", "2", *QUICK, "-o", path)
    assert (ended.code, ended.out) == (0, b"")
    content = json.loads(path.read_text())
    assert [(row["task"], row["attention"], len(row["samples_ms"])) for row in content["rows"]] == [
        ("finetune", "eager", 2),
        ("finetune", "sdpa", 2),
    ]
    assert content["settings"]["effort"] == {"num_warmup": 1, "num_rounds": 2}
    assert content["machine"]["torch_threads"] >= 1
    assert {"videomae", "python", "torch"} <= content["versions"].keys()
    assert content["model"]["num_tokens"] == 32


def test_end_to_end_on_a_file(video: Path, checkpoint: Path, videomae: Run) -> None:
    ended = videomae("benchmark", "--mode", "e2e", "-m", checkpoint, video, *QUICK, "-f", "csv")
    rows = list(csv.DictReader(ended.text.splitlines()))
    assert ended.code == 0
    assert [row["stage"] for row in rows] == ["decode", "preprocess", "transfer", "forward", "total"]
    assert {row["video"] for row in rows} == {str(video)}
    assert [row["attention"] for row in rows] == ["", "", "", "auto", "auto"]
    assert all(float(row["median_ms"]) > 0 for row in rows)


def test_without_a_video_one_is_made(videomae: Run) -> None:
    ended = videomae("benchmark", "--mode", "decode", *QUICK)
    assert ended.code == 0
    assert "a synthetic one" in ended.err
    assert ended.text.count("synthetic clip  ") == 3


def test_a_video_that_cannot_be_read_is_a_row_and_1(decode: Run, tmp_path: Path) -> None:
    ended = decode(write_text(tmp_path / "bad.mp4"))
    assert ended.code == 1
    assert "no video format" in ended.text
    assert ended.text.count("clip.mp4  ") == 3


@pytest.mark.parametrize(("suffix", "name"), [("json", "json"), ("csv", "csv"), ("md", "markdown"), ("txt", "table")])
def test_the_suffix_names_the_format(suffix: str, name: str, decode: Run, tmp_path: Path) -> None:
    assert decode("-o", tmp_path / f"report.{suffix}").code == 0
    written = (tmp_path / f"report.{suffix}").read_text()
    shown = decode("-f", name).text
    start = {"json": "{\n", "csv": "mode,", "markdown": "- 16 frames", "table": "16 frames"}[name]
    assert written.startswith(start)
    assert shown.startswith(start)
    assert written.count("\n") == shown.count("\n")


def test_quiet_and_verbose(decode: Run) -> None:
    assert [line for line in decode("-q").err.splitlines() if not line.startswith("warning: the quartiles")] == []
    assert "median of 2 after 1 to warm up" in decode("-v").err


def edited(path: Path, factor: float) -> Path:
    """A baseline whose medians are those of a report, times `factor`."""
    content = json.loads(path.read_text())
    for row in content["rows"]:
        row["median_ms"] *= factor
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("factor", "code"), [(1e-3, 1), (1e3, 0)])
def test_a_regression_is_1(factor: float, code: int, decode: Run, tmp_path: Path) -> None:
    """The times differ a thousandfold from the baseline's, so that no noise can decide."""
    assert decode("-o", tmp_path / "before.json").code == 0
    before = edited(tmp_path / "before.json", factor)
    ended = decode("--baseline", before, "--fail-above", "5%")
    assert ended.code == code
    assert "change" in ended.text
    assert ended.err.count("error: slower than --fail-above allows: ") == 3 * code
    assert decode("--baseline", before).code == 0


def test_a_baseline_of_other_rows(decode: Run, video: Path, videomae: Run, tmp_path: Path) -> None:
    os.link(video, tmp_path / "other.mp4")
    options = ("--mode", "decode", tmp_path / "other.mp4", "-o", tmp_path / "before.json")
    assert videomae("benchmark", *options, *QUICK).code == 0
    told = decode("--baseline", tmp_path / "before.json")
    assert told.code == 0
    assert "warning: the baseline has none of these rows" in told.err
    judged = decode("--baseline", tmp_path / "before.json", "--fail-above", "5")
    assert judged.code == 2
    assert "has none of these rows" in judged.err


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_plot(kind: str, decode: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / f"bars.{kind}"
    assert decode("--plot", path).code == 0
    assert path.read_bytes().startswith(b"<?xml" if kind == "svg" else b"\x89PNG")
    again = decode("--plot", path)
    assert (again.code, again.out) == (2, b"")
    assert decode("--plot", path, "--overwrite").code == 0


def test_a_plot_of_files_with_odd_names(video: Path, tmp_path: Path, videomae: Run) -> None:
    """Dollars that would begin a formula, bytes that are not UTF-8, a line break."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for name in (b"a$b^$.mp4", b"caf\xe9.mp4", b"two\nlines.mp4"):
        os.link(video, os.path.join(os.fsencode(tmp_path), name))
    ended = videomae("benchmark", "--mode", "decode", tmp_path, *QUICK, "--plot", tmp_path / "bars.svg")
    assert ended.code == 0
    drawn = (tmp_path / "bars.svg").read_text()
    assert all(name in drawn for name in ("a$b^$.mp4", r"caf\udce9.mp4", r"two\nlines.mp4"))


def test_a_plot_without_matplotlib(decode: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it raises ImportError
    ended = decode("--plot", tmp_path / "bars.svg")
    assert (ended.code, ended.out) == (2, b"")
    assert ended.err == "error: --plot needs matplotlib\nhint: Run pip install 'videomae[plots]'.\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--mode", "fast"], "'fast'"),
        (["--task", "sleep", "--mode", "train"], "'sleep'"),
        (["--task", "pretrain"], "--task"),
        (["--batch-sizes", "1,0"], "'1,0'"),
        (["--batch-sizes", "1,,2"], "'1,,2'"),
        (["--attention", "eager,flash"], "'eager,flash'"),
        (["--attention", "auto", "--mode", "train"], "--mode train"),
        (["--attention", "auto", "--compile"], "--compile"),
        (["--dtype", "float8"], "'float8'"),
        (["--dtype", "float16", "--mode", "train", "--device", "cpu"], "float16"),
        (["--tf32", "--device", "cpu"], "--tf32"),
        (["--warmup", "0"], "'0'"),
        (["--iters", "many"], "'many'"),
        (["--device", "toaster"], "'toaster'"),
        (["-f", "xml"], "'xml'"),
        (["-o", "report.xml"], "report.xml"),
        (["--plot", "bars.pdf"], "bars.pdf"),
        (["--overwrite"], "--overwrite"),
        (["--fail-above", "5%"], "--fail-above"),
        (["--fail-above", "lots", "--baseline", "x.json"], "'lots'"),
        (["--baseline", "no-such.json"], "no-such.json"),
        (["no-such.mp4", "--mode", "decode"], "no-such.mp4"),
        (["clip.mp4"], "a video"),
        (["--batch-sizes", "2", "--mode", "e2e"], "--batch-sizes"),
        (["--compile", "--mode", "decode"], "--compile"),
    ],
)
def test_wrong_usage_names_the_value(options: list[str], named: str, videomae: Run) -> None:
    ended = videomae("benchmark", "-m", "no-such-model", *options)
    assert (ended.code, ended.out) == (2, b"")
    first, second = ended.err.splitlines()[:2]
    assert first.startswith("error: ")
    assert named in first
    assert second.startswith("hint: ")


def test_files_are_not_overwritten(decode: Run, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert decode("-o", path).code == 0
    before = path.read_bytes()
    refused = decode("-o", path)
    assert (refused.code, path.read_bytes()) == (2, before)
    assert "exists" in refused.err
    pictured = tmp_path / "bars.svg"
    twice = decode("-f", "json", "-o", pictured, "--plot", pictured)
    assert (twice.code, pictured.exists()) == (2, False)
    over_the_baseline = decode("-o", path, "--overwrite", "--baseline", path)
    assert (over_the_baseline.code, path.read_bytes()) == (2, before)
    assert decode("-o", path, "--overwrite").code == 0
    assert decode("-o", tmp_path / "nowhere" / "report.json").code == 4


def test_a_model_that_is_not_there_is_3(tmp_path: Path, videomae: Run) -> None:
    assert videomae("benchmark", "-m", tmp_path / "nothing", *QUICK).code == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_prints_what_there_is(number: int, code: int, video: Path, tmp_path: Path) -> None:
    """The signal is sent when the first of 400 files has been told."""
    for k in range(400):
        os.link(video, tmp_path / f"{k:03d}.mp4")
    command = [sys.executable, "-m", "videomae_cli", "benchmark", "--mode", "decode", str(tmp_path), "-f", "json"]
    with subprocess.Popen([*command, *QUICK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "000.mp4, probe: " in process.stderr.readline()
        process.send_signal(number)
        told = process.stderr.read()
        content = json.loads(process.stdout.read())
    assert process.returncode == code
    assert 3 <= len(content["rows"]) < 1200
    assert f"interrupted; rows measured: {len(content['rows'])}\n" in told
    assert "Traceback" not in told
