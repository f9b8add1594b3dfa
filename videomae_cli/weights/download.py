"""Files of the hub, one at a time, into the cache of huggingface_hub; and what its errors mean to the user.

A weight file that was begun is gone on with, whatever became of the process that began it, and is verified.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from ..errors import MachineError, ModelError, VideoMAEError
from .catalogue import ALIASES, BUILT_IN

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
PARTIAL_SUFFIX = ".incomplete"
Report = Callable[[str, int, int], None]
"""Takes a file's name, how many bytes of it have arrived, and how many there are."""
_T = TypeVar("_T")

_TOKEN_HINT = "Log in with `hf auth login`, or set HF_TOKEN, for an account that may read it."
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_reachable(url: str, token: str | None) -> None:
    """Ask for a file's metadata, once: huggingface_hub tries an unreachable hub for minutes.

    Args:
        url: of a file.
        token: a hub token, or None.

    Raises:
        Exception: what huggingface_hub or the network say; see `explain`.
    """
    from huggingface_hub import constants, get_hf_file_metadata

    seconds = float(constants.HF_HUB_ETAG_TIMEOUT)
    _within(seconds, lambda: get_hf_file_metadata(url, token=token, timeout=seconds))


def fetch_file(repo: str, name: str, revision: str | None, token: str | None, report: Report | None) -> Path | None:
    """Bring one file of a repository into the cache.

    Args:
        repo: the hub id.
        name: of the file.
        revision: a branch, tag or commit; None for the main branch.
        token: a hub token, or None.
        report: told of the progress of weight files; without it, huggingface_hub shows a bar of its own.

    Returns:
        Where it is; None when the repository has no such file.

    Raises:
        ModelError: it arrived damaged.
        Exception: what huggingface_hub or the network say; see `explain`.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        if name.endswith(WEIGHT_SUFFIXES):
            _bring_blob(repo, name, revision, token, report)
        path = Path(hf_hub_download(repo, name, revision=revision, token=token))
    except LocalEntryNotFoundError:
        raise  # the connection broke; a subclass, so it must not be taken for "has no such file"
    except EntryNotFoundError:
        return None
    _verify(path)
    return path


def _bring_blob(repo: str, name: str, revision: str | None, token: str | None, report: Report | None) -> None:
    """Download the content of a large file to where huggingface_hub then finds it.

    By itself, huggingface_hub (2.4) goes on after a broken connection, but begins anew in a new process. Here the part
    that arrived keeps the name that earlier releases gave it, which `hf cache` knows, and the rest is asked for.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get, repo_folder_name
    from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(repo, name, revision=revision)
    found = get_hf_file_metadata(url, token=token)
    if not found.size or not _SHA256.fullmatch(found.etag or ""):
        return  # not kept as a large file: it has no SHA-256 to recognise it by
    folder, cache = repo_folder_name(repo_id=repo, repo_type="model"), Path(constants.HF_HUB_CACHE)
    blob, lock = cache / folder / "blobs" / str(found.etag), cache / ".locks" / folder / f"{found.etag}.lock"
    blob.parent.mkdir(parents=True, exist_ok=True)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):  # huggingface_hub's own: nobody else who honours it downloads the file meanwhile
        if blob.exists():
            return
        partial = blob.with_name(blob.name + PARTIAL_SUFFIX)
        with _Partial(partial, name, found.size, report) as file:
            headers = build_hf_headers(token=token)
            http_get(url, file, resume_size=file.tell(), headers=headers, expected_size=found.size)
        os.replace(partial, blob)


class _Partial(io.BufferedWriter):
    """A file that is gone on with, and that tells how far it got.

    Args:
        path: of the file; made when absent.
        name: what is told of it.
        num_bytes: that it will have. One that has more already is begun anew.
        report: is told.
    """

    def __init__(self, path: Path, name: str, num_bytes: int, report: Report | None) -> None:
        super().__init__(io.FileIO(path, "ab"))
        if self.tell() > num_bytes:
            self.truncate(0)
            self.seek(0)
        self._name, self._num_bytes, self._report = name, num_bytes, report

    def write(self, data: ReadableBuffer) -> int:
        """As any file, and tell."""
        written = super().write(data)
        if self._report:
            self._report(self._name, self.tell(), self._num_bytes)
        return written


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


def explain(error: Exception, repo: str, revision: str | None) -> VideoMAEError:
    """Say what an error of huggingface_hub means to the user, without quoting it: it may hold a token.

    Args:
        error: anything that a function of this file, or of huggingface_hub, raised.
        repo: the hub id.
        revision: that was asked for.
    """
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
        (LocalEntryNotFoundError, away, offline_hint(repo)),
        (GatedRepoError, f"{repo} is gated", f"Ask for access on its page. {_TOKEN_HINT}"),
        (RepositoryNotFoundError, f"{host} has no {repo}, or it is private", f"Check the name. {_TOKEN_HINT}"),
        (RevisionNotFoundError, f"{repo} has no revision {revision!r}", "Give a branch, a tag or a full commit hash."),
        (EntryNotFoundError, f"{repo} has no config.json", "Give a VideoMAE checkpoint."),
    )
    for kind, message, hint in answers:
        if isinstance(error, kind):
            return ModelError(message, hint)
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in {401, 403}:
            return ModelError(f"{host} refuses access to {repo} (HTTP {status})", _TOKEN_HINT)
        return ModelError(f"{host} cannot serve {repo} (HTTP {status})", f"Try later. {offline_hint(repo)}")
    if isinstance(error, OSError) and error.errno is not None:
        return MachineError(
            f"cannot write the model cache {constants.HF_HUB_CACHE}: {error.strerror}",
            "Set HF_HOME to a writable folder with enough room.",
        )
    return ModelError(away, offline_hint(repo))


def _reason(error: BaseException) -> str:
    """The operating system's words for a network error, from wherever in the chain of causes they are."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return str(link.strerror).lower()
        link = link.__cause__ or link.__context__
    return type(error).__name__


def offline_hint(repo: str) -> str:
    """How to use a model without a network.

    Args:
        repo: its hub id.
    """
    hint = (
        f"Where there is a network, run `hf download {repo}`. Then use --offline with the same HF_HOME, "
        "or give the downloaded folder with -m."
    )
    if repo in ALIASES.values():
        hint += f" Without any download, `-m {BUILT_IN.name}` names what the camera does."
    return hint
