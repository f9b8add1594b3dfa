"""Files that a bad disk or a bad network could have made of good ones, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

DAMAGES = ("flipped", "cut off", "cut out", "spliced", "zeroed")


def variants(originals: Sequence[Path], seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Endless damaged variants of some files.

    Yields:
        A file name, which tells the number, the original and the damage, and has the original's suffix; and the bytes.
    """
    whole = [path.read_bytes() for path in originals]
    number = 0
    while True:
        chance = random.Random(f"{seed} {number}")  # a variant depends on its number alone
        damage = DAMAGES[number % len(DAMAGES)]
        which = chance.randrange(len(whole))
        data = damaged(whole[which], damage, chance.choice(whole), chance)
        yield f"{number:05d} {damage} {originals[which].name}", data
        number += 1


def damaged(whole: bytes, damage: str, other: bytes, chance: random.Random) -> bytes:
    """One file with one damage.

    Args:
        whole: the good file.
        damage: one of `DAMAGES`.
        other: the file that "spliced" takes its end from.
        chance: where and how much. Half of the damage is at either end of the file, where its headers and index are.
    """
    data = bytearray(whole)
    start = _place(len(data), chance)
    length = min(len(data) - start, int(2 ** chance.uniform(0, 16)))
    if damage == "flipped":
        for _ in range(int(2 ** chance.uniform(0, 8))):
            data[_place(len(data), chance)] ^= 1 << chance.randrange(8)
    elif damage == "cut off":
        del data[start:]
    elif damage == "cut out":
        del data[start : start + length]
    elif damage == "spliced":
        data[start:] = other[_place(len(other), chance) :]
    else:
        data[start : start + length] = bytes(length)
    return bytes(data)


def _place(size: int, chance: random.Random) -> int:
    """An offset: anywhere, or within the first or last 2,000 bytes."""
    near = chance.randrange(min(2000, size))
    return chance.choice([chance.randrange(size), chance.randrange(size), near, size - 1 - near])
