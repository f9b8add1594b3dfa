"""Checkpoints of a run: a folder for each, whole or not there at all.

    OUT/checkpoints/step-00001234/model.safetensors, optimizer.safetensors, average.safetensors, state.json,
        complete.json

`complete.json` is written last and holds the SHA-256 of the others; the folder gets its name when all is on the disk.
Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from torch import Tensor

from ..errors import MachineError, ModelError
from ..weights.read import read_json, read_tensors
from ..weights.write import sync, write_atomically, write_safetensors

_MARKER = "complete.json"
_STATE = "state.json"
_PARTIAL = ".partial-"
_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class Checkpoint:
    """One that was verified.

    Args:
        path: its folder.
        step: how many steps were done.
        state: what `save` was given.
    """

    path: Path
    step: int
    state: dict[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """One of the groups that `save` was given, memory-mapped.

        Args:
            name: of the group.
        """
        return read_tensors([self.path / f"{name}.safetensors"])

    def has(self, name: str) -> bool:
        """Whether the group was saved."""
        return (self.path / f"{name}.safetensors").exists()


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: OUT/checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
        """Write a checkpoint.

        Args:
            step: how many steps are done.
            tensors: groups of tensors on the CPU, each of which becomes a file.
            state: what else there is, as JSON holds it.

        Raises:
            MachineError: the disk is full or not writable; those from before are as they were.
        """
        final = self.path(step)
        partial = self.folder / f"{_PARTIAL}{uuid4().hex}"
        try:
            for name, group in tensors.items():
                whole = {key: tensor.contiguous() for key, tensor in group.items()}
                write_safetensors(partial / f"{name}.safetensors", whole)
            write_atomically(partial / _STATE, _json({**state, "step": step}))
            sums = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
            write_atomically(partial / _MARKER, _json({"sha256": sums}))
            if final.exists():  # of an earlier attempt; the same step holds the same
                shutil.rmtree(final)
            partial.replace(final)
            sync(self.folder)
        except (OSError, MachineError) as error:
            reason = str(error).replace(partial.name, final.name)
            hint = "Free some space, and go on with --resume from the checkpoint before."
            raise MachineError(f"the checkpoint cannot be written: {reason}", hint) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final

    def path(self, step: int) -> Path:
        """Where the checkpoint after so many steps is.

        Args:
            step: how many.
        """
        return self.folder / f"step-{step:08d}"

    def latest(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """The newest that is whole.

        Args:
            warn: is told of each that is not.
        """
        return next(filter(None, (self.whole(path, warn) for path in reversed(self._paths()))), None)

    def whole(self, path: Path, warn: Callable[[str], None]) -> Checkpoint | None:
        """One, if it is whole.

        Args:
            path: its folder.
            warn: is told if it is not.
        """
        try:
            return self.read(path)
        except ModelError as error:
            warn(f"warning: {error.message}; it is passed over")
            return None

    def read(self, path: Path) -> Checkpoint:
        """Verify one.

        Args:
            path: its folder.

        Raises:
            ModelError: a file is missing or has changed since it was written.
        """
        marker = path / _MARKER
        if not marker.exists():
            raise ModelError(f"checkpoint {path} is not complete")
        sums = read_json(marker).get("sha256")
        if not isinstance(sums, dict) or _STATE not in sums:
            raise ModelError(f"checkpoint {path} is damaged: {_MARKER}")
        for name, expected in sums.items():
            file = path / Path(name).name
            if not file.is_file() or _sha256(file) != expected:
                raise ModelError(f"checkpoint {path} is damaged: {name}")
        state = read_json(path / _STATE)
        return Checkpoint(path, int(state["step"]), state)

    def prune(self, step: int, keep: int, spared: Path | None) -> None:
        """Remove old ones, those that were passed over as damaged, and what a killed process left half-written.

        Args:
            step: of the newest; what says that it is of a later one was passed over.
            keep: how many of the newest stay.
            spared: one more that stays.
        """
        kept = [path for path in self._paths() if path <= self.path(step)][-keep:]
        stale = [path for path in self._paths() if path not in kept and path != spared]
        for path in (*stale, *self.folder.glob(f"{_PARTIAL}*")):
            with contextlib.suppress(OSError):  # first the marker: what is left of a removal is not taken for whole
                (path / _MARKER).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)

    def _paths(self) -> list[Path]:
        """Oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if re.fullmatch(r"step-\d{8,}", path.name))


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
