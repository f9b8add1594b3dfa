"""From the name of a model to files on this machine: a local path, the hub's cache, then the network.

huggingface_hub does the downloading, and what it honours is honoured: HF_ENDPOINT, HF_TOKEN, HF_HOME,
HF_HUB_OFFLINE. It is imported when first needed, because a local path must not pay for it.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from ..errors import MachineError, ModelError, UsageError, VideoMAEError
from .read import read_shard_names

ALIASES: dict[str, str] = {
    "small-k400": "MCG-NJU/videomae-small-finetuned-kinetics",
    "base-k400": "MCG-NJU/videomae-base-finetuned-kinetics",
    "large-k400": "MCG-NJU/videomae-large-finetuned-kinetics",
    "huge-k400": "MCG-NJU/videomae-huge-finetuned-kinetics",
    "small-ssv2": "MCG-NJU/videomae-small-finetuned-ssv2",
    "base-ssv2": "MCG-NJU/videomae-base-finetuned-ssv2",
}
"""Short names for published checkpoints."""

CONFIG_NAME = "config.json"
PROCESSOR_NAME = "preprocessor_config.json"
PROCESSOR_NAMES = (PROCESSOR_NAME, "video_preprocessor_config.json")  # the second is a transformers 5 video processor's
Part = Literal["weights", "processor"]
_Fetch = Callable[[str], "Path | None"]  # a file's name -> where it is, or None when there is none
_T = TypeVar("_T")

_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_TOKEN_HINT = "Log in with `hf auth login`, or set HF_TOKEN, for an account that may read it."


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
    need: Collection[Part] = ("weights", "processor"),
) -> CheckpointFiles:
    """Find the files of a checkpoint; download them when they are neither local nor cached.

    A path that exists never touches the network, and neither does a checkpoint that is wholly in the cache.

    Args:
        name_or_path: a folder, a weight file, an alias of `ALIASES`, or a hub id ("MCG-NJU/videomae-base").
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
        if revision is not None and path.exists():
            raise UsageError(f"revision {revision!r} of {path}: only hub models have revisions", "Leave it out.")
        if path.is_dir():
            return _in_folder(path, need)
        if path.exists():
            return _beside(path, need)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", "Check the name and its permissions.") from None
    repo = ALIASES.get(name, name)
    try:
        import huggingface_hub  # noqa: F401  (it reads HF_HUB_ETAG_TIMEOUT and others when it is imported)
    except ValueError as error:
        raise UsageError(f"huggingface_hub does not start: {error}", "Check the HF_... variables.") from None
    _check_hub_id(repo)
    cached = _from_cache(repo, revision, need)
    if cached is not None:
        return cached
    from huggingface_hub import constants

    if offline or constants.HF_HUB_OFFLINE:
        raise ModelError(f"{repo} is not in the local cache, and offline mode is on", _offline_hint(repo))
    return _from_hub(repo, revision, token, need)


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
    others = sorted(p for p in folder.iterdir() if p.suffix in _WEIGHT_SUFFIXES and p.is_file()) if folder else []
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


def _check_hub_id(repo: str) -> None:
    """Refuse without a request what cannot be the name of a hub repository."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import HFValidationError

    with contextlib.suppress(HFValidationError):
        hf_hub_url(repo, CONFIG_NAME)  # only builds the text, and checks the name
        if repo.count("/") == 1 and not repo.endswith(_WEIGHT_SUFFIXES):
            return
    close = difflib.get_close_matches(repo, ALIASES, n=1)
    choices = f"Give a path, a hub id (owner/name), or one of {', '.join(ALIASES)}."
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


def _from_hub(repo: str, revision: str | None, token: str | None, need: Collection[Part]) -> CheckpointFiles:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    pinned = revision

    def fetch(name: str) -> Path | None:
        nonlocal pinned
        try:
            path = Path(hf_hub_download(repo, name, revision=pinned, token=token))
        except LocalEntryNotFoundError:
            raise  # the connection broke; a subclass, so it must not be taken for "has no such file"
        except EntryNotFoundError:
            return None
        pinned = path.parent.name  # the commit: all files come from the one that the first came from
        _verify(path)
        return path

    url = hf_hub_url(repo, CONFIG_NAME, revision=revision)
    seconds = float(constants.HF_HUB_ETAG_TIMEOUT)
    try:
        # hf_hub_download tries an unreachable hub for minutes; one bare request tells whether it answers.
        _within(seconds, lambda: get_hf_file_metadata(url, token=token, timeout=seconds))
        files = _collect(repo, fetch, need)
    except VideoMAEError:
        raise
    except Exception as error:  # the HTTP library underneath, and with it the errors, differ between releases
        raise _explain(error, repo, revision) from None  # the cause can quote headers: no token may show
    return replace(files, revision=pinned)


def _verify(path: Path) -> None:
    """Compare a download with the SHA-256 that the hub announced, which the cache keeps as the blob's name."""
    blob = path.parent / path.readlink() if path.is_symlink() else path
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return  # small files are named by git's hash; they are JSON and parse or do not
    digest = hashlib.sha256()
    with blob.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    if digest.hexdigest() != blob.name:
        path.unlink()
        blob.unlink()
        raise ModelError(f"{path.name} arrived damaged: its SHA-256 differs", "Run again to fetch it anew.")


def _within(seconds: float, call: Callable[[], _T]) -> _T:
    """Give up on `call` after `seconds`: looking up a host name obeys no timeout of the request's."""
    outcome: Queue[_T | Exception] = Queue(1)

    def work() -> None:
        try:
            outcome.put(call())
        except Exception as error:
            outcome.put(error)

    Thread(target=work, daemon=True).start()
    try:
        result = outcome.get(timeout=seconds)
    except Empty:
        raise TimeoutError(None, f"no answer in {seconds:g} s") from None
    if isinstance(result, Exception):
        raise result
    return result


def _explain(error: Exception, repo: str, revision: str | None) -> VideoMAEError:
    """Say what an error of huggingface_hub means to the user, without quoting it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    host = urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT
    away = f"no connection to {host} ({_reason(error)}), and {repo} is not in the local cache"
    answers: tuple[tuple[type[Exception], str, str], ...] = (  # the first that fits
        (LocalEntryNotFoundError, away, _offline_hint(repo)),
        (GatedRepoError, f"{repo} is gated", f"Ask for access on its page. {_TOKEN_HINT}"),
        (RepositoryNotFoundError, f"{host} has no {repo}, or it is private", f"Check the name. {_TOKEN_HINT}"),
        (RevisionNotFoundError, f"{repo} has no revision {revision!r}", "Give a branch, a tag or a full commit hash."),
        (EntryNotFoundError, f"{repo} has no {CONFIG_NAME}", "Give a VideoMAE checkpoint."),
    )
    for kind, message, hint in answers:
        if isinstance(error, kind):
            return ModelError(message, hint)
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in {401, 403}:
            return ModelError(f"{host} refuses access to {repo} (HTTP {status})", _TOKEN_HINT)
        return ModelError(f"{host} cannot serve {repo} (HTTP {status})", f"Try later. {_offline_hint(repo)}")
    if isinstance(error, OSError) and error.errno is not None:
        return MachineError(
            f"cannot write the model cache {constants.HF_HUB_CACHE}: {error.strerror}",
            "Set HF_HOME to a writable folder with enough room.",
        )
    return ModelError(away, _offline_hint(repo))


def _reason(error: BaseException) -> str:
    """The operating system's words for a network error, from wherever in the chain of causes they are."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return str(link.strerror).lower()
        link = link.__cause__ or link.__context__
    return type(error).__name__


def _offline_hint(repo: str) -> str:
    return (
        f"Where there is a network, run `hf download {repo}`. Then use --offline with the same HF_HOME, "
        "or give the downloaded folder with -m."
    )
