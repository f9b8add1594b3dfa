"""A short name for the content of a checkpoint, so that a run can say, and check, by which weights it was made."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..errors import ModelError
from .hub import CheckpointFiles

NUM_DIGITS = 16  # of hexadecimal


def digest_checkpoint(files: CheckpointFiles) -> str:
    """The beginning of a SHA-256 over weights, configuration and processor: of what decides about the labels.

    The same for a model of the hub and for a copy of its files. Files in the hub's cache are named by their digest, so
    they are not read for it.

    Args:
        files: with all parts.

    Raises:
        ModelError: one of them cannot be read.
    """
    paths = [*files.weights, files.config, files.processor]
    text = " ".join("-" if path is None else _digest(path) for path in paths)
    return hashlib.sha256(text.encode()).hexdigest()[:NUM_DIGITS]


def _digest(path: Path) -> str:
    try:
        blob = path.readlink().name if path.is_symlink() else ""
        if re.fullmatch(r"[0-9a-f]{64}", blob):
            return blob
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", "Check the name and its permissions.") from None
