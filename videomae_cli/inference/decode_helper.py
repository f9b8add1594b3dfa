"""The helper of `decode_processes.py` as a program of its own, for a process that must not be forked.

An actor of Ray has threads before any line of ours runs. The helper is started anew there, not forked; it takes the
seconds that imports take, while the actor loads the checkpoint.
"""

from __future__ import annotations

import os
import socket
import sys

from .decode_processes import DecodeProcesses, be_the_helper
from .decode_worker import serve
from .program import command


class NewDecodeProcesses(DecodeProcesses):
    """As `DecodeProcesses`, at any time and in any process."""

    def __init__(self) -> None:
        super().__init__(serve)

    def _start_helper(self, theirs: socket.socket) -> int:
        os.set_inheritable(theirs.fileno(), True)
        line, environment = command(__name__, str(theirs.fileno()))
        return os.posix_spawn(sys.executable, line, environment)


if __name__ == "__main__":
    be_the_helper(socket.socket(fileno=int(sys.argv[1])), serve)
