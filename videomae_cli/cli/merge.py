"""`videomae merge`: the outputs of the shards of one run become one, if they are all there and whole."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..inference.ledger import Ledger, OutputLock, differences, read_ledger
from ..report.text import printable
from . import options as opt
from .boundary import say
from .output import RecordOutput, check_writable, choose_format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUM_NAMED = 5  # of many, in a message


def merge(
    shards: opt.Shards,
    output: opt.MergeOutput,
    format: opt.MergeFormat = None,
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Join the .jsonl outputs of `classify --shard`: what one run without --shard would have written, in another order.

    All shards must be there and finished, be of one run (the same model and sampling), and share no input.
    Exit code 0: done; 2: they do not belong together, or something is missing; 4: disk; 70: a bug.
    """
    format_ = choose_format(format, output)
    if format_ == "text":
        raise UsageError("merge does not write text", "Choose jsonl, json, csv or parquet with -f.")
    check_writable(output)
    with OutputLock(output):
        if os.path.isfile(output) and not overwrite:
            raise UsageError(f"{str(output)!r} exists", "Replace it by --overwrite.")
        if any(os.path.realpath(path) == os.path.realpath(output) for path in shards):
            raise UsageError(f"{str(output)!r} is a shard, and would be overwritten", "Write elsewhere with -o.")
        ledgers = [_read(path) for path in shards]
        _check_same_run(ledgers)
        _check_disjoint(ledgers)
        ordered = _check_complete(ledgers)
        with RecordOutput(format_, output, at_once=True) as out:
            for values in _records(ordered):
                out.write_values(values)
    if not quiet:
        entries = [entry for ledger in ledgers for entry in ledger.entries.values()]
        failed = sum(entry.status == "error" for entry in entries)
        say(printable(f"{len(ledgers)} shards, {len(entries)} records, {failed} of failures: {output}"))
    return 0


def _read(path: Path) -> Ledger:
    try:
        ledger = read_ledger(path)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror}", "Name the outputs of all shards.") from None
    if ledger.is_torn:
        raise UsageError(f"the last line of {str(path)!r} is torn", "Finish that shard with --resume.")
    if ledger.entries and not _part(ledger)[1]:
        raise UsageError(f"{str(path)!r} is no output of classify --shard", "Name the outputs of all shards.")
    return ledger


def _part(ledger: Ledger) -> tuple[int, int]:
    """Number and count of a shard; the count is 0 for what is none."""
    text = str((ledger.run or {}).get("shard"))
    number, _, count = text.partition("/")
    return (int(number), int(count)) if number.isdecimal() and count.isdecimal() else (0, 0)


def _check_same_run(ledgers: list[Ledger]) -> None:
    filled = [ledger for ledger in ledgers if ledger.run]
    for ledger in filled[1:]:
        if found := differences(filled[0].run or {}, ledger.run or {}, ignored=["shard"]):
            raise UsageError(
                f"{str(filled[0].path)!r} and {str(ledger.path)!r} are of different runs: {'; '.join(found)}",
                "Merge the shards of one run, with the same model and sampling.",
            )


def _check_disjoint(ledgers: list[Ledger]) -> None:
    seen: dict[str, Ledger] = {}
    for ledger in ledgers:
        for path in ledger.entries:
            if path in seen:
                raise UsageError(
                    f"{path!r} is in {str(seen[path].path)!r} and in {str(ledger.path)!r}",
                    "Name each shard once, of runs with the same number of shards.",
                )
            seen[path] = ledger


def _check_complete(ledgers: list[Ledger]) -> list[Ledger]:
    """The shards in the order of their numbers. An empty file is of one that got no input, and says no number."""
    parts = {_part(ledger): ledger for ledger in ledgers if ledger.entries}
    counts = {count for _, count in parts}
    num_empty = sum(not ledger.entries for ledger in ledgers)
    if not counts:
        raise UsageError("all these files are empty", "Name the outputs of all shards.")
    if len(counts) > 1 or len(parts) + num_empty < len(ledgers):
        named = ", ".join(f"{str(ledger.path)!r} is {number}/{count}" for (number, count), ledger in parts.items())
        raise UsageError(f"these are not the shards of one run: {named}", "Name the output of each shard once.")
    (count,) = counts
    missing = [f"{number}/{count}" for number in range(1, count + 1) if (number, count) not in parts]
    if len(missing) != num_empty:
        shown = ", ".join(missing[:_NUM_NAMED]) + (
            f" and {len(missing) - _NUM_NAMED} more" if missing[_NUM_NAMED:] else ""
        )
        empty = f", and {num_empty} of the files are empty" if num_empty else ""
        raise UsageError(f"{len(ledgers)} of {count} shards are given; missing: {shown}{empty}", "Name all shards.")
    num_records = sum(len(ledger.entries) for ledger in ledgers)
    num_inputs = max((ledger.run or {}).get("num_inputs", 0) for ledger in parts.values())
    if num_records < num_inputs:
        raise UsageError(
            f"the shards hold {num_records} records, and the run has {num_inputs} inputs",
            "A shard is not finished: run each again with --resume, which does what is left.",
        )
    return [parts[part] for part in sorted(parts)]


def _records(ledgers: list[Ledger]) -> Iterator[dict[str, Any]]:
    """All records, as a run without --shard would say them: it can go on with the merged file by --resume."""
    for ledger in ledgers:
        with ledger.path.open("rb") as file:
            for line in file:
                values = json.loads(line)
                values["run"]["shard"] = None
                yield values
