"""Batches for training, in an order that is a function of the seed, decoded by worker processes or in this one.

Worker processes are forked from a server that knows nothing of this process: its threads, locks and GPU do not fork.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, count
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ..errors import MachineError, UsageError
from .camera_motion import FilmedClips
from .dataset import ClipBatch, Draw, TrainingClips, random_at

_PREFETCH = 2  # batches under way in each worker
_MAX_AUTO_WORKERS = 16
_MAX_WAIT_SECONDS = 5
_SHARED_MEMORY = "/dev/shm"
Clips = TrainingClips | FilmedClips

_SIGNALS_TO_THE_GROUP = (signal.SIGINT, signal.SIGTERM)


# ---- the order -------------------------------------------------------------------------------------------------------


def epoch_order(num_samples: int, epoch: int, seed: int) -> list[int]:
    """The videos of one epoch, shuffled.

    Args:
        num_samples: how many there are.
        epoch: from 0.
        seed: of the run.
    """
    order: list[int] = random_at(seed, epoch).permutation(num_samples).tolist()
    return order


def steps_per_epoch(num_samples: int, *, batch_size: int, micro_batch: int = 1, world_size: int = 1) -> int:
    """Steps that an epoch has; the videos left over wait for the next, which is shuffled anew.

    Args:
        num_samples: videos.
        batch_size: videos in a step, over all processes.
        micro_batch: videos in one forward pass of one process.
        world_size: processes.

    Raises:
        UsageError: there are fewer videos than a step takes, or a step does not divide into micro-batches.
    """
    part = micro_batch * world_size
    if batch_size % part:
        raise UsageError(
            f"the {batch_size} videos of a step do not divide into {micro_batch} at a time for {world_size} processes",
            f"Use --set optim.batch_size={-(-batch_size // part) * part}, or another optim.micro_batch.",
        )
    if num_samples < batch_size:
        largest = num_samples // part * part
        setting = f"optim.batch_size={largest}"
        if not largest:
            fewer = max(1, num_samples // world_size)
            setting = f"optim.micro_batch={fewer} --set optim.batch_size={fewer * world_size}"
        raise UsageError(
            f"there are {num_samples} videos for training, fewer than the {batch_size} of one step",
            f"Use --set {setting}, or more videos.",
        )
    return num_samples // batch_size


def micro_batches(
    num_samples: int,
    *,
    batch_size: int,
    micro_batch: int,
    seed: int,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[list[Draw]]:
    """The micro-batches of one process, without end.

    Step s takes the next `batch_size` places of its epoch's order; of the micro-batches that they are cut into, process
    r takes numbers r, r + W, r + 2W, ... So the videos of a step are the same for any number of processes.

    Args:
        num_samples: videos.
        batch_size: videos in a step, over all processes.
        micro_batch: videos in one forward pass of one process.
        seed: of the run.
        start_step: the step to begin with, from 0.
        rank: this process.
        world_size: processes.

    Raises:
        UsageError: as `steps_per_epoch`.
    """
    num_steps = steps_per_epoch(num_samples, batch_size=batch_size, micro_batch=micro_batch, world_size=world_size)

    def draws() -> Iterator[list[Draw]]:
        first_epoch, skipped = divmod(start_step, num_steps)
        for epoch in count(first_epoch):
            order = [Draw(epoch, index) for index in epoch_order(num_samples, epoch, seed)]
            for step in range(skipped if epoch == first_epoch else 0, num_steps):
                for start in range(rank * micro_batch, batch_size, world_size * micro_batch):
                    place = step * batch_size + start
                    yield order[place : place + micro_batch]

    return draws()


# ---- the processes ---------------------------------------------------------------------------------------------------


def training_loader(
    clips: Clips,
    batches: Iterator[list[Draw]],
    num_workers: int | Literal["auto"],
    note: Callable[[str], None],
    *,
    pin_memory: bool = False,
) -> Iterator[ClipBatch]:
    """Read batches ahead; their order and contents are the same for any number of workers.

    Args:
        clips: the videos.
        batches: what is drawn, batch by batch; may be endless, at least one.
        num_workers: processes that read; 0 reads in this one when asked for a batch. "auto" is one for each core that
            training leaves, at most 16.
        note: told when fewer are used, because shared memory is short or processes cannot be started.
        pin_memory: where a GPU copies from.

    Yields:
        A batch for each of `batches`. Closing the iterator (`.close()`) or dropping it ends the workers.

    Raises:
        MachineError: a worker was killed, or memory ran out.
    """
    first = next(batches)
    wanted = _free_cores() if num_workers == "auto" else num_workers
    used = workers_that_fit(wanted, len(first) * clips.num_bytes_per_video, _free_shared_bytes())
    if used < wanted:
        note(f"{_SHARED_MEMORY} is too small for {wanted} workers to read videos; {used} are used")
    return _read(clips, chain([first], batches), used, note, pin_memory)


def workers_that_fit(num_workers: int, batch_bytes: int, free_bytes: int) -> int:
    """How many workers shared memory has room for: each has two batches under way, and one is in use.

    Args:
        num_workers: as many as are wanted.
        batch_bytes: of the frames of one batch.
        free_bytes: of shared memory.
    """
    return max(0, min(num_workers, (free_bytes // batch_bytes - 1) // _PREFETCH))


def _free_cores() -> int:
    """Cores of this process that training leaves, shared with the other processes of torchrun on this machine."""
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(num_cores // num_processes - 1, _MAX_AUTO_WORKERS))


def _free_shared_bytes() -> int:
    """Without such a place, as on macOS, torch passes tensors on by files of another kind: there is no limit here."""
    try:
        state = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return 2**63
    return state.f_bavail * state.f_frsize


def _read(
    clips: Clips, batches: Iterable[list[Draw]], num_workers: int, note: Callable[[str], None], pin_memory: bool
) -> Iterator[ClipBatch]:
    try:
        iterator, workers = _start(clips, batches, num_workers, pin_memory)
    except (OSError, EOFError) as error:  # no more processes or file handles are to be had
        note(f"no worker processes can be started ({error}); videos are read by this one")
        iterator, workers = _start(clips, batches, 0, pin_memory)
    end = partial(_end, iterator, workers)
    atexit.register(end)  # before Python's own hook, which would wait for workers that ignore SIGTERM
    try:
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except MemoryError as error:
                raise MachineError("out of memory while reading videos", "Use a smaller data.num_workers.") from error
            except (RuntimeError, OSError, EOFError) as error:
                if not _has_one_ended(workers, error):
                    raise
                hint = f"Memory or {_SHARED_MEMORY} may be full: use a smaller data.num_workers; 0 starts no process."
                raise MachineError("a process that reads videos was killed", hint) from error
            yield batch
    finally:
        atexit.unregister(end)
        end()


def _start(
    clips: Clips, batches: Iterable[list[Draw]], num_workers: int, pin_memory: bool
) -> tuple[Iterator[ClipBatch], list[BaseProcess]]:
    others = set(multiprocessing.active_children())
    options: dict[str, Any] = {}
    if num_workers:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["videomae_cli.data.dataset"])  # torch is imported once, not by each worker
        resource_tracker.ensure_running()  # the server would start it, and that lets signals through again
        with _held_back(_SIGNALS_TO_THE_GROUP):
            forkserver.ensure_running()
        options = {
            "multiprocessing_context": context,
            "prefetch_factor": _PREFETCH,
            "worker_init_fn": partial(_begin_worker, os.getcwd()),
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of more workers than cores: as was asked for
        loader = DataLoader(
            clips,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=ClipBatch.join,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # else it draws from the global one, which is the training's
            **options,
        )
        iterator = iter(loader)
    return iterator, [process for process in multiprocessing.active_children() if process not in others]


@contextmanager
def _held_back(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """They come when this ends. What is started meanwhile inherits that, and never gets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(folder: str, _: int) -> None:
    """In a new worker, to which torch has given one thread.

    Ctrl-C and the SIGTERM of a scheduler reach every process at once. The training has to finish its step, so its
    workers go on. They end with it, however it ends: the server that they were forked from lives as long as they do,
    so nothing but the pipe from the training tells.
    """
    for number in _SIGNALS_TO_THE_GROUP:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(folder)  # relative paths are meant from where the training is
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _end(iterator: Iterator[ClipBatch], workers: Sequence[BaseProcess]) -> None:
    """Ends the workers now: waiting for the iterator to be collected could take until the interpreter ends."""
    if isinstance(iterator, _MultiProcessingDataLoaderIter):
        iterator._shutdown_workers()
    for worker in workers:
        worker.kill()  # where a video holds it up
        worker.join()


def _has_one_ended(workers: Sequence[BaseProcess], error: Exception) -> bool:
    """Whether an error is that of a worker's end, rather than one that was raised in it."""
    if workers and not isinstance(error, RuntimeError):  # a connection broke; why, is known a moment later
        connection.wait([worker.sentinel for worker in workers], timeout=_MAX_WAIT_SECONDS)
    return not all(worker.is_alive() for worker in workers)
