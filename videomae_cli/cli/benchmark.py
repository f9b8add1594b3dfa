"""`videomae benchmark`: how long a forward pass, a training step, or the way from a file to its labels takes."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from ..errors import UsageError
from ..inference.records import Failure
from ..report.text import printable
from . import benchmark_options as own
from . import options as opt
from .boundary import Interruption, importing_torch, say_error
from .inputs import collect_inputs
from .output import check_writable
from .speaker import Speaker

if TYPE_CHECKING:
    from pathlib import Path

    from ..benchmark.baseline import Baseline
    from ..benchmark.records import Mode, Report, Row, Settings, Task
    from ..benchmark.timing import Effort

MODES = ("forward", "train", "decode", "e2e")
TASKS = ("finetune", "pretrain")
ATTENTIONS = ("eager", "sdpa", "auto")
DTYPES = ("float32", "bfloat16", "float16", "auto")
FORMATS = ("table", "json", "csv", "markdown")
SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".txt": "table"}
PLOT_SUFFIXES = (".svg", ".png")
SOME_FAILED = 1  # a video that cannot be read, a median that rose too much


def benchmark(
    videos: own.BenchmarkVideos = None,
    model: own.BenchmarkModel = "base",
    revision: opt.Revision = None,
    mode: own.Mode = "forward",
    task: own.Task = "finetune",
    batch_sizes: own.BatchSizes = None,
    attention: own.Attentions = None,
    dtype: own.Dtypes = "float32",
    warmup: own.Warmup = "auto",
    iters: own.Iters = "auto",
    compile: own.Compile = False,
    tf32: own.Tf32 = False,
    device: opt.Device = "auto",
    format: own.BenchmarkFormat = None,
    output: opt.Output = None,
    overwrite: own.BenchmarkOverwrite = False,
    baseline: own.BaselineFile = None,
    fail_above: own.FailAbove = None,
    plot: own.Plot = None,
    offline: opt.Offline = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> int:
    """Measure how fast a model runs here: eager attention against SDPA.

    All contestants take turns in one process, after a warm-up. A table on stdout, or --format; JSON holds every sample.
    Exit code 0: done; 1: a median rose by more than --fail-above, or a video cannot be read; 2: usage; 3: model;
    4: device, memory or disk; 70: a bug; 130, 143: stopped by SIGINT, SIGTERM, and what was measured is printed.

    Every option can be set in the environment too: --batch-sizes is VIDEOMAE_BATCH_SIZES.
    """
    from ..benchmark.baseline import compare, read_baseline
    from ..benchmark.timing import Effort

    speaker = Speaker(quiet=quiet, verbose=verbose, debug=debug)
    effort = Effort(opt.parse_count("--warmup", warmup), opt.parse_count("--iters", iters))
    settings = _settings(videos or [], model, mode, task, batch_sizes, attention, dtype, effort, compile=compile)
    format_ = _choose_format(format, output)
    limit = None if fail_above is None else opt.parse_percent("--fail-above", fail_above)
    if limit is not None and baseline is None:
        raise UsageError("--fail-above has nothing to compare with", "Name an earlier run with --baseline.")
    _check_files(output, plot, baseline, overwrite=overwrite)
    before = read_baseline(baseline) if baseline else None

    settings = replace(settings, device=device, tf32=tf32)
    report, exit_code = _measure(settings, speaker, revision=revision, offline=offline)
    if before:
        report = replace(report, rows=compare(report.rows, before))
    _write(_render(report, format_), output)
    if plot:
        _draw(report, plot)
    return exit_code or _judge(report, before, limit, speaker)


def _settings(
    inputs: list[str],
    model: str,
    mode: str,
    task: str,
    batch_sizes: str | None,
    attention: str | None,
    dtype: str,
    effort: Effort,
    *,
    compile: bool,
) -> Settings:
    """What is asked, checked as far as that goes without torch."""
    from ..benchmark.records import Settings

    mode, task = _one_of("--mode", mode, MODES), _one_of("--task", task, TASKS)
    reads_files = mode in ("decode", "e2e")
    misfits = {
        "a video": bool(inputs) and not reads_files,
        "--batch-sizes": batch_sizes is not None and reads_files,
        "--compile": compile and reads_files,
        "--task": task != TASKS[0] and mode != "train",
    }
    for option, is_misfit in misfits.items():
        if is_misfit:
            raise UsageError(f"{option} with --mode {mode}", "It has no meaning there: leave it out.")
    attentions = opt.parse_names("--attention", attention or ("auto" if mode == "e2e" else "eager,sdpa"), ATTENTIONS)
    if "auto" in attentions and (mode == "train" or compile):
        what = "--compile" if compile else "--mode train"
        raise UsageError(f"--attention auto with {what}", "It is what classify runs: choose eager, sdpa or both.")
    return Settings(
        mode=cast("Mode", mode),
        model=model,
        task=cast("Task", task),
        device="auto",
        dtypes=opt.parse_names("--dtype", dtype, DTYPES),
        attentions=attentions,
        batch_sizes=() if reads_files else opt.parse_counts("--batch-sizes", batch_sizes or "1,2,4,8"),
        effort=effort,
        compile=compile,
        videos=_videos(inputs),
    )


def _videos(inputs: list[str]) -> tuple[str, ...]:
    """The files that the arguments name; none where there are no arguments."""
    paths = []
    for item in collect_inputs(inputs).items if inputs else []:
        if isinstance(item, Failure):  # a folder that may not be listed
            raise UsageError(item.message, "Name files that can be read.")
        paths.append(item)
    return tuple(paths)


def _one_of(option: str, name: str, choices: tuple[str, ...]) -> str:
    if name not in choices:
        raise UsageError(f"{option} is {name!r}", f"Choose one of {', '.join(choices)}.")
    return name


def _choose_format(asked: str | None, output: Path | None) -> str:
    """The format that was asked for, else the one that the file's suffix names, else a table."""
    if asked is not None:
        return _one_of("--format", asked, FORMATS)
    if output is None:
        return "table"
    if output.suffix.lower() not in SUFFIXES:
        what = f"cannot tell the format of {str(output)!r} from its suffix"
        raise UsageError(what, f"Use -f with one of {', '.join(FORMATS)}.")
    return SUFFIXES[output.suffix.lower()]


def _check_files(output: Path | None, plot: Path | None, baseline: Path | None, *, overwrite: bool) -> None:
    """Refuse what could not be written, before time is spent on it."""
    if plot:
        _check_plot(plot)
    if overwrite and not (output or plot):
        raise UsageError("--overwrite is about output files", "Name one with -o or --plot.")
    if output and plot and os.path.realpath(output) == os.path.realpath(plot):
        raise UsageError(f"-o and --plot both name {str(plot)!r}", "Write the picture elsewhere.")
    for path in filter(None, (output, plot)):
        if baseline and os.path.realpath(path) == os.path.realpath(baseline):
            raise UsageError(f"{str(path)!r} is the baseline, and would be overwritten", "Write elsewhere.")
        if os.path.isfile(path) and not overwrite:
            raise UsageError(f"{str(path)!r} exists", "Replace it by --overwrite.")
        check_writable(path)


def _check_plot(path: Path) -> None:
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise UsageError(f"--plot is {str(path)!r}", f"Name a file that ends in {' or '.join(PLOT_SUFFIXES)}.")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError("--plot needs matplotlib", "Run pip install 'videomae[plots]'.") from None


def _measure(settings: Settings, speaker: Speaker, *, revision: str | None, offline: bool) -> tuple[Report, int]:
    """Run the benchmark; the first SIGINT or SIGTERM ends it with what there is, and the exit code says so."""
    with importing_torch():
        from ..benchmark.columns import summary
        from ..benchmark.run import resolve, run  # torch comes in here, and not before
    settings = resolve(settings)
    if settings.mode in ("decode", "e2e") and not settings.videos:
        speaker.note("no video is given: measuring on a synthetic one, 10 s of 640 x 360")

    def tell(rows: list[Row]) -> None:
        for row in rows:
            speaker.note(summary(row, verbose=speaker.verbose))

    with Interruption() as interruption:
        report = run(settings, lambda: interruption.exit_code != 0, tell, revision=revision, offline=offline)
    if interruption.exit_code:
        speaker.note(f"interrupted; rows measured: {len(report.rows)}")
    return report, interruption.exit_code


def _render(report: Report, format_: str) -> str:
    from ..benchmark.columns import csv_rows, head, legend, table
    from ..report.grid import render_grid, render_markdown
    from ..report.tables import render_csv

    if format_ == "json":
        return report.to_json()
    if format_ == "csv":
        return render_csv(csv_rows(report))
    mark, render = ("- ", render_markdown) if format_ == "markdown" else ("", render_grid)
    above, below = ("".join(f"{mark}{printable(line)}\n" for line in lines) for lines in (head(report), legend(report)))
    return f"{above}\n{render(*table(report))}\n{below}" if report.rows else above


def _write(content: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(content.encode())
        return
    from ..weights.write import write_atomically

    write_atomically(output.resolve(), content.encode())


def _draw(report: Report, path: Path) -> None:
    from ..benchmark.columns import bars, head
    from ..report.plot import render_bars
    from ..weights.write import write_atomically

    what, on, _ = head(report)
    picture = render_bars(*bars(report), f"{what}\n{on}", "median ms", path.suffix.lower().removeprefix("."))
    write_atomically(path.resolve(), picture)


def _judge(report: Report, baseline: Baseline | None, limit: float | None, speaker: Speaker) -> int:
    """Say what makes the figures less than they seem, and which of them got worse; returns the exit code."""
    from ..benchmark.baseline import mismatches, regressions
    from ..benchmark.columns import change, restless

    for warning in [*restless(report), *(mismatches(report, baseline) if baseline else [])]:
        speaker.note(f"warning: {warning}")
    if limit is not None and all(row.change is None for row in report.rows):
        raise UsageError("the baseline has none of these rows", "Compare with a run of the same settings.")
    slower = [] if limit is None else regressions(report.rows, limit)
    for row in slower:
        say_error(f"slower than --fail-above allows: {printable(change(row))}", "")
    has_failed = any(row.error and row.case.video for row in report.rows)
    return SOME_FAILED if slower or has_failed else 0
