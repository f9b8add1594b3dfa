"""Rows, their figures, and how a report reads: as a table, Markdown, CSV and JSON; compared with an earlier one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from videomae_cli.benchmark import columns
from videomae_cli.benchmark.baseline import compare, mismatches, read_baseline, regressions
from videomae_cli.benchmark.published import published_ms
from videomae_cli.benchmark.records import Case, Ceiling, Report, Row, Settings
from videomae_cli.benchmark.timing import Effort
from videomae_cli.errors import UsageError
from videomae_cli.report.grid import render_grid, render_markdown
from videomae_cli.report.tables import render_csv

A100 = "NVIDIA A100-SXM4-40GB"
EAGER = Case("forward", "base", None, 2, "float32", "eager")
SDPA = replace(EAGER, attention="sdpa")
ROWS = (
    Row(EAGER, (30.0, 10.0, 20.0), (90.0,), num_items=2, flops=722 * 10**9, speedup=1.0, peak_bytes=1_234_000_000),
    Row(
        SDPA,
        (10.0, 10.0, 12.0, 11.0),
        num_items=2,
        flops=722 * 10**9,
        speedup=2.0 / 1.05,
        max_logit_difference=1.5e-6,
        logit_std=2.07,
        peak_bytes=987_000_000,
        kernel="flash",
        ceiling_tflops=100.0,
        published_ms=18.0,
    ),
    Row(replace(EAGER, batch_size=64), error="out of memory"),
)


def report(*rows: Row, **settings: Any) -> Report:
    asked = Settings("forward", "base", "finetune", "cuda:0", ("float32",), ("eager", "sdpa"), (2, 64), Effort())
    return Report(
        settings=replace(asked, **settings),
        machine={"cpu": "EPYC", "cores": 8, "memory_bytes": 64 << 30, "torch_threads": 8}
        | {"gpu": A100, "gpu_memory_bytes": 40 << 30, "driver": "550.54"},
        versions={"videomae": "0.1.0", "torch": "2.6.0", "cuda": "12.4"},
        model={"num_parameters": 86_534_800, "num_tokens": 1568, "flops_per_clip": 361 * 10**9},
        ceilings={"float32": Ceiling(100.0, "8192 x 8192 x 8192, linear")},
        rows=rows or ROWS,
    )


def test_figures_are_derived_from_the_samples() -> None:
    row = ROWS[1]
    assert (row.mean_ms, row.median_ms) == (10.75, 10.5)
    assert row.p95_ms == pytest.approx(11.85)
    assert row.items_per_second == pytest.approx(2 / 0.0105)
    assert row.tflops == pytest.approx(0.722 / 0.0105)
    assert row.share_of_ceiling == pytest.approx(0.6876, abs=1e-4)
    assert row.spread == pytest.approx((11.25 - 10.0) / 10.5)


def test_a_row_without_samples_has_no_figures() -> None:
    assert ROWS[2].to_dict() == {
        "mode": "forward",
        "model": "base",
        "batch_size": 64,
        "dtype": "float32",
        "attention": "eager",
        "status": "error",
        "error": "out of memory",
        "warmup_ms": [],
        "samples_ms": [],
    }


def test_the_table() -> None:
    assert render_grid(*columns.table(report())) == (
        "batch  dtype    attention  kernel  mean ms  median ms  p95 ms  speed-up  clips/s  peak MB  TFLOP/s"
        "  of ceiling  logit diff.  published ms  error\n"
        "    2  float32  eager      -          20.0       20.0    29.0      1.00    100.0     1234     36.1"
        "           -            -             -  -\n"
        "    2  float32  sdpa       flash      10.8       10.5    11.8      1.90    190.5      987     68.8"
        "         69%      1.5e-06            18  -\n"
        "   64  float32  eager      -             -          -       -         -        -        -        -"
        "           -            -             -  out of memory\n"
    )


def test_markdown() -> None:
    text = render_markdown(["video", "ms"], [["x|y", "1"], ["new\nline", "2"]], [False, True])
    assert text == "| video | ms |\n| --- | ---: |\n| x\\|y | 1 |\n| new\\nline | 2 |\n"


def test_the_lines_around_the_table_name_machine_versions_and_meaning() -> None:
    above, below = "\n".join(columns.head(report())), "\n".join(columns.legend(report()))
    for named in ("base: forward pass", "86.5M", "361 GFLOP", A100, "driver 550.54", "EPYC, 8 cores, 64 GiB"):
        assert named in above
    assert "torch 2.6.0, cuda 12.4; 8 threads, TF32 off" in above
    assert "TF32 on, compiled" in "\n".join(columns.head(report(tf32=True, compile=True)))
    assert "speed-up: over eager in the same dtype" in below
    assert "the logits' deviation is 2.1" in below
    assert "float32 100.0 TFLOP/s (8192 x 8192 x 8192, linear)" in below
    assert "A100-40GB" in below
    assert "over sdpa" in "\n".join(columns.legend(report(attentions=("sdpa", "auto"))))


def test_csv_has_a_column_for_every_figure() -> None:
    first, *rows = render_csv(columns.csv_rows(report())).splitlines()
    assert first.startswith("mode,model,task,batch_size,dtype,attention,video,stage,status,error,mean_ms,median_ms,")
    assert rows[1].startswith("forward,base,,2,float32,sdpa,,,ok,,10.75,10.5,")
    assert rows[2].startswith("forward,base,,64,float32,eager,,,error,out of memory,,")
    assert {row.count(",") for row in rows} == {first.count(",")}


def test_json_holds_everything_and_every_sample() -> None:
    content = json.loads(report().to_json())
    assert list(content) == ["videomae_benchmark", "settings", "machine", "versions", "model", "ceilings", "rows"]
    assert content["settings"]["effort"] == {"num_warmup": None, "num_rounds": None}
    assert content["machine"]["gpu"] == A100
    assert content["ceilings"] == {"float32": {"tflops": 100.0, "how": "8192 x 8192 x 8192, linear"}}
    assert [row["samples_ms"] for row in content["rows"]] == [list(row.samples_ms) for row in ROWS]
    assert content["rows"][0]["warmup_ms"] == [90.0]


def test_json_stays_json_where_logits_are_not_finite() -> None:
    rows = [replace(ROWS[1], max_logit_difference=value) for value in (math.nan, math.inf)]
    written = json.loads(report(*rows).to_json())["rows"]
    assert [row["max_logit_difference"] for row in written] == ["nan", "inf"]
    assert "nan" in render_grid(*columns.table(report(*rows)))


def test_names_of_files_that_are_not_utf8() -> None:
    row = Row(Case("decode", video="caf\udce9.mp4", stage="read"), (1.0,))
    assert json.loads(report(row).to_json())["rows"][0]["video"] == "caf\udce9.mp4"
    assert "caf\\udce9.mp4" in render_grid(*columns.table(report(row)))


def test_bars_leave_gaps_where_nothing_was_measured() -> None:
    assert columns.bars(report()) == (
        ["batch 2", "batch 64"],
        {"float32 eager": [20.0, None], "float32 sdpa": [10.5, None]},
    )


@pytest.mark.parametrize(("samples", "warned"), [((10.0, 10.2, 10.1), False), ((10.0, 20.0, 10.0, 20.0), True)])
def test_restless_times_are_told(samples: tuple[float, ...], warned: bool) -> None:
    assert bool(columns.restless(report(Row(SDPA, samples)))) is warned


@pytest.mark.parametrize(
    ("batch_size", "eager", "sdpa"),
    [(1, 37, 10), (2, 24, 18), (4, 43, 32), (8, 84, 60), (16, None, None)],
)
def test_the_published_table(batch_size: int, eager: float | None, sdpa: float | None) -> None:
    cases = [replace(case, batch_size=batch_size) for case in (EAGER, SDPA)]
    assert [published_ms(case, A100) for case in cases] == [eager, sdpa]
    for gpu in (None, "NVIDIA H100"):
        assert [published_ms(case, gpu) for case in cases] == [None, None]


@pytest.mark.parametrize("other", [{"dtype": "float16"}, {"model": "large"}, {"mode": "train"}, {"attention": "auto"}])
def test_other_cases_were_not_published(other: dict[str, Any]) -> None:
    assert published_ms(replace(EAGER, **other), A100) is None


def baseline_file(folder: Path, change: dict[int, float] | None = None, **settings: Any) -> Path:
    """A report written as JSON, then edited: `change` scales the median of a row."""
    content = json.loads(report(**settings).to_json())
    for index, factor in (change or {}).items():
        content["rows"][index]["median_ms"] *= factor
    path = folder / "baseline.json"
    path.write_text(json.dumps(content))
    return path


def test_a_report_compared_with_itself_has_not_changed(tmp_path: Path) -> None:
    baseline = read_baseline(baseline_file(tmp_path))
    rows = compare(ROWS, baseline)
    assert [row.change for row in rows] == [0.0, 0.0, None]
    assert regressions(rows, 0.0) == []
    assert mismatches(report(), baseline) == []


@pytest.mark.parametrize(("limit", "slower"), [(0.05, [SDPA]), (0.24, [SDPA]), (0.26, [])])
def test_what_got_slower_by_more_than_the_limit(limit: float, slower: list[Case], tmp_path: Path) -> None:
    rows = compare(ROWS, read_baseline(baseline_file(tmp_path, {0: 2.0, 1: 0.8})))
    assert [row.change for row in rows] == [pytest.approx(-0.5), pytest.approx(0.25), None]
    assert [row.case for row in regressions(rows, limit)] == slower
    assert "+25.0%" in render_grid(*columns.table(report(*rows)))
    assert columns.change(rows[1]) == "batch 2, float32, sdpa: 8.400 ms -> 10.5 ms (+25.0%)"


def test_running_out_of_memory_where_there_was_enough_is_a_regression(tmp_path: Path) -> None:
    now = (Row(EAGER, error="out of memory"), ROWS[1])
    (row,) = regressions(compare(now, read_baseline(baseline_file(tmp_path))), 0.5)
    assert columns.change(row) == "batch 2, float32, eager: 20.0 ms -> out of memory"


def test_rows_and_machines_that_do_not_match_are_told(tmp_path: Path) -> None:
    baseline = read_baseline(baseline_file(tmp_path))
    now = replace(
        report(ROWS[0], Row(replace(SDPA, batch_size=4), (1.0,)), compile=True),
        machine={**report().machine, "torch_threads": 4},
    )
    assert mismatches(now, baseline) == [
        "not in the baseline: batch 4, float32, sdpa",
        "only in the baseline: batch 2, float32, sdpa",
        "only in the baseline: batch 64, float32, eager",
        "the baseline was made otherwise: torch_threads 8 (now 4), compile False (now True)",
    ]


def test_a_baseline_of_another_mode_is_told_once(tmp_path: Path) -> None:
    """Not row by row, in words that do not tell a forward pass from a training step."""
    trained = report(*(replace(row, case=replace(row.case, mode="train")) for row in ROWS), mode="train")
    assert mismatches(trained, read_baseline(baseline_file(tmp_path))) == [
        "the baseline has none of these rows",
        "the baseline was made otherwise: mode forward (now train)",
    ]


NO_CONTEXT = b'"machine": {}, "versions": {}, "settings": {}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"videomae_benchmark": 99, "rows": []}',
        b'{"videomae_benchmark": 1}',
        b'{"videomae_benchmark": 1, "rows": [{"mode": "forward", "median_ms": "fast"}]}',
        b'{"videomae_benchmark": 1, "rows": [{"mode": "forward", "median_ms": -1}]}',
        b'{"videomae_benchmark": 1, "rows": [{"mode": "e2e", "median_ms": Infinity}], ' + NO_CONTEXT,
        b'{"videomae_benchmark": 1, "rows": [{"mode": "e2e", "median_ms": 1%s}], ' % (b"0" * 400) + NO_CONTEXT,
        b'{"videomae_benchmark": 1, "rows": [{"median_ms": 1.0}]}',
        b'{"videomae_benchmark": 1, "rows": [{"mode": []}], "machine": {}, "versions": {}, "settings": {}}',
        b"[" * 100_000,
        None,
    ],
)
def test_what_is_no_baseline_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"baseline\.json"):
        read_baseline(path)
