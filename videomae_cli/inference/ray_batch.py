"""Many files, shared among the actors of a Ray cluster: another source of the records that `batch.py` gives.

A process of its own talks to Ray (`ray_driver.py`); what Ray does to it does not touch this one. What becomes of an
actor that dies (the system or a node took it) is up to Ray.
"""

from __future__ import annotations

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
_PATIENCE_SECONDS = 5.0  # for Ray, when all is over


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
    with closing(_Driver(job, paths)) as driver:
        while (found := driver.take(halt)) is not None:
            if isinstance(found, VideoMAEError):
                raise found
            if not isinstance(found, str):
                yield found
            elif found not in noted:
                noted.add(found)
                note(found)


class _Driver:
    """The process that talks to Ray. A session of its own keeps the signals of the terminal from it.

    Args:
        job: see `classify_on_ray`.
        paths: of the files.
    """

    def __init__(self, job: Job, paths: Sequence[str]) -> None:
        self._channel, theirs = Pipe()
        line, environment = command("videomae_cli.inference.ray_driver", str(theirs.fileno()))
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        with theirs:
            self._process = subprocess.Popen(
                line,
                env={"RAY_USAGE_STATS_ENABLED": "0"} | environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,
            )
        with suppress(ConnectionError):  # what became of it `take` finds out
            self._channel.send((job, paths))

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
                return self._receive()
            if is_halted:
                return None

    def _receive(self) -> Record | VideoMAEError | str | None:
        try:
            found: Record | VideoMAEError | str | None = pickle.loads(self._channel.recv_bytes())
            return found
        except (EOFError, OSError):
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
            self._process.kill()
            self._process.wait()
            self._said.close()
