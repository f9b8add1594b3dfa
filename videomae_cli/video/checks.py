"""The values that a processor's options may have, whoever gives them: code or a file.

Each function returns the value in its one spelling, or raises a `UsageError` that names the option and the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from .resize import RESAMPLE_NAMES

MAX_NUMBER = 1e30  # well inside float32

MAX_EDGE_PX = 8192
"""Longest edge that a processor may ask for."""


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """One of a few words, or an enumeration member of transformers that holds one."""
    value = getattr(value, "value", value)  # an enumeration of transformers
    if value not in choices:
        raise UsageError(f"{name} is {value!r}", f"It is one of: {', '.join(choices)}.")
    return str(value)


def check_boolean(name: str, value: object) -> bool:
    """True or False, and nothing that merely counts as such."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r}", "It is true or false.")
    return value


def check_number(name: str, value: Any) -> float:
    """A finite number."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if is_number and -MAX_NUMBER < value < MAX_NUMBER:
        return float(value)
    raise UsageError(f"{name} is {value!r}", "It must be a finite number.")


def check_per_channel(name: str, value: float | Sequence[float]) -> float | list[float]:
    """A number for all channels, or a list with one for each."""
    if isinstance(value, (list, tuple, np.ndarray)) and len(value):
        return [check_number(name, v) for v in value]
    return check_number(name, value)


def check_resample(value: int | str) -> int:
    """A Pillow filter number from its number, enumeration or name."""
    value = getattr(value, "value", value)  # an enumeration of Pillow (number) or torchvision (name)
    if isinstance(value, str) and value.lower() in RESAMPLE_NAMES:
        return RESAMPLE_NAMES.index(value.lower())
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(RESAMPLE_NAMES):
        return value
    raise UsageError(
        f"resample is {value!r}", f"Give 0 to {len(RESAMPLE_NAMES) - 1}, or one of: {', '.join(RESAMPLE_NAMES)}."
    )


def check_size(name: str, value: object) -> dict[str, int]:
    """One of the spellings of a size as {"shortest_edge": n} or {"height": h, "width": w}."""
    edges: dict[str, Any] = {}
    if isinstance(value, dict):
        edges = dict(value)
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        edges = {"height": value[0], "width": value[1]}
    elif isinstance(value, int):
        edges = {"shortest_edge": value} if name == "size" else {"height": value, "width": value}
    keys = [{"height", "width"}, {"shortest_edge"}] if name == "size" else [{"height", "width"}]
    if set(edges) in keys and all(type(px) is int and 0 < px <= MAX_EDGE_PX for px in edges.values()):
        return edges
    choices = " or ".join(" and ".join(sorted(choice)) for choice in keys)
    raise UsageError(f"{name} is {value!r}", f"Give {choices}, in whole pixels from 1 to {MAX_EDGE_PX}.")
