"""An earlier run to compare with: its JSON file, and what changed since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .records import FORMAT_VERSION, Case, Report, Row

MAX_MS = 1e15  # of what can be a time: 30,000 years


@dataclass(frozen=True)
class Baseline:
    """What an earlier run found.

    Attributes:
        medians_ms: by case; None where a case had no samples.
        context: machine, versions and settings, flat.
    """

    medians_ms: Mapping[Case, float | None]
    context: Mapping[str, Any]


def read_baseline(path: Path) -> Baseline:
    """Read a JSON file that `videomae benchmark -o` wrote.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    hint = "Give a file that `videomae benchmark -o FILE.json` wrote."
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read the baseline {str(path)!r}: {error}", hint) from None
    try:
        if content["videomae_benchmark"] != FORMAT_VERSION:
            raise UsageError(f"the baseline {str(path)!r} is of format {content['videomae_benchmark']!r}", hint)
        names = {item.name for item in fields(Case)}
        medians_ms = {
            Case(**{name: value for name, value in row.items() if name in names}): _median(row)
            for row in content["rows"]
        }
        return Baseline(medians_ms, _context(content["machine"], content["versions"], content["settings"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{str(path)!r} is no benchmark: {type(error).__name__}: {error}", hint) from None


def compare(rows: Sequence[Row], baseline: Baseline) -> tuple[Row, ...]:
    """The rows with their `baseline_ms`, where the baseline has their case."""
    return tuple(replace(row, baseline_ms=baseline.medians_ms.get(row.case)) for row in rows)


def regressions(rows: Sequence[Row], limit: float) -> list[Row]:
    """The rows that are slower than their baseline by more than `limit` (0.05 is 5%), or no longer run at all."""
    return [row for row in rows if row.change is not None and row.change > limit]


def mismatches(report: Report, baseline: Baseline) -> list[str]:
    """What makes the comparison less than it seems: other rows, another machine; a sentence each."""
    now = _context(report.machine, report.versions, vars(report.settings))
    keys = [key for key in {**now, **baseline.context} if now.get(key) != baseline.context.get(key)]
    ours, theirs = {row.case for row in report.rows}, baseline.medians_ms.keys()
    found = []
    if ours & theirs:  # else they have nothing to do with each other, and the settings tell why
        found = [f"not in the baseline: {case}" for case in ours - theirs]
        found += [f"only in the baseline: {case}" for case in theirs - ours]
        found.sort()
    elif ours:
        found = ["the baseline has none of these rows"]
    if keys:
        changes = ", ".join(f"{key} {baseline.context.get(key)} (now {now.get(key)})" for key in keys)
        found.append(f"the baseline was made otherwise: {changes}")
    return found


def _median(row: Mapping[str, Any]) -> float | None:
    value = row.get("median_ms")
    if value is not None and not (isinstance(value, int | float) and 0 < value < MAX_MS):
        raise TypeError(f"median_ms is {value!r}")
    return value


def _context(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """What should be equal in two runs. Which rows there are is compared row by row, how often hardly matters."""
    rows = ("dtypes", "attentions", "batch_sizes", "videos", "effort")
    return {key: value for part in parts for key, value in part.items() if key not in rows}
