"""Read checkpoint files into plain dictionaries, trusting none of them.

Weights come memory-mapped and copy-on-write: nothing is read before it is used, and writing to a tensor never
alters the file. Pickled files are read as tensors only; nothing in them is ever executed.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ..errors import ModelError

if TYPE_CHECKING:  # a configuration is read without importing torch
    from torch import Tensor

MAX_JSON_BYTES = 32 * 2**20
"""Larger than any real configuration or index; a larger file is refused unread."""

_CONTAINERS = ("model", "module", "state_dict")  # where the original training scripts keep the weights
_PICKLE_HINT = "A checkpoint may hold tensors only. Convert it to safetensors where you trust it."
_DAMAGED_HINT = "Fetch the file again; for a hub model, with `hf download ID --force-download`."
_DISGUISES = (  # how files begin that are often saved under a checkpoint's name
    (b"version https://git-lfs", "a Git LFS pointer, not the weights", "Run `git lfs pull` in its folder."),
    (b"<!doctype html", "a web page, not a checkpoint", "Download the file itself, not the page about it."),
    (b"<html", "a web page, not a checkpoint", "Download the file itself, not the page about it."),
)


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Args:
        path: a file such as `config.json`.

    Returns:
        The object's keys and values.

    Raises:
        ModelError: the file cannot be read, is too large, or does not hold one JSON object.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(text) > MAX_JSON_BYTES:
        raise ModelError(f"{path} is larger than {MAX_JSON_BYTES} bytes", "No file of its kind is that large.")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse_disguises(path)
        raise ModelError(f"{path} is not valid JSON: {error}", _DAMAGED_HINT) from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a JSON {type(content).__name__}, not an object", _DAMAGED_HINT)
    return content


def read_shard_names(index: Path) -> tuple[str, ...]:
    """Names of the weight files that an index (`model.safetensors.index.json`) points to.

    Args:
        index: the index file; its `weight_map` maps each tensor to a file beside the index.

    Returns:
        The file names in order, each once.

    Raises:
        ModelError: there is no weight map, or a name leads out of the index's folder.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index} has no weight_map", _DAMAGED_HINT)
    for name in weight_map.values():
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name, re.ASCII):
            raise ModelError(
                f"{index} points to {name!r}, which is not the name of a safetensors file beside it",
                "Do not use this checkpoint: such a name can reach files outside of its folder.",
            )
    return tuple(sorted(set(weight_map.values())))


def read_tensors(paths: Iterable[Path]) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint under the names that they have in its files.

    Args:
        paths: one file, or the shards of a checkpoint. `.safetensors` is read as such; any other name is taken
            for a file of `torch.save`, of which only tensors are read, at the top level or under `model`,
            `module` or `state_dict`.

    Returns:
        Name -> CPU tensor in the stored dtype, memory-mapped where the format allows it.

    Raises:
        ModelError: a file cannot be read, is damaged, is something else, holds more than tensors, or two files
            hold the same name.
    """
    tensors: dict[str, Tensor] = {}
    for path in paths:
        found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
        if repeated := tensors.keys() & found.keys():
            raise ModelError(f"{path} holds {sorted(repeated)[0]!r} again, which another shard holds already")
        tensors.update(found)
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except OSError as error:
        raise _unreadable(path, error) from None
    except SafetensorError as error:
        _refuse_disguises(path)
        fault = _safetensors_fault(path) or str(error).removeprefix("Error while deserializing header: ")
        raise ModelError(f"{path} is not a valid safetensors file: {fault}", _DAMAGED_HINT) from None


def _safetensors_fault(path: Path) -> str:
    """Compare the lengths that a safetensors header claims with the file's; empty when they agree."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if size < 8 or header_bytes > size - 8:
            return f"its header claims {header_bytes} bytes, and the whole file has {size}"
        try:
            header = json.loads(file.read(header_bytes))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
            promised = 8 + header_bytes + end
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return ""  # the header itself is broken: the library's own words say how
    return f"its header promises {promised} bytes, and it has {size}" if promised != size else ""


def _read_pickled(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"  # older files of torch.save are bare pickles, which cannot be mapped
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        # The original training scripts store their command line beside the weights; the class is inert.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a hostile pickle can raise anything
        _refuse_disguises(path)
        if isinstance(error, pickle.UnpicklingError) and (asked := re.search(r"GLOBAL (\S+)", str(error))):
            raise ModelError(f"{path} refused: to load it would run {asked[1]}", _PICKLE_HINT) from None
        raise ModelError(
            f"{path} is no checkpoint: neither safetensors nor a whole file of torch.save", _DAMAGED_HINT
        ) from None
    return _tensors_only(path, content)


def _tensors_only(path: Path, content: object) -> dict[str, Tensor]:
    """Unwrap the container that training scripts use and refuse whatever is not a plain tensor in memory."""
    import torch

    if isinstance(content, dict):
        content = next((content[key] for key in _CONTAINERS if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path} holds no dictionary of tensors", _PICKLE_HINT)
    for name, value in content.items():
        is_plain = isinstance(value, torch.Tensor) and value.layout is torch.strided and value.device.type == "cpu"
        # An expanded tensor stores one number and claims any size: it would fill the memory, or take hours to check.
        if is_plain:
            is_plain = value.nbytes <= value.untyped_storage().nbytes()
        if not is_plain or not isinstance(name, str):
            raise ModelError(f"{path} holds {name!r} of type {type(value).__name__} among its weights", _PICKLE_HINT)
    return {name: value.detach() for name, value in content.items()}


def _refuse_disguises(path: Path) -> None:
    with path.open("rb") as file:
        beginning = file.read(64).lstrip().lower()
    if not beginning:
        raise ModelError(f"{path} is empty", _DAMAGED_HINT)
    for signature, what, hint in _DISGUISES:
        if beginning.startswith(signature):
            raise ModelError(f"{path} is {what}", hint)


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"cannot read {path}: {error.strerror or error}", "Check the name and its permissions.")
