"""What is written in a file or an option, each part with its place. Knows no YAML, so that `--help` loads none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where something was written.

    Args:
        name: a file, or the option of the command line.
        line: from 1; 0 where there are no lines.
        column: from 1.
    """

    name: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}" if self.line else self.name


@dataclass(frozen=True)
class Fault:
    """What is wrong at a place."""

    place: Place
    text: str

    def __str__(self) -> str:
        """One line, whatever characters were read."""
        line = f"{self.place}: {self.text}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


@dataclass(frozen=True)
class Text:
    """A value as it is written, without its quotes."""

    content: str
    quoted: bool
    place: Place


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True)
class Table:
    """A mapping; each key once."""

    entries: tuple[tuple[Text, Node], ...]
    place: Place


@dataclass(frozen=True)
class Broken:
    """What a fault has been noted for already."""

    place: Place


Node = Text | Items | Table | Broken
