"""Many files, shared among the actors of a Ray cluster: another source of the records that `batch.py` gives.

Ray Data hands the paths out in small groups. Each actor loads the checkpoint once, from files that it looks for itself
(nodes may not share a disk), and does with each group what the command does without Ray, decode processes included: a
decoder that crashes or hangs costs one record. What becomes of an actor that dies itself (the system or a
node took it) is up to Ray. Everything travels as a pickle of ours, because names that are not UTF-8 fit
into no column of text, and what the caller wants is records.

No torch is loaded here by the process that asks for the records.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ray
import ray.data

from ..errors import MachineError, VideoMAEError
from .records import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from .look import Look
    from .records import Record

_FILES_AT_ONCE = 64  # at most, in the group that an actor takes; their records come back together
_GROUPS_EACH = 4  # at least, for each actor, so that none is without work while another has much
_CORES_EACH = 2  # of an actor without an accelerator
_STORE_BYTES = 128 * 2**20  # of a Ray of our own: it holds paths and records
_WAIT_SECONDS = 0.1  # between looks at whether to stop
_PATIENCE_SECONDS = 5.0  # for Ray, when all is over


@dataclass(frozen=True)
class Job:
    """What each actor is to do.

    Attributes:
        look: how each video is looked at.
        model: arguments of `VideoClassifier.from_pretrained`.
        folder: that relative paths are relative to, on every node.
    """

    look: Look
    model: Mapping[str, Any]
    folder: str


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
    with closing(_Session(job, paths)) as session:
        while (found := session.take(halt)) is not None:
            if isinstance(found, VideoMAEError):
                raise found
            if not isinstance(found, str):
                yield found
            elif found not in noted:
                noted.add(found)
                note(found)


class _Session:
    """Ray, as long as it is needed; a thread of it waits for Ray, so that the process can heed signals meanwhile.

    Ray must be started by this thread: in the main thread it would put a handler of its own in place of SIGTERM's. And
    the thread has to outlive it: the kernel kills the processes of a Ray of our own when the thread is gone.

    Args:
        job: see `classify_on_ray`.
        paths: of the files.
    """

    def __init__(self, job: Job, paths: Sequence[str]) -> None:
        self._job, self._paths = job, paths
        self._found: queue.SimpleQueue[bytes | VideoMAEError | None] = queue.SimpleQueue()
        self._has_begun, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="ray", daemon=True)
        self._thread.start()

    def take(self, halt: Callable[[], str]) -> Record | VideoMAEError | str | None:
        """What an actor says next; None at the end.

        Args:
            halt: see `classify_on_ray`.
        """
        while True:
            if self._has_begun.is_set():
                self._has_begun.clear()
                for number in (signal.SIGINT, signal.SIGTERM):  # Ray's C++ has put a handler before Python's
                    signal.signal(number, signal.getsignal(number))
            is_halted = bool(halt())
            try:
                found = self._found.get(timeout=0 if is_halted else _WAIT_SECONDS)
            except queue.Empty:
                if is_halted:
                    return None
                continue
            if isinstance(found, bytes):
                told: Record | VideoMAEError | str = pickle.loads(found)
                return told
            return found

    def close(self) -> None:
        """End a Ray of our own, or let go of the cluster."""
        logging.disable(logging.CRITICAL)  # what its threads say of a connection that is gone is no news
        try:
            ray.shutdown()
            self._is_over.set()
            self._thread.join(_PATIENCE_SECONDS)
        finally:
            logging.disable(logging.NOTSET)

    def _run(self) -> None:
        try:
            _start_ray()
            self._has_begun.set()
            for row in _share_out(self._job, self._paths).iter_rows():
                self._found.put(row["found"])
                if self._is_over.is_set():
                    break
            self._found.put(None)
        except VideoMAEError as error:
            self._found.put(error)
        except Exception as error:
            told = MachineError(f"Ray gave up: {_first_line(error)}", "--debug shows what it says; `ray status` too.")
            told.__cause__ = error
            self._found.put(told)
        self._is_over.wait()


def _start_ray() -> None:
    """Connect with the cluster that the environment names, or start a Ray of this machine.

    Raises:
        MachineError: neither can be done.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    own = {} if address else {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except Exception as error:
        what = f"cannot reach Ray at {address!r}" if address else "cannot start Ray on this machine"
        hint = (
            "Check RAY_ADDRESS, or unset it to use this machine."
            if address
            else "The machine may be too busy: try again, or do without --ray."
        )
        raise MachineError(f"{what}: {_first_line(error)}", hint) from error


def _share_out(job: Job, paths: Sequence[str]) -> ray.data.Dataset:
    """The data set of what the actors will say."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    num_actors, resources = _crew(on_cpu=job.model["device"] == "cpu")
    num_at_once = min(_FILES_AT_ONCE, math.ceil(len(paths) / (_GROUPS_EACH * num_actors)))
    num_groups = math.ceil(len(paths) / num_at_once)
    num_actors = min(num_actors, num_groups)
    if "num_gpus" not in resources:
        job = replace(job, look=replace(job.look, num_workers=job.look.num_workers or resources["num_cpus"]))
    named = ray.data.from_items([{"path": os.fsencode(path)} for path in paths], override_num_blocks=num_groups)
    return named.map_batches(
        _Actor,
        fn_constructor_args=(job,),
        batch_size=None,  # a group
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=num_actors, initial_size=num_actors),
        **resources,
    )


def _crew(*, on_cpu: bool) -> tuple[int, dict[str, int]]:
    """How many actors there are to be, and what each of them takes: an accelerator where Ray has any, else cores."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    num_gpus = 0 if on_cpu else sum(int(node.get("GPU", 0)) for node in nodes)
    if num_gpus:
        return num_gpus, {"num_gpus": 1, "num_cpus": 1}
    cores = [int(node.get("CPU", 0)) for node in nodes]
    each = _CORES_EACH if max(cores, default=0) >= _CORES_EACH else 1
    return max(1, sum(count // each for count in cores)), {"num_cpus": each}


class _Actor:
    """A checkpoint in a process of Ray.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self._look = replace(job.look, ordered=False)
        self._sayings: list[Record | VideoMAEError | str] = []  # that no group has brought back yet
        self._classifier = self._processes = None
        try:
            _enter(job.folder)
            from .classifier import VideoClassifier

            if sys.platform == "linux":
                from .decode_helper import NewDecodeProcesses

                self._processes = NewDecodeProcesses()  # they end with this process
            self._classifier = VideoClassifier.from_pretrained(**job.model)
            self._sayings += [f"warning: {warning}" for warning in self._classifier.warnings]
        except VideoMAEError as error:
            self._sayings.append(error)

    def __call__(self, group: dict[str, Any]) -> dict[str, list[bytes]]:
        """A row for each path of the group; more where there is something else to say.

        Args:
            group: "path": (files,) bytes.
        """
        if self._classifier:
            self._classify([os.fsdecode(path) for path in group["path"]])
        rows = [pickle.dumps(saying) for saying in self._sayings]
        self._sayings = [] if self._classifier else self._sayings
        return {"found": rows}

    def _classify(self, paths: list[str]) -> None:
        from .batch import classify_files
        from .decode_worker import portable
        from .prepare import blame

        assert self._classifier
        left = set(paths)
        try:
            for record in classify_files(self._classifier, paths, self._look, processes=self._processes):
                left.remove(record.path)
                self._sayings.append(portable(record) if isinstance(record, Failure) else record)
        except VideoMAEError as error:
            self._sayings.append(error)
        except MemoryError:
            self._sayings.append(MachineError(f"out of memory on {socket.gethostname()}", "Use a smaller model."))
        except Exception as error:  # a bug of ours that is no single file's
            self._sayings += [portable(blame(path, error)) for path in paths if path in left]


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise MachineError(
            f"{socket.gethostname()} cannot enter the folder {folder!r}: {error.strerror}",
            "Run --ray where all nodes of the cluster have the folder and the videos.",
        ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
