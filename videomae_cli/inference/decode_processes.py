"""Processes that decode: each can be killed when a decoder hangs, and none outlives the process that wanted them.

A decoder is foreign code that meets hostile files; it may crash or hang, and a thread of ours would with it. The main
process forks one helper while it is still young (torch and av are imported, nothing else has happened), and the helper
forks the workers whenever one is wanted: in 20 ms instead of the seconds of a new interpreter, and without the threads
and locks that the main process has got meanwhile. The helper does nothing but wait on its socket. When that closes,
because the main process is done or was killed, it kills the workers.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import fcntl
import gc
import os
import resource
import signal
import socket
import struct
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

import torch

from ..errors import MachineError

_NUMBER = struct.Struct("i")  # all that is said: 0 asks for a worker, a process id for its end; an id or status back
_STILL_THERE = 256  # no status of waitpid: the process is stuck in the kernel
_PATIENCE_SECONDS = 1.0  # for a process that was killed
_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # a terminal sends them to all of us; the main process acts on them


class DecodeProcesses:
    """The helper process, and the workers that it starts. Use it in a `with` statement.

    Make it before the process has run any of torch's operators.

    Args:
        serve: what a worker does with its socket, until the other end is closed.
    """

    def __init__(self, serve: Callable[[socket.socket], object]) -> None:
        self._serve = serve
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A signal between the fork and the moment when the helper ignores it would be acted on twice.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._pid = self._start_helper(theirs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()

    def _start_helper(self, theirs: socket.socket) -> int:
        with warnings.catch_warnings():  # Python's, of threads: numpy's and torch's know what to do in a fork
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            be_the_helper(theirs, self._serve)
        return pid

    def __enter__(self) -> DecodeProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all of them."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        _wait(self._pid)

    def start(self) -> tuple[int, socket.socket]:
        """Start a worker.

        Returns:
            Its process id, and our end of its socket.

        Raises:
            MachineError: the system has no room for another process, or the helper was killed.
        """
        ours, theirs = socket.socketpair()
        try:
            pid = self._ask(0, theirs)
        except MachineError:
            ours.close()
            raise
        finally:
            theirs.close()
        if pid < 0:
            ours.close()
            what = f"cannot start a process: {os.strerror(-pid)}"
            raise MachineError(what, "Close other programs, or use fewer --workers.")
        return pid, ours

    def end(self, pid: int) -> str:
        """Kill a worker, unless it ended by itself.

        Args:
            pid: from `start`.

        Returns:
            How it ended, such as "SIGSEGV" or "exit code 1".
        """
        try:
            status = self._ask(pid)
        except MachineError:  # the helper is gone, and whoever took its children over says nothing
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            status = _STILL_THERE
        if status == _STILL_THERE:
            return "no end"
        return signal.Signals(-status).name if status < 0 else f"exit code {status}"

    def _ask(self, number: int, theirs: socket.socket | None = None) -> int:
        message = _NUMBER.pack(number)
        try:
            if theirs:
                socket.send_fds(self._socket, [message], [theirs.fileno()])
            else:
                self._socket.send(message)
            answer = self._socket.recv(_NUMBER.size)
        except OSError:
            answer = b""
        if not answer:
            raise MachineError("the process that starts the decoders is gone", "It may have been killed: try again.")
        found: int = _NUMBER.unpack(answer)[0]
        return found


def be_the_helper(channel: socket.socket, serve: Callable[[socket.socket], object]) -> NoReturn:
    """Start and end workers as the main process asks, until it is gone.

    Args:
        channel: our end of the socket.
        serve: see `DecodeProcesses`.
    """
    workers: set[int] = set()
    try:
        channel = _settle_down(channel)
        while True:
            message, descriptors, _, _ = socket.recv_fds(channel, _NUMBER.size, 1)
            if not message:
                break
            (asked,) = _NUMBER.unpack(message)
            if asked:
                channel.send(_NUMBER.pack(_end(asked)))
                workers.discard(asked)
            else:
                answer = _fork_worker(channel, descriptors[0], serve)
                os.close(descriptors[0])
                if answer > 0:
                    workers.add(answer)
                channel.send(_NUMBER.pack(answer))
    finally:
        for pid in workers:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in workers:
            _wait(pid)
        os._exit(0)  # nothing that the main process wants done at its end


def _settle_down(channel: socket.socket) -> socket.socket:
    """Let go of what the main process has: its signals, files, threads and garbage. Returns the socket anew."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    gc.freeze()  # nothing that lies about here is to close a descriptor that has become another's
    faulthandler.disable()  # a crash is told as a record
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    torch.set_num_threads(1)
    high = fcntl.fcntl(channel.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)  # where stdout is closed it may have its number
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in (2, high):
            with contextlib.suppress(OSError):
                os.close(int(name))
    channel.detach()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        try:
            os.fstat(standard)
        except OSError:
            os.dup2(nothing, standard)
    return socket.socket(fileno=high)


def _fork_worker(channel: socket.socket, descriptor: int, serve: Callable[[socket.socket], object]) -> int:
    """The process id of a new worker, or the negative number of the error."""
    try:
        pid = os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)
    if pid:
        return pid
    try:
        channel.close()
        serve(socket.socket(fileno=descriptor))
        os._exit(0)
    finally:
        os._exit(1)


def _end(pid: int) -> int:
    """Kill a child unless it is dead; how it ended: an exit code, or the negative number of a signal."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # a child that is dead stays as it was until it is waited for
    status = _wait(pid)
    return _STILL_THERE if status is None else os.waitstatus_to_exitcode(status)


def _wait(pid: int) -> int | None:
    """Wait for a child that is about to end; None where it does not, being stuck in the kernel."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if found:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(0.001)
