"""What a .jsonl file of records already holds, so that an interrupted run can go on, and who is writing to it.

Each record of such a file carries, behind what is said of the input, the size and time of the file that it is about
("file") and what the whole run was asked for ("run"): there is no second file that could be lost or be of another day.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import MachineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from .look import Look

_BEGINNING = b'{"path": "'  # of every record
# The same weights may lie elsewhere and the folder may have grown; neither changes what is said of a file.
_NOT_COMPARED = ("model", "num_inputs")


@dataclass(frozen=True)
class Entry:
    """What an output already says of one input.

    Attributes:
        status: "ok" or "error".
        file: the `file_mark` that its record carries.
    """

    status: str
    file: dict[str, int] | None


@dataclass
class Ledger:
    """A .jsonl file of records, read through once.

    Attributes:
        path: of the file.
        entries: input -> what is said of it.
        run: what its records say of the run, see `describe_run`; None where there is no record, or none that says it.
        num_whole_bytes: up to the end of the last whole record.
        is_torn: something follows, the beginning of a record that an interruption tore.
    """

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    run: dict[str, Any] | None = None
    num_whole_bytes: int = 0
    is_torn: bool = False

    def cut_torn(self) -> None:
        """Cut what an interruption tore off the end of the file."""
        if self.is_torn:
            os.truncate(self.path, self.num_whole_bytes)
            self.is_torn = False

    def write_without(self, dropped: Collection[str], target: Path) -> None:
        """Copy the records, byte for byte, to another file.

        Args:
            dropped: inputs whose records are left out.
            target: is written; not the file itself.
        """
        with self.path.open("rb") as source, target.open("wb") as copy:
            for line in source:
                if line.endswith(b"\n") and json.loads(line)["path"] not in dropped:
                    copy.write(line)


def read_ledger(path: Path) -> Ledger:
    """Read the records of an earlier run. The file is left as it is.

    Args:
        path: a .jsonl file of records.

    Raises:
        UsageError: it holds something else, two records of one input, or records of different runs.
    """
    ledger = Ledger(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                torn = line.rstrip(b"\0")  # some file systems fill up with zeros after a crash
                if torn[: len(_BEGINNING)] != _BEGINNING[: len(torn)]:
                    raise _no_record(path, number)
                ledger.is_torn = True
                break
            record = parse_record(line)
            if record is None:
                raise _no_record(path, number)
            ledger.num_whole_bytes += len(line)
            _enter(ledger, record, number)
    return ledger


def parse_record(line: bytes) -> dict[str, Any] | None:
    """The record that a line holds; None where it holds none."""
    try:
        record = json.loads(line)
        is_record = isinstance(record["path"], str) and record["status"] in ("ok", "error")
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return record if is_record else None


def _enter(ledger: Ledger, record: dict[str, Any], number: int) -> None:
    where = f"line {number} of {str(ledger.path)!r}"
    path, run = record["path"], record.get("run")
    if path in ledger.entries:
        raise UsageError(f"{where} is a second record of {path!r}", "Remove one of the two, or use --overwrite.")
    if number > 1 and run != ledger.run and (found := differences(ledger.run or {}, run or {})):
        raise UsageError(f"{where} is of another run than those before it: {'; '.join(found)}", "Split the file.")
    ledger.entries[path] = Entry(record["status"], record.get("file"))
    ledger.run = run


def _no_record(path: Path, number: int) -> UsageError:
    return UsageError(
        f"line {number} of {str(path)!r} is not a record", "Give the file of an earlier run, or --overwrite."
    )


def file_mark(path: str) -> dict[str, int] | None:
    """What changes when the content of a file does: its size and time; None for what is no regular file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def describe_run(look: Look, model: str, weights: str | None, shard: str | None, num_inputs: int) -> dict[str, Any]:
    """What decides what is said of a file, for every record of a run. Device and precision do not count.

    Args:
        look: how each video is looked at.
        model: as it was named.
        weights: digest of the checkpoint's files; None where it is not known yet.
        shard: such as "1/4"; None where one run takes all inputs.
        num_inputs: of all shards together.
    """
    return {
        "model": model,
        "weights": weights,
        "views": f"{look.views[0]}x{look.views[1]}",
        "stride": look.stride,
        "sampling": look.sampling_kind,
        "top_k": look.top_k,
        "strict": look.strict,
        "allow_images": look.allow_images,
        "max_pixels": look.max_pixels,
        **(asdict(look.windowing) if look.windowing else {}),
        "shard": shard,
        "num_inputs": num_inputs,
    }


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any], ignored: Collection[str] = ()) -> list[str]:
    """In what two runs differ, for people: "views was 1x1, is 5x3". What only one of them names is None for the other.

    Args:
        earlier: from `describe_run`.
        now: the other one.
        ignored: keys that do not count, besides the name of the model and the number of inputs.
    """
    keys = [key for key in {**earlier, **now} if key not in (*_NOT_COMPARED, *ignored)]
    found = []
    for key in keys:
        was, is_now = earlier.get(key), now.get(key)
        if was == is_now:
            continue
        if key == "weights":
            was, is_now = (f"{run.get('model')} ({run.get('weights')})" for run in (earlier, now))
        name = "model" if key == "weights" else key
        found.append(f"{name} was {_shown(was)}, is {_shown(is_now)}")
    return found


def _shown(value: object) -> str:
    return "the default" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class OutputLock:
    """Keeps two runs from writing to one output: a hidden file beside it, locked while the run lives.

    A record lock of POSIX and not flock, because it belongs to the process and not to the open file: worker processes
    that are forked meanwhile do not hold it, so it ends with this process however that ends. The file of a killed run
    stays behind, unlocked, and the next run takes it over. (Nothing else in the process may open the file: closing it
    there would let go of the lock.)

    Args:
        output: what is written to; its folder is there.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        target = output.resolve()
        self._path = target.with_name(f".{target.name}.lock")
        self._descriptor: int | None = None
        self.warning = ""  # why there is no lock: a file system that has none

    def __enter__(self) -> OutputLock:
        """Take the lock.

        Raises:
            MachineError: another run has it.
        """
        try:
            while self._descriptor is None:
                self._descriptor = self._try()
        except OSError as error:
            self.warning = f"{str(self._output)!r} cannot be locked ({error.strerror}); start no second run on it"
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()  # before the lock goes: who opened it meanwhile sees that it is no longer the one
            os.close(self._descriptor)

    def _try(self) -> int | None:
        """The locked file; None where a run that ended meanwhile removed it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_the_one(descriptor):
                os.ftruncate(descriptor, 0)
                with contextlib.suppress(OSError):  # a full disk: then nobody learns who we are
                    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
                kept, descriptor = descriptor, -1
                return kept
            return None
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            who = f"process {holder}" if holder else "another run"
            raise MachineError(
                f"{who} is writing to {str(self._output)!r}", "Wait until it is done, or write elsewhere with -o."
            ) from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _is_the_one(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False
