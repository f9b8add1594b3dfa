"""Write files so that nothing half-written ever carries its final name."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from safetensors import SafetensorError

from ..errors import MachineError, UsageError

if TYPE_CHECKING:  # files of other kinds are written without importing torch
    from torch import Tensor

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def write_atomically(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write one file under a temporary name in the same folder, then rename it.

    Args:
        path: the final name; its folder is made when absent.
        content: the bytes, or a function that writes the file at the path it is given.

    Raises:
        MachineError: the folder cannot be written or the disk is full; `path` is then as it was before.
    """
    temporary = path.with_name(f".videomae-{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content)
        publish(temporary, path)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk as an error of its own
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MachineError(f"cannot write {path}: {reason}", "Choose a folder that is writable and has room.") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], max_shard_size: int | str = "5GB") -> list[Path]:
    """Write weights as `model.safetensors`, or as numbered shards with an index when one file is too small.

    A former index is removed first and the new one written last, so that a set of shards that an interruption
    left half-renewed does not load.

    Args:
        folder: where to; made when absent.
        tensors: name -> CPU tensor.
        max_shard_size: the largest file, in bytes or as "200MB", "5GB" (powers of ten). A single larger
            tensor gets a file of its own.

    Returns:
        The files written, the index last.

    Raises:
        UsageError: `max_shard_size` is not a size.
        MachineError: the folder cannot be written or the disk is full.
    """
    shards = _split(tensors, _num_bytes(max_shard_size))
    if len(shards) == 1:
        names = [WEIGHTS_NAME]
    else:
        names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
        _remove(folder / INDEX_NAME)
    for name, shard in zip(names, shards, strict=True):
        write_safetensors(folder / name, shard)
    written = [folder / name for name in names]
    if len(shards) > 1:
        weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        total = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        written.append(folder / INDEX_NAME)
        write_atomically(written[-1], (json.dumps(index, indent=2) + "\n").encode())
    for stale in folder.iterdir():  # a former single file or other shards would be found beside the new weights
        if stale not in written and re.fullmatch(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?", stale.name):
            _remove(stale)
    return written


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one file of tensors, with the permissions that the umask gives.

    Args:
        path: the final name; its folder is made when absent.
        tensors: name -> CPU tensor.

    Raises:
        MachineError: the folder cannot be written or the disk is full; `path` is then as it was before.
    """

    def save(temporary: Path) -> None:
        from safetensors.torch import save_file

        temporary.touch()
        mode = temporary.stat().st_mode  # what the umask gives; save_file's own is for the owner alone
        save_file(dict(tensors), temporary, metadata={"format": "pt"})  # transformers refuses files without this mark
        temporary.chmod(mode)

    write_atomically(path, save)


def _split(tensors: Mapping[str, Tensor], max_bytes: int) -> list[dict[str, Tensor]]:
    """Fill shards greedily, in order; every shard has at least one tensor."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > max_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.contiguous()
        size += tensor.nbytes
    return shards


def _num_bytes(size: int | str) -> int:
    if isinstance(size, int) and size > 0:
        return size
    match = re.fullmatch(r"\s*(\d+)\s*([KMG]B)\s*", str(size), re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise UsageError(f"max_shard_size is {size!r}", 'Give a number of bytes, or a size like "200MB" or "5GB".')
    return int(match[1]) * _UNITS[match[2].upper()]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"cannot replace {path}: {error.strerror}", "Choose a folder that is writable.") from None


def publish(temporary: Path, path: Path) -> None:
    """Give a file that is written its name, once it is on the disk.

    Args:
        temporary: in the same folder.
        path: the final name; what has it is replaced.
    """
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Args:
        path: of either.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
