"""What a run of `classify` has to do: which inputs, where to, and what an earlier run did of it already."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..inference.ledger import Ledger, OutputLock, describe_run, differences, file_mark, read_ledger
from ..inference.records import Failure
from .inputs import collect_inputs
from .output import RecordOutput, check_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..inference.look import Look
    from ..report.formats import FormatName
    from .shard import Shard

SOME_FAILED = 1


@dataclass(frozen=True)
class Model:
    """Which checkpoint is asked for.

    Attributes:
        name: alias, hub id or path.
        revision: of a hub id.
        offline: make no request.
    """

    name: str
    revision: str | None = None
    offline: bool = False

    def digest(self) -> str:
        """A short name for the content of its files, which are fetched for it where they are not here.

        Raises:
            ModelError: they cannot be found, fetched or read.
        """
        from ..weights.digest import digest_checkpoint  # torch is not needed for it
        from ..weights.hub import locate

        return digest_checkpoint(locate(self.name, revision=self.revision, offline=self.offline))


@dataclass(frozen=True)
class Destination:
    """Where the records go, and what becomes of those that are there.

    Attributes:
        output: the file; None is stdout.
        report: the HTML page; None is none.
        format: of the records.
        resume: go on with the file.
        retry_failed: and try again what failed.
        overwrite: replace the file.

    Raises:
        UsageError: these do not go together.
    """

    output: Path | None
    format: FormatName
    report: Path | None = None
    resume: bool = False
    retry_failed: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite exclude each other", "Go on with the file, or replace it.")
        if self.report and self.output and os.path.realpath(self.report) == os.path.realpath(self.output):
            raise UsageError(f"--report and --output are both {str(self.output)!r}", "Name two files.")
        if self.retry_failed and not self.resume:
            raise UsageError("--retry-failed is about a run that goes on", "Give --resume too.")
        if self.output is None and (self.resume or (self.overwrite and not self.report)):
            raise UsageError("--resume and --overwrite are about an output file", "Name it with -o.")
        if self.output is None and self.format == "parquet":
            raise UsageError("parquet is no text for stdout", "Name a file with -o.")
        if self.resume and self.format != "jsonl":
            raise UsageError(
                f"--resume cannot go on with {self.format}", "Write .jsonl, whose records are appended one by one."
            )

    @contextmanager
    def claimed(self) -> Iterator[str]:
        """Keep other runs away from the output meanwhile. What is there must be wanted there.

        Yields:
            A warning where the file system knows no locks; else nothing.

        Raises:
            MachineError: it cannot be written, or another run writes to it.
            UsageError: it exists, and neither --resume nor --overwrite is given.
        """
        if self.report:
            check_writable(self.report)
            if os.path.isfile(self.report) and not self.overwrite:
                hint = "Name another file; the page is of what this run does." if self.resume else "Use --overwrite."
                raise UsageError(f"{str(self.report)!r} exists", hint)
        if self.output is None:
            yield ""
            return
        check_writable(self.output)
        with OutputLock(self.output) as lock:
            if os.path.isfile(self.output) and not (self.resume or self.overwrite):
                raise UsageError(
                    f"{str(self.output)!r} exists", "Go on with it by --resume, or replace it by --overwrite."
                )
            yield lock.warning


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        items: files to classify, and failures that are known already.
        num_skipped: inputs that have a record from an earlier run.
        num_skipped_failures: of them, those that failed.
        run: what every record says of the run, see `ledger.describe_run`; None where the format does not say it.
        marks: input -> its `ledger.file_mark` before it was read.
    """

    items: list[str | Failure]
    num_skipped: int = 0
    num_skipped_failures: int = 0
    run: dict[str, Any] | None = None
    marks: dict[str, dict[str, int] | None] = field(default_factory=dict)

    @property
    def num_inputs(self) -> int:
        """Of this run, done before or not."""
        return len(self.items) + self.num_skipped

    @property
    def exit_code(self) -> int:
        """What the records of an earlier run bring along."""
        return SOME_FAILED if self.num_skipped_failures else 0

    def about(self, path: str) -> dict[str, Any]:
        """What a record of JSON lines says besides: of the file, as it was before it was read, and of the run.

        Args:
            path: the input.
        """
        return {} if self.run is None else {"file": self.marks[path], "run": self.run}


def name_output(output: Path | None, shard: Shard | None) -> Path | None:
    """Put such as "1-of-4" for "{shard}" in the name of an output: srun and torchrun give all processes the same.

    Args:
        output: as it was named.
        shard: the part of the inputs that is this run's.
    """
    if output is None or shard is None:
        return output
    return output.with_name(output.name.replace("{shard}", shard.file_part))


@contextmanager
def planned(
    inputs: list[str] | None,
    files_from: str | None,
    destination: Destination,
    look: Look,
    model: Model,
    shard: Shard | None,
    note: Callable[[str], None],
) -> Iterator[Plan]:
    """Find out what there is to do, before anything heavy is loaded, and keep the output for this run meanwhile.

    Args:
        inputs: files, folders and globs.
        files_from: a list of files.
        destination: of the records.
        look: how each video is looked at.
        model: that is asked for.
        shard: the part of the inputs that is this run's; None is all of them.
        note: says something to the user.

    Yields:
        What there is to do. Where that is nothing, the output is there and valid already.

    Raises:
        UsageError: the inputs, or what is in the output, are not as they must be.
        ModelError: the model's files are not to be had.
        MachineError: the output cannot be written, or another run writes to it.
    """
    found = collect_inputs(inputs or [], files_from, allow_images=look.allow_images)
    if found.num_repeated:
        note(f"{found.num_repeated} repeated inputs; each file is classified once")
    _keep_apart(destination.output, [*found.items, files_from])
    _keep_apart(destination.report, [*found.items, files_from])
    items = [item for item in found.items if shard is None or shard.holds(_path(item))]
    if shard:
        note(f"shard {shard}: {len(items)} of {len(found.items)} inputs")
    with destination.claimed() as warning:
        if warning:
            note(f"warning: {warning}")
        if destination.format == "jsonl":
            run = describe_run(look, model.name, None, str(shard) if shard else None, len(found.items))
            plan = _plan_records(items, destination, model, run)
        else:
            plan = Plan(items)
        if not plan.items:
            with RecordOutput(destination.format, destination.output, append=destination.resume):
                pass
            if plan.num_skipped:
                note(
                    f"nothing to do: {destination.output} holds {plan.num_skipped} records, "
                    f"{plan.num_skipped_failures} of failures"
                )
        yield plan


def _plan_records(items: list[str | Failure], destination: Destination, model: Model, run: dict[str, Any]) -> Plan:
    """Compare what is asked for with what a .jsonl output holds.

    Records that no longer hold are taken out of it: of files that changed since, and with --retry-failed of those that
    failed.
    """
    resumed = destination.output if destination.resume and destination.output else None
    ledger = read_ledger(resumed) if resumed and os.path.isfile(resumed) else None
    if ledger and ledger.entries:
        _refuse_other_run(ledger, run, ignored=["weights"])  # before these are fetched
    run["weights"] = model.digest()
    marks = {_path(item): file_mark(_path(item)) for item in items}
    if ledger is None:
        return Plan(items, run=run, marks=marks)
    if ledger.entries:
        _refuse_other_run(ledger, run)
    known = {path: entry for path in marks if (entry := ledger.entries.get(path))}
    kept = {
        path: entry
        for path, entry in known.items()
        if entry.file == marks[path] and not (destination.retry_failed and entry.status == "error")
    }
    if dropped := known.keys() - kept.keys():
        from ..weights.write import write_atomically  # not at the top: --help does without it

        write_atomically(ledger.path.resolve(), lambda temporary: ledger.write_without(dropped, temporary))
    else:
        ledger.cut_torn()
    return Plan(
        items=[item for item in items if _path(item) not in kept],
        num_skipped=len(kept),
        num_skipped_failures=sum(entry.status == "error" for entry in kept.values()),
        run=run,
        marks=marks,
    )


def _refuse_other_run(ledger: Ledger, run: dict[str, Any], ignored: Sequence[str] = ()) -> None:
    if ledger.run is None:
        raise UsageError(
            f"the records of {str(ledger.path)!r} do not say by which model and sampling they were made",
            "Write elsewhere with -o, or replace it by --overwrite.",
        )
    if found := differences(ledger.run, run, ignored):
        raise UsageError(
            f"{str(ledger.path)!r} is of another run: {'; '.join(found)}",
            "Ask for the same as before, write elsewhere with -o, or replace it by --overwrite.",
        )


def _keep_apart(output: Path | None, sources: list[str | Failure | None]) -> None:
    """Refuse to write over what is read."""
    if output is None:
        return
    target = os.path.realpath(output)
    for source in sources:
        if isinstance(source, str) and source != "-" and os.path.realpath(source) == target:
            raise UsageError(f"{str(output)!r} is an input, and would be overwritten", "Write elsewhere with -o.")


def _path(item: str | Failure) -> str:
    return item.path if isinstance(item, Failure) else item
