"""A YAML file as it is written: values stay text, every node knows its place, and no object of Python is built.

YAML's own reading of values falls into traps (`1e-4` is a string, `on` is true, `010` is 8, the last of two equal keys
wins), so that only PyYAML's events are used; `convert.py` reads a text by the type that is declared for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from .nodes import Broken, Fault, Items, Node, Place, Table, Text

MAX_DEPTH = 8
"""Levels of nesting that are read; a configuration has 3."""


def read_yaml(text: str, name: str) -> tuple[Table, list[Fault]]:
    """Read one YAML document.

    Tags, aliases and second documents are faults: a configuration needs none, and they are what runs code or unfolds
    to gigabytes elsewhere.

    Args:
        text: of the file.
        name: of the file, for messages.

    Returns:
        Its mapping, as far as it can be read (empty for an empty file), and what is wrong with the file.
    """
    reader = _Reader(name)
    root: Node | None = None
    try:
        root = reader.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(name, before.count("\n") + 1, len(before) - before.rfind("\n"))
        reader.faults.append(Fault(place, f"the character U+{ord(text[error.position]):04X} may not be in YAML"))
    except _TooDeepError as error:
        reader.faults.append(Fault(error.place, f"nested deeper than {MAX_DEPTH} levels"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
        reader.faults.append(Fault(place, "; ".join(filter(None, (error.problem, error.context, error.note)))))
    if isinstance(root, Table):
        return root, reader.faults
    if isinstance(root, Items) or (isinstance(root, Text) and (root.content or root.quoted)):
        reader.faults.append(Fault(root.place, "the file must be keys with values, such as `optim:`, not one value"))
    return Table((), Place(name)), reader.faults


class _TooDeepError(Exception):
    def __init__(self, place: Place) -> None:
        self.place = place


class _Reader:
    """Builds nodes of events, and notes faults."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []

    def document(self, events: Iterator[Any]) -> Node | None:
        """The only document of a stream; None for an empty one."""
        next(events)  # the stream's start
        if isinstance(next(events), yaml.StreamEndEvent):
            return None
        root = self._node(events, depth=1)
        next(events)  # the document's end
        if isinstance(after := next(events), yaml.DocumentStartEvent):
            self.faults.append(Fault(self._place(after), "a second document begins here; a file may hold one"))
        return root

    def _place(self, event: Any) -> Place:
        return Place(self.name, event.start_mark.line + 1, event.start_mark.column + 1)

    def _node(self, events: Iterator[Any], depth: int) -> Node | None:
        """The node that begins with the next event; None if that ends the list or mapping around."""
        event = next(events)
        if not isinstance(event, yaml.NodeEvent):
            return None
        place = self._place(event)
        if depth > MAX_DEPTH:
            raise _TooDeepError(place)
        node: Node = Broken(place)
        if isinstance(event, yaml.AliasEvent):
            self.faults.append(Fault(place, f"aliases such as *{event.anchor} are not read; write the value itself"))
        elif isinstance(event, yaml.ScalarEvent):
            node = Text(event.value, bool(event.style), place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Items(tuple(iter(lambda: self._node(events, depth + 1), None)), place)
        else:
            node = Table(tuple(self._entries(events, depth + 1)), place)
        if tag := getattr(event, "tag", None):
            self.faults.append(Fault(place, f"tags such as {_short_tag(tag)} are not read; write the value alone"))
            node = Broken(place)
        return node

    def _entries(self, events: Iterator[Any], depth: int) -> Iterator[tuple[Text, Node]]:
        lines: dict[str, int] = {}
        while (key := self._node(events, depth)) is not None:
            value = self._node(events, depth)
            assert value is not None  # a mapping ends between its entries only
            if not isinstance(key, Text):
                if not isinstance(key, Broken):
                    self.faults.append(Fault(key.place, "a key must be a word"))
            elif first := lines.get(key.content):
                self.faults.append(Fault(key.place, f'"{key.content}" is given twice; first in line {first}'))
            else:
                lines[key.content] = key.place.line
                yield key, value


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
