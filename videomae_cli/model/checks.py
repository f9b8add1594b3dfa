"""What the values of a configuration may be."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..errors import UsageError

MAX_COUNT = 2**20
"""Largest width, depth or number of anything: far beyond any model, and small enough that no product of them harms."""


def require(config: object, name: str, holds: bool, wanted: str) -> None:
    """Refuse the value of a field, unless the check of it `holds`; `wanted` completes "field=value is not ..."."""
    if not holds:
        raise UsageError(f"{name}={getattr(config, name)!r} is not {wanted}")


def is_count(value: object) -> bool:
    """Whether it is an integer from 1 to `MAX_COUNT`; true is none."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_COUNT


def is_number(value: object) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_size(value: object) -> bool:
    """Whether it is a positive integer or a pair of them."""
    sides = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value,)
    return all(map(is_count, sides))


def is_naming(labels: object) -> bool:
    """Whether it maps indices ("0" or 0) to names; transformers takes numbers for names too."""
    return isinstance(labels, Mapping) and all(
        str(index).isdecimal() and isinstance(name, (str, int)) for index, name in labels.items()
    )


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """A size as (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
