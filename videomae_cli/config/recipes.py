"""The recipes that are shipped, and the text of a configuration file."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from ..errors import UsageError

Kind = Literal["pretrain", "finetune"]

MAX_BYTES = 2**15
"""Of a file that is read; the whole configuration, written out, has about 1,500."""


def recipes(kind: Kind) -> list[str]:
    """The names of the shipped recipes, sorted."""
    return sorted(path.stem for path in (_folder() / kind).glob("*.yaml"))


def find(kind: Kind, source: str) -> Path:
    """The file of a configuration.

    Args:
        kind: the command that it is for.
        source: the name of a recipe; or a file, if it ends in .yaml or .yml or has a slash.

    Raises:
        UsageError: there is no recipe of this name.
    """
    if source.endswith((".yaml", ".yml")) or os.sep in source:
        return Path(source)
    names = recipes(kind)
    if source in names:
        return _folder() / kind / f"{source}.yaml"
    close = get_close_matches(source, names, 1)
    meant = f'Did you mean "{close[0]}"? ' if close else ""
    raise UsageError(
        f"there is no recipe {source!r} to {kind}",
        f"{meant}There are: {', '.join(names)}. A file has a name that ends in .yaml.",
    )


def read(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        UsageError: it is missing, not a file, too large, not to be read, or not UTF-8.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a file", "Give a YAML file, or the name of a recipe.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{path} cannot be read: {reason}", "Give a YAML file, or the name of a recipe.") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} has more than {MAX_BYTES} bytes", "That is no configuration.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: the file is not UTF-8", "Save it as UTF-8 text.") from error


def _folder() -> Path:
    """In the wheel beside the rooms, in a source checkout beside the package."""
    package = Path(__file__).parents[1]
    return next((path for path in (package / "configs", package.parent / "configs") if path.is_dir()), package)
