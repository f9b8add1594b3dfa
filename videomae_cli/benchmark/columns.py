"""What a person reads of a report: the lines above its table, the columns, the legend below; and the bars of a plot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from .records import FIGURES, Case, Report, Row

RESTLESS, RESTLESS_MS = 0.10, 1.0  # quartiles further apart than this share of a median this long are worth a word


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: with its unit.
        cell: the text for a row; empty where there is nothing to say.
        is_number: right-aligned.
    """

    title: str
    cell: Callable[[Row], str]
    is_number: bool = True


def table(report: Report) -> tuple[list[str], list[list[str]], list[bool]]:
    """Titles, cells and which columns are numbers; columns that are empty throughout are left out.

    Args:
        report: what was found.
    """
    cells = [[column.cell(row) for row in report.rows] for column in COLUMNS]
    shown = [(column, texts) for column, texts in zip(COLUMNS, cells, strict=True) if any(texts)]
    rows = [[texts[index] or "-" for _, texts in shown] for index in range(len(report.rows))]
    return [column.title for column, _ in shown], rows, [column.is_number for column, _ in shown]


def head(report: Report) -> list[str]:
    """What was measured, and on what; a line each."""
    settings, machine, versions, model = report.settings, report.machine, report.versions, report.model
    what = {
        "forward": f"{settings.model}: forward pass",
        "train": f"{settings.model}: one {settings.task} step (forward, backward, AdamW)",
        "decode": "16 frames, stride 4, from the middle of a file",
        "e2e": f"{settings.model}: from a file to labels, one view",
    }[settings.mode]
    if model:
        what += f"; {model['num_parameters'] / 1e6:.1f}M parameters, {model['num_tokens']} tokens"
        what += f" and {model['flops_per_clip'] / 1e9:.0f} GFLOP a clip"
    gib = 2**30
    host = f"{machine['cpu']}, {machine['cores']} cores, {int(machine['memory_bytes']) / gib:.0f} GiB"
    on = f"on {settings.device}: {host}"
    if "gpu" in machine:
        gpu_memory = f"{int(machine['gpu_memory_bytes']) / gib:.0f} GiB"
        on = f"on {settings.device}: {machine['gpu']}, {gpu_memory}, driver {machine['driver']}; {host}"
    software = ", ".join(f"{name} {version}" for name, version in versions.items())
    options = f"{machine['torch_threads']} threads, TF32 {'on' if settings.tf32 else 'off'}"
    options += ", compiled" if settings.compile else ""
    return [what, on, f"{software}; {options}"]


def legend(report: Report) -> list[str]:
    """How to read the table; a line each, for the columns that are there."""
    titles, _, _ = table(report)
    reference = report.settings.reference
    logit_std = max((row.logit_std for row in report.rows if row.logit_std is not None), default=0.0)
    lines = {
        KERNEL: "kernel: which fused attention ran; own is that of model/kernels.py",
        SPEEDUP: f"speed-up: over {reference} in the same dtype" + COMPILED * report.settings.compile,
        LOGITS: f"logit diff.: the largest to {reference}, on the same input; the logits' deviation is {logit_std:.2g}",
        PEAK: "peak: weights, input, and the most that a call adds",
        CEILING: "; ".join(
            ["ceiling: the fastest matrix product here"]
            + [f"{dtype} {_figure(found.tflops)} TFLOP/s ({found.how})" for dtype, found in report.ceilings.items()]
        ),
        PUBLISHED: "published: mean on an A100-40GB with PyTorch 2.3, transformers' documentation",
        CHANGE: "change: of the median since the baseline; + is slower",
    }
    return [line for title, line in lines.items() if title in titles]


def summary(row: Row, *, verbose: bool = False) -> str:
    """One row in a line, for those who wait.

    Args:
        row: what was found.
        verbose: also how often it was timed, and how much the times differ.
    """
    if row.median_ms is None:
        return f"{row.case}: {row.error}"
    text = f"{row.case}: {_figure(row.median_ms)} ms"
    if verbose:
        text += f", median of {len(row.samples_ms)} after {len(row.warmup_ms)} to warm up"
        text += f"; {_figure(min(row.samples_ms))} to {_figure(max(row.samples_ms))}"
    return text


def change(row: Row) -> str:
    """How a row differs from the baseline, in a line."""
    if row.median_ms is None:
        return f"{row.case}: {_figure(row.baseline_ms)} ms -> {row.error}"
    return f"{row.case}: {_figure(row.baseline_ms)} ms -> {_figure(row.median_ms)} ms ({_number(row.change, '+.1%')})"


def restless(report: Report) -> list[str]:
    """A warning where times spread so much that small differences mean nothing."""
    timed = [row for row in report.rows if row.median_ms and row.median_ms >= RESTLESS_MS]  # not the clock's own
    spreads = [(row.spread, str(row.case)) for row in timed if row.spread and row.spread > RESTLESS]
    if not spreads:
        return []
    spread, case = max(spreads)
    return [f"the quartiles of {case} lie {spread:.0%} of its median apart: is the machine busy with something else?"]


def bars(report: Report) -> tuple[list[str], dict[str, list[float | None]]]:
    """Medians in ms to plot: the groups, and each contestant's bar in every group."""
    groups: dict[str, None] = {}
    heights: dict[str, dict[str, float | None]] = {}
    for row in report.rows:
        case = row.case
        group = case.video or f"batch {case.batch_size}"
        series = " ".join(part for part in (case.stage, case.dtype, case.attention) if part)
        groups[group] = None
        heights.setdefault(series, {})[group] = row.median_ms
    return list(groups), {series: [found.get(group) for group in groups] for series, found in heights.items()}


def _figure(value: float | None) -> str:
    """Three or four digits: no more can be meant."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


SPEEDUP, PEAK, CEILING, LOGITS = "speed-up", "peak MB", "of ceiling", "logit diff."
KERNEL, PUBLISHED, CHANGE = "kernel", "published ms", "change"
COMPILED = "; torch.compile replaces eager attention by a fused kernel where it knows the pattern"
COLUMNS = (
    Column("video", lambda row: row.case.video or "", is_number=False),
    Column("stage", lambda row: row.case.stage or "", is_number=False),
    Column("batch", lambda row: _number(row.case.batch_size, "d")),
    Column("dtype", lambda row: row.case.dtype or "", is_number=False),
    Column("attention", lambda row: row.case.attention or "", is_number=False),
    Column(KERNEL, lambda row: row.kernel or "", is_number=False),
    Column("mean ms", lambda row: _figure(row.mean_ms)),
    Column("median ms", lambda row: _figure(row.median_ms)),
    Column("p95 ms", lambda row: _figure(row.p95_ms)),
    Column(SPEEDUP, lambda row: _number(row.speedup, ".2f")),
    Column("clips/s", lambda row: _figure(row.items_per_second) if row.case.mode != "decode" else ""),
    Column("frames/s", lambda row: _figure(row.items_per_second) if row.case.mode == "decode" else ""),
    Column(PEAK, lambda row: "" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.0f}"),
    Column("TFLOP/s", lambda row: _figure(row.tflops)),
    Column(CEILING, lambda row: _number(row.share_of_ceiling, ".0%")),
    Column(LOGITS, lambda row: _number(row.max_logit_difference, ".1e")),
    Column(PUBLISHED, lambda row: _number(row.published_ms, ".0f")),
    Column(CHANGE, lambda row: _number(row.change, "+.1%")),
    Column("error", lambda row: row.error, is_number=False),
)

CSV_COLUMNS = (*(item.name for item in fields(Case)), "status", "error", *FIGURES)


def csv_rows(report: Report) -> list[tuple[object, ...]]:
    """Titles, and a row of plain values for each of the report's; what is not known is empty."""
    return [CSV_COLUMNS, *(tuple(row.to_dict().get(name, "") for name in CSV_COLUMNS) for row in report.rows)]
