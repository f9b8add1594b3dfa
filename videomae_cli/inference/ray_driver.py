"""The program that talks to Ray: it takes a job and paths, shares them out by Ray Data, and hands on what actors say.

It is a process of its own because Ray ends the process that it runs in as it sees fit (when it cannot shut down in
time, for one, with exit code 1 and no word), and because it takes the signals for itself. `ray_batch.py` starts it.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import select
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import IO, TYPE_CHECKING, NoReturn

import ray
import ray.data

from ..errors import MachineError
from .ray_actor import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ray_actor import Job

_FILES_AT_ONCE = 64  # at most, in the group that an actor takes; their records come back together
_GROUPS_EACH = 4  # at least, for each actor, so that none is without work while another has much
_CORES_EACH = 2  # of an actor without an accelerator
_STORE_BYTES = 128 * 2**20  # of a Ray of our own: it holds paths and records


def drive(work: IO[bytes], channel: Connection) -> None:
    """Do one job.

    Args:
        work: holds the pickle of a job and its paths, which `ray_batch.py` wrote.
        channel: takes pickles: of what actors say, of a MachineError, of None at the end. Where its other end is
            closed, all is over.
    """
    job, paths = pickle.load(work)
    # The kernel kills a Ray of our own when the thread that started it is gone: this one, at the very end.
    listener = threading.Thread(target=_end_when_unwanted, args=(channel,))
    listener.start()
    try:
        _send(channel, pickle.dumps(_pass_on(job, paths, channel)))
        listener.join()
    finally:  # also where Ray's handler of SIGTERM raised SystemExit: the listener must not be waited for
        _kill_group()


def _pass_on(job: Job, paths: Sequence[str], channel: Connection) -> MachineError | None:
    """Hand on what the actors say; returns what went wrong with Ray."""
    try:
        _start_ray()
        for row in _share_out(job, paths).iter_rows():
            _send(channel, row["found"])
    except MachineError as error:
        return error
    except Exception as error:
        return _told(error, "Ray gave up", "--debug shows what it says; `ray status` too.")
    return None


def _end_when_unwanted(channel: Connection) -> None:
    """Wait until the other end is closed, or its process is gone; then end Ray, and this process."""
    try:
        poll = select.poll()
        poll.register(channel.fileno(), 0)  # nothing but the end is waited for
        poll.poll()
    finally:
        try:
            ray.shutdown()
        finally:
            _kill_group()


def _kill_group() -> NoReturn:
    """End this process and all of Ray that it has started: some of its agents would stay for a minute."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError("this process is of the group")


def _send(channel: Connection, message: bytes) -> None:
    """Send, unless nobody is interested any more: then the listener ends all."""
    with suppress(ConnectionError):
        channel.send_bytes(message)


def _start_ray() -> None:
    """Connect with the cluster that the environment names, or start a Ray of this machine.

    Raises:
        MachineError: neither can be done.
    """
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
        raise _told(error, what, hint) from error


def _share_out(job: Job, paths: Sequence[str]) -> ray.data.Dataset:
    """The data set of what the actors will say."""
    ray.data.DataContext.get_current().enable_progress_bars = False
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
        Actor,
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


def _told(error: Exception, what: str, hint: str) -> MachineError:
    """The user's error for one of Ray's. The traceback goes with it as a note: a cause would not survive the pickle."""
    first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    told = MachineError(f"{what}: {first_line}", hint)
    told.add_note(traceback.format_exc())
    return told


if __name__ == "__main__":
    drive(sys.stdin.buffer, Connection(int(sys.argv[1]), readable=False))
