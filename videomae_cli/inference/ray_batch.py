"""Many files, shared among the actors of a Ray cluster: another source of the records that `batch.py` gives.

A process of its own talks to Ray (`ray_driver.py`); what Ray does to it does not touch this one. What becomes of an
actor that dies (the system or a node took it) is up to Ray.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import tempfile
from contextlib import closing, suppress
from multiprocessing import Pipe
from typing import TYPE_CHECKING

from ..errors import MachineError, VideoMAEError
from .program import command
from .records import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .ray_actor import Job
    from .records import Record

_WAIT_SECONDS = 0.1  # between looks at whether to stop
_PATIENCE_SECONDS = 3.0  # for Ray, when all is over


def classify_on_ray(
    job: Job,
    items: Sequence[str | Failure],
    *,
    note: Callable[[str], None],
    halt: Callable[[], str],
) -> Generator[Record, None, None]:
    """One record for each item, in any order.

    Uses the cluster at RAY_ADDRESS where that is set, else a Ray of this machine that ends with the generator.

    Args:
        job: what to do.
        items: files, and failures that are known already and passed on.
        note: is told, once, what the user should know of the checkpoint.
        halt: asked again and again; anything but "" leaves the files that are begun. What is known by then is told.

    Yields:
        A prediction or a failure for each item.

    Raises:
        ModelError: an actor cannot find or load the checkpoint.
        MachineError: Ray cannot be started or reached, or gave up; or what `classify_files` raises.
    """
    yield from (item for item in items if isinstance(item, Failure))
    paths = [item for item in items if not isinstance(item, Failure)]
    if not paths:
        return
    noted: set[str] = set()
    num_left = len(paths)
    with closing(_start_driver(job, paths)) as driver:
        while (found := driver.take(halt)) is not None:
            if isinstance(found, VideoMAEError):
                raise found
            if not isinstance(found, str):
                num_left -= 1
                yield found
            elif found not in noted:
                noted.add(found)
                note(found)
    if num_left and not halt():
        raise MachineError(
            f"Ray lost {num_left} of {len(paths)} records", "Begin the run again; --resume keeps the rest."
        )


def _start_driver(job: Job, paths: Sequence[str]) -> _Driver:
    try:
        return _Driver(job, paths)
    except OSError as error:
        raise MachineError(f"cannot start a process: {error.strerror}", "Close other programs.") from error


class _Driver:
    """The process that talks to Ray. A session of its own keeps the signals of the terminal from it.

    Args:
        job: see `classify_on_ray`.
        paths: of the files.
    """

    def __init__(self, job: Job, paths: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        self._channel, theirs = Pipe(duplex=False)
        line, environment = command("videomae_cli.inference.ray_driver", str(theirs.fileno()))
        with theirs, tempfile.TemporaryFile() as work:  # a pipe of ours would make us wait until Ray is imported
            pickle.dump((job, paths), work)
            work.seek(0)
            self._process = subprocess.Popen(
                line,
                env={"RAY_USAGE_STATS_ENABLED": "0"} | environment,
                pass_fds=[theirs.fileno()],
                stdin=work,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,
            )

    def take(self, halt: Callable[[], str]) -> Record | VideoMAEError | str | None:
        """What an actor says next; None at the end.

        Args:
            halt: see `classify_on_ray`.

        Raises:
            MachineError: Ray cannot be started or reached, or gave up.
        """
        while True:
            is_halted = bool(halt())
            if self._channel.poll(0 if is_halted else _WAIT_SECONDS):
                return self._receive(halt)
            if is_halted:
                return None

    def _receive(self, halt: Callable[[], str]) -> Record | VideoMAEError | str | None:
        try:
            found: Record | VideoMAEError | str | None = pickle.loads(self._channel.recv_bytes())
            return found
        except (EOFError, OSError):
            if halt():  # whoever signalled us may have signalled the driver too
                return None
            code = self._process.wait()
            error = MachineError(
                f"Ray ended by itself, with {f'exit code {code}' if code >= 0 else signal.Signals(-code).name}",
                "The machine may be too busy: try again. --debug shows what it said.",
            )
            self._said.seek(0)
            error.add_note(self._said.read().decode(errors="replace"))
            raise error from None

    def close(self) -> None:
        """Let Ray end."""
        self._channel.close()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._said.close()
