"""Decodes in processes, ahead of the forward pass: one thread hands out files, watches the clock and takes pixels in.

A file whose decoder crashes or hangs costs one record and one process.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import MachineError
from .decode import Arrival, usable_cores
from .decode_processes import DecodeProcesses
from .decode_worker import Incoming, Message, Prepare, answer_of, send
from .prepare import PreparedVideo
from .records import Failure

BUDGET_BYTES = 32 * 2**20
"""Pixels that may wait for the forward pass; a single video may be larger."""
_FILES_AHEAD = 256  # how far behind the others one file may stay: the records after it are held back meanwhile
_FILES_EACH = 2  # one that a worker decodes, and one that waits, so that it never does
_TICK_SECONDS = 0.25


@dataclass(eq=False)
class _Worker:
    """A process and what it has to do; it is busy with the first."""

    pid: int
    channel: socket.socket
    files: deque[tuple[int, str]] = field(default_factory=deque)
    began_seconds: float = 0.0
    incoming: Incoming = field(default_factory=Incoming)


class DecodeAhead:
    """A `Decoder` by processes; arrivals come as they are ready.

    Args:
        processes: that start the workers.
        prepare: a path -> a prepared video; it is pickled.
        items: files, and failures that are known already and passed on.
        num_workers: at most so many processes; None is one for each core.
        timeout_seconds: for each file, from the moment when a worker begins with it.
        budget_bytes: pixels that may wait to be taken.
    """

    def __init__(
        self,
        processes: DecodeProcesses,
        prepare: Prepare,
        items: Sequence[str | Failure],
        *,
        num_workers: int | None,
        timeout_seconds: float,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        self._processes, self._prepare = processes, prepare
        self._num_workers = num_workers or usable_cores()
        self._timeout_seconds, self._budget_bytes = timeout_seconds, budget_bytes
        self._left: deque[tuple[int, str | Failure]] = deque(enumerate(items))  # ascending, as all below
        self._workers: list[_Worker] = []
        self._largest_bytes = 0  # of the videos so far: what is expected of those under way
        self._condition = threading.Condition()  # guards what follows, which both threads change
        self._arrived: deque[Arrival] = deque()
        self._waiting_bytes = 0
        self._error: BaseException | None = None
        self._draining = self._closing = self._ended = False
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        self._ringer.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._thread.start()

    # ---- the forward pass's side -------------------------------------------------------------------------------------

    def take(self, wait_seconds: float) -> Arrival | None:
        """See `Decoder`.

        Args:
            wait_seconds: see `Decoder`.

        Raises:
            MachineError: out of memory, or no process can be started.
        """
        with self._condition:
            if not self._arrived and not self._ended:
                self._condition.wait(wait_seconds)
            if not self._arrived:
                if self._error:
                    raise self._error
                return None
            arrival = self._arrived.popleft()
            self._waiting_bytes -= _num_bytes(arrival.found)
        self._ring()
        return arrival

    def drain(self) -> None:
        """See `Decoder`."""
        self._draining = True
        self._ring()

    def is_done(self) -> bool:
        """See `Decoder`."""
        with self._condition:
            return self._ended and not self._arrived and self._error is None

    def close(self) -> None:
        """See `Decoder`; a decoder that hangs does not hold it up."""
        self._closing = True
        self._ring()
        self._thread.join()
        self._ringer.close()

    def _ring(self) -> None:
        """Make the thread look around."""
        with contextlib.suppress(OSError):  # it rings already, or the thread is gone
            self._ringer.send(b"!")

    # ---- the thread's side -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            self._error = error
        finally:
            for worker in self._workers:
                worker.channel.close()
                with contextlib.suppress(Exception):
                    self._processes.end(worker.pid)
            self._selector.close()
            self._bell.close()
            with self._condition:
                self._ended = True
                self._condition.notify_all()

    def _loop(self) -> None:
        while not self._closing:
            if self._draining:
                self._left.clear()
            self._hand_out()
            if not self._left and not any(worker.files for worker in self._workers):
                return
            before = time.monotonic()
            ready = self._selector.select(_TICK_SECONDS)
            now = time.monotonic()
            lost_seconds = now - before - 2 * _TICK_SECONDS
            if lost_seconds > 0:  # we were stopped (Ctrl-Z), and the workers with us
                for worker in self._workers:
                    worker.began_seconds += lost_seconds
            for key, _ in ready:
                if key.data is None:
                    self._bell.recv(4096)
                elif key.data in self._workers:
                    self._hear(key.data)
            for worker in [w for w in self._workers if w.files and now - w.began_seconds > self._timeout_seconds]:
                self._bury(worker, is_overdue=True)

    def _hand_out(self) -> None:
        """Give files to workers, as far as the budget goes."""
        while self._left:
            under_way = [worker.files for worker in self._workers if worker.files]
            index, item = self._left[0]
            oldest = min((files[0][0] for files in under_way), default=index)
            if index - oldest >= _FILES_AHEAD or not self._has_room(sum(map(len, under_way))):
                return
            if isinstance(item, Failure):
                self._left.popleft()
                self._deliver(index, item)
                continue
            worker = self._least_busy()
            if worker is None:
                return
            self._left.popleft()
            if not worker.files:
                worker.began_seconds = time.monotonic()
            worker.files.append((index, item))
            with contextlib.suppress(OSError):  # it is dead: heard of when its socket is read
                send(worker.channel, item)

    def _has_room(self, num_under_way: int) -> bool:
        """Whether another video may be decoded; a single one may always."""
        with self._condition:
            waiting_bytes = self._waiting_bytes
        if not waiting_bytes and not num_under_way:
            return True
        return waiting_bytes + (num_under_way + 1) * self._largest_bytes <= self._budget_bytes

    def _least_busy(self) -> _Worker | None:
        """A worker that takes another file; a new one where all have something to do."""
        worker = min(self._workers, key=lambda one: len(one.files), default=None)
        if len(self._workers) < self._num_workers and (worker is None or worker.files):
            try:
                return self._start()
            except MachineError:
                if worker is None:
                    raise
                self._num_workers = len(self._workers)  # go on with those that there are
        return worker if worker and len(worker.files) < _FILES_EACH else None

    def _start(self) -> _Worker:
        worker = _Worker(*self._processes.start())
        send(worker.channel, self._prepare)
        worker.channel.setblocking(False)
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker) -> None:
        """Take in what a worker sends."""
        try:
            while (message := worker.incoming.read(worker.channel)) is not None:
                self._take_in(worker, message)
        except EOFError:
            self._bury(worker, is_overdue=False)

    def _take_in(self, worker: _Worker, message: Message) -> None:
        answer = answer_of(message)
        worker.incoming = Incoming()
        worker.began_seconds = time.monotonic()
        index, _ = worker.files.popleft()
        if isinstance(answer, MachineError):
            raise answer
        self._deliver(index, answer)

    def _deliver(self, index: int, found: PreparedVideo | Failure) -> None:
        with self._condition:
            self._arrived.append(Arrival(index, found))
            self._waiting_bytes += _num_bytes(found)
            self._largest_bytes = max(self._largest_bytes, _num_bytes(found))
            self._condition.notify_all()

    def _bury(self, worker: _Worker, *, is_overdue: bool) -> None:
        """A worker that crashed or has to be killed: blame its file, and let another do the next one."""
        self._workers.remove(worker)
        self._selector.unregister(worker.channel)
        worker.channel.close()
        ended = self._processes.end(worker.pid)
        if not worker.files:
            return
        index, path = worker.files.popleft()
        self._left.extendleft(reversed(worker.files))
        self._deliver(index, self._timeout(path) if is_overdue else crashed(path, ended))

    def _timeout(self, path: str) -> Failure:
        what = f"{path!r}: decoding took longer than {self._timeout_seconds:g} s and was stopped"
        return Failure(path, "timeout", what, "Give it more time with --decode-timeout, or leave the file out.")


def crashed(path: str, ended: str) -> Failure:
    """The record of a file whose decoder crashed.

    Args:
        path: of the file.
        ended: see `DecodeProcesses.end`.
    """
    what = f"{path!r}: the process that decoded it crashed ({ended})"
    hint = "The system may have killed it for want of memory." if ended == "SIGKILL" else "The file may be damaged."
    return Failure(path, "crashed", what, hint)


def _num_bytes(found: PreparedVideo | Failure) -> int:
    return 0 if isinstance(found, Failure) else found.pixels.nbytes
