"""Videos decoded ahead of the forward pass: what the loop in `batch.py` asks for, and threads that do it.

Threads are for a process that has to do with threads and accelerators already, such as one that trains. A command
decodes in processes (`decode_ahead.py`), which can be killed when a decoder hangs.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple, Protocol

from ..errors import MachineError
from .decode_worker import Prepare, prepare_or_blame
from .prepare import PreparedVideo
from .records import Failure

_MAX_WORKERS = 16


def usable_cores() -> int:
    """How many cores this process may use, as far as decoding gains from more."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MAX_WORKERS)


class Arrival(NamedTuple):
    """One input that is done with decoding.

    Attributes:
        place: among the inputs, from 0.
        found: the video, or why there is none.
    """

    place: int
    found: PreparedVideo | Failure


class Decoder(Protocol):
    """Decodes inputs ahead, a bounded number of them."""

    def take(self, wait_seconds: float) -> Arrival | None:
        """The next input that is ready; None where there is none in time, or none will come.

        Args:
            wait_seconds: how long to wait for one.

        Raises:
            MachineError: out of memory and the like.
        """

    def drain(self) -> None:
        """Begin with no other input."""

    def is_done(self) -> bool:
        """Whether all arrivals have been taken that will ever come."""

    def close(self) -> None:
        """Drop what is under way, and end."""


class DecodeThreads:
    """Decodes in threads; arrivals come in the order of the inputs.

    Args:
        prepare: a path -> a prepared video; called from several threads.
        items: files, and failures that are known already and passed on.
        num_workers: videos decoded at once; as many wait at most.
    """

    def __init__(self, prepare: Prepare, items: Sequence[str | Failure], *, num_workers: int) -> None:
        self._prepare = prepare
        self._left = deque(enumerate(items))
        self._num_workers = num_workers
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="decode")
        self._ahead: deque[tuple[int, Future[PreparedVideo | Failure]]] = deque()
        self._begin()

    def take(self, wait_seconds: float) -> Arrival | None:
        """See `Decoder`.

        Args:
            wait_seconds: see `Decoder`.
        """
        if not self._ahead:
            return None
        index, future = self._ahead[0]
        wait([future], wait_seconds)
        if not future.done():
            return None
        self._ahead.popleft()
        self._begin()
        return Arrival(index, future.result())

    def drain(self) -> None:
        """See `Decoder`."""
        self._left.clear()

    def is_done(self) -> bool:
        """See `Decoder`."""
        return not self._ahead

    def close(self) -> None:
        """See `Decoder`; waits for the videos that are being decoded."""
        self._pool.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        while self._left and len(self._ahead) <= self._num_workers:
            index, item = self._left.popleft()
            self._ahead.append((index, self._pool.submit(self._do, item)))

    def _do(self, item: str | Failure) -> PreparedVideo | Failure:
        if isinstance(item, Failure):
            return item
        found = prepare_or_blame(self._prepare, item)
        if isinstance(found, MachineError | MemoryError):
            raise found
        return found
