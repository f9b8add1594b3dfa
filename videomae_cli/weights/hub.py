"""From the name of a model to files on this machine: a local path, the built-in model, the hub's cache, the network.

huggingface_hub does the downloading, and what it honours is honoured: HF_ENDPOINT, HF_TOKEN, HF_HOME,
HF_HUB_OFFLINE. It is imported when first needed, because a local path must not pay for it.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import ModelError, UsageError, VideoMAEError
from .catalogue import ALIASES, BUILT_IN
from .download import PARTIAL_SUFFIX, WEIGHT_SUFFIXES, Report, check_reachable, explain, fetch_file, offline_hint
from .read import read_shard_names

CONFIG_NAME = "config.json"
PROCESSOR_NAME = "preprocessor_config.json"
PROCESSOR_NAMES = (PROCESSOR_NAME, "video_preprocessor_config.json")  # the second is a transformers 5 video processor's
Part = Literal["weights", "processor"]
_Fetch = Callable[[str], "Path | None"]  # a file's name -> where it is, or None when there is none
_BOTH_PARTS: tuple[Part, ...] = ("weights", "processor")


@dataclass(frozen=True)
class CheckpointFiles:
    """Where the files of one checkpoint are.

    Args:
        source: the path or hub id, for messages.
        config: `config.json`; None when a local checkpoint has none.
        weights: one file, or all shards; empty when not asked for.
        processor: the first of `PROCESSOR_NAMES`; None when the checkpoint has none, or when not asked for.
        revision: the hub commit; None for a local path.
    """

    source: str
    config: Path | None
    weights: tuple[Path, ...] = ()
    processor: Path | None = None
    revision: str | None = None


class _MissingFileError(ModelError):
    """A checkpoint lacks a file that it must have."""


def locate(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    offline: bool = False,
    token: str | None = None,
    need: Collection[Part] = _BOTH_PARTS,
) -> CheckpointFiles:
    """Find the files of a checkpoint; download them when they are neither local nor cached.

    A path that exists never touches the network; it wins over a name that is spelt alike. Neither does the built-in
    model, nor a checkpoint that is wholly in the cache.

    Args:
        name_or_path: a folder, a weight file, "camera-motion" (built in), an alias of `ALIASES`, or a hub id
            ("MCG-NJU/videomae-base").
        revision: a hub branch, tag or commit; None for the main branch.
        offline: never touch the network. HF_HUB_OFFLINE=1 does the same.
        token: a hub token; None for HF_TOKEN or the one that `hf auth login` stored.
        need: the parts to find besides the configuration.

    Returns:
        The files; parts that were not asked for are left out.

    Raises:
        ModelError: there is no such checkpoint, it lacks a file, or the hub cannot or will not give it.
        MachineError: the cache cannot be written.
        UsageError: a revision of a path is asked for, or an HF_... variable holds what huggingface_hub cannot read.
    """
    path, name = Path(name_or_path), os.fspath(name_or_path)
    if not name:
        raise ModelError("the name of the model is empty", "Give an alias, a hub id, a folder or a file.")
    try:
        is_there = path.exists()
        if name == BUILT_IN.name and not is_there:
            assert BUILT_IN.folder is not None
            path, is_there = BUILT_IN.folder, True
        if revision is not None and is_there:
            raise UsageError(f"revision {revision!r} of {name}: only hub models have revisions", "Leave it out.")
        if path.is_dir():
            return _in_folder(path, need)
        if is_there:
            return _beside(path, need)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", "Check the name and its permissions.") from None
    repo = _hub_id(name)
    cached = _from_cache(repo, revision, need)
    if cached is not None:
        return cached
    return _from_hub(repo, revision, token, need, offline=offline)


def pull(
    name: str, *, revision: str | None = None, token: str | None = None, report: Report | None = None
) -> CheckpointFiles:
    """Bring a model of the hub into the cache, whole and verified. What an earlier call began is gone on with.

    Args:
        name: an alias of `ALIASES` or a hub id; whether there is such a path does not matter.
        revision: a hub branch, tag or commit; None for the main branch.
        token: a hub token; None for HF_TOKEN or the one that `hf auth login` stored.
        report: told of the progress of weight files, after something of them has arrived.

    Returns:
        The files in the cache.

    Raises:
        ModelError: as `locate`; HF_HUB_OFFLINE is on, and it is not cached.
        MachineError: the cache cannot be written.
        UsageError: an HF_... variable holds what huggingface_hub cannot read.
    """
    repo = _hub_id(name)
    return _from_cache(repo, revision, _BOTH_PARTS) or _from_hub(repo, revision, token, _BOTH_PARTS, report=report)


def measure_cache(name: str) -> tuple[bool, int]:
    """How much of a model is in the hub's cache.

    Args:
        name: an alias of `ALIASES` or a hub id.

    Returns:
        Whether all is there that classifying needs, and how many bytes there are.

    Raises:
        UsageError: an HF_... variable holds what huggingface_hub cannot read.
    """
    repo = _hub_id(name)
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}", "blobs")
    names = rf"[0-9a-f]+(\{PARTIAL_SUFFIX})?"  # others are what huggingface_hub began, and cannot go on with
    num_bytes = 0
    with contextlib.suppress(OSError):
        num_bytes = sum(path.stat().st_size for path in blobs.iterdir() if re.fullmatch(names, path.name))
    return _from_cache(repo, None, _BOTH_PARTS) is not None, num_bytes


def _collect(source: str, fetch: _Fetch, need: Collection[Part], folder: Path | None = None) -> CheckpointFiles:
    """Gather a checkpoint's files through `fetch`, the same way from a folder, the cache or the hub."""
    config = fetch(CONFIG_NAME)
    if config is None and folder is None:
        raise _MissingFileError(f"{source} has no {CONFIG_NAME}", "Give a VideoMAE checkpoint.")
    weights = _weights(source, fetch, folder) if "weights" in need else ()
    found = (fetch(name) for name in PROCESSOR_NAMES) if "processor" in need else ()
    processor = next((path for path in found if path), None)
    return CheckpointFiles(source, config, weights, processor)


def _weights(source: str, fetch: _Fetch, folder: Path | None) -> tuple[Path, ...]:
    if single := fetch("model.safetensors"):
        return (single,)
    if index := fetch("model.safetensors.index.json"):
        shards = {name: fetch(name) for name in read_shard_names(index)}
        if missing := [name for name, path in shards.items() if path is None]:
            raise _MissingFileError(f"{source} lacks {len(missing)} of {len(shards)} shards: {', '.join(missing)}")
        return tuple(path for path in shards.values() if path is not None)
    if pickled := fetch("pytorch_model.bin"):
        return (pickled,)
    others = sorted(p for p in folder.iterdir() if p.suffix in WEIGHT_SUFFIXES and p.is_file()) if folder else []
    if len(others) > 1:
        names = ", ".join(path.name for path in others[:5])
        raise ModelError(f"{source} holds {len(others)} weight files ({names}, ...)", "Name the file itself.")
    if not others:
        raise _MissingFileError(
            f"{source} has no weights: neither model.safetensors nor an index of shards",
            "Give a checkpoint folder or a weight file.",
        )
    return (others[0],)


def _in_folder(folder: Path, need: Collection[Part]) -> CheckpointFiles:
    def fetch(name: str) -> Path | None:
        return folder / name if (folder / name).is_file() else None

    return _collect(str(folder), fetch, need, folder)


def _beside(path: Path, need: Collection[Part]) -> CheckpointFiles:
    """One weight file, with the configuration that lies in the same folder, when there is one."""
    if not path.is_file():
        raise ModelError(f"{path} is neither a file nor a folder", "Give a checkpoint folder or a weight file.")

    def fetch(name: str) -> Path | None:
        beside = path.with_name(name)
        return beside if beside.is_file() else None

    files = _collect(str(path), fetch, set(need) - {"weights"}, folder=path.parent)
    return replace(files, weights=(path,) if "weights" in need else ())


def _hub_id(name: str) -> str:
    """The hub id that a name stands for; refused without a request where that can be none."""
    try:
        import huggingface_hub.constants  # noqa: F401  (it reads HF_HUB_ETAG_TIMEOUT and others when it is imported)
    except ValueError as error:
        raise UsageError(f"huggingface_hub does not start: {error}", "Check the HF_... variables.") from None
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import HFValidationError

    repo = ALIASES.get(name, name)
    with contextlib.suppress(HFValidationError):
        hf_hub_url(repo, CONFIG_NAME)  # only builds the text, and checks the name
        if repo.count("/") == 1 and not repo.endswith(WEIGHT_SUFFIXES):
            return repo
    names = (BUILT_IN.name, *ALIASES)
    close = difflib.get_close_matches(repo, names, n=1)
    choices = f"Give a path, a hub id (owner/name), or one of {', '.join(names)}."
    raise ModelError(f"no file, folder or model named {repo!r}", f"Did you mean {close[0]}?" if close else choices)


def _from_cache(repo: str, revision: str | None, need: Collection[Part]) -> CheckpointFiles | None:
    from huggingface_hub import try_to_load_from_cache

    def fetch(name: str) -> Path | None:
        found = try_to_load_from_cache(repo, name, revision=revision)
        return Path(found) if isinstance(found, str) else None

    try:
        files = _collect(repo, fetch, need)
    except _MissingFileError:
        return None
    # The cache remembers which files the repository does not have: only None means that nobody asked yet.
    names = PROCESSOR_NAMES if "processor" in need and files.processor is None else ()
    if any(try_to_load_from_cache(repo, name, revision=revision) is None for name in names):
        return None
    assert files.config is not None
    return replace(files, revision=files.config.parent.name)


def _from_hub(
    repo: str,
    revision: str | None,
    token: str | None,
    need: Collection[Part],
    *,
    offline: bool = False,
    report: Report | None = None,
) -> CheckpointFiles:
    from huggingface_hub import constants, hf_hub_url

    if offline or constants.HF_HUB_OFFLINE:
        raise ModelError(f"{repo} is not in the local cache, and offline mode is on", offline_hint(repo))
    pinned = revision

    def fetch(name: str) -> Path | None:
        nonlocal pinned
        path = fetch_file(repo, name, pinned, token, report)
        if path:
            pinned = path.parent.name  # the commit: all files come from the one that the first came from
        return path

    try:
        check_reachable(hf_hub_url(repo, CONFIG_NAME, revision=revision), token)
        files = _collect(repo, fetch, need)
    except VideoMAEError:
        raise
    except Exception as error:  # the HTTP library underneath, and with it the errors, differ between releases
        raise explain(error, repo, revision) from None  # the cause can quote headers: no token may show
    return replace(files, revision=pinned)
