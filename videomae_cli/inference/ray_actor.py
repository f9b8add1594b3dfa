"""What an actor of Ray does: load the checkpoint once, then classify the files of each group that it is given.

It looks for the checkpoint itself (nodes may not share a disk), and does with a group what the command does without
Ray, decode processes included: a decoder that crashes or hangs costs one record. Everything travels as a pickle of
ours, because names that are not UTF-8 fit into no column of text, and what the caller wants is records.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import MachineError, VideoMAEError
from .records import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .look import Look
    from .records import Record


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


class Actor:
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
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch's threads sleep while decoders want the cores
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
