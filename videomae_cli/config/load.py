"""A recipe or file, `--set` and options -> one configuration; or all that is wrong with them, at once.

What stands later wins: defaults, file, `--set` in its order, other options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, overload

from ..errors import UsageError
from .convert import MismatchError, convert, show
from .faults import contradictions, out_of_range
from .nodes import Broken, Fault, Items, Node, Place, Table, Text
from .recipes import Kind, find, read
from .schema import Config, FinetuneConfig, PretrainConfig, declared, with_values

CLASSES: dict[Kind, type[PretrainConfig] | type[FinetuneConfig]] = {
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
}

MAX_TOLD = 50
"""Faults that are told: a file that has more is no configuration."""


@overload
def load(
    kind: Literal["pretrain"],
    source: str | None = None,
    overrides: Sequence[str] = (),
    arguments: Mapping[str, object] | None = None,
) -> PretrainConfig: ...
@overload
def load(
    kind: Literal["finetune"],
    source: str | None = None,
    overrides: Sequence[str] = (),
    arguments: Mapping[str, object] | None = None,
) -> FinetuneConfig: ...
def load(
    kind: Kind,
    source: str | None = None,
    overrides: Sequence[str] = (),
    arguments: Mapping[str, object] | None = None,
) -> Config:
    """Put a configuration together.

    Args:
        kind: the command that it is for.
        source: the name of a recipe, or a YAML file; None for the defaults.
        overrides: `--set`'s values, "section.key=value". A text is taken as it stands (quotes around it are
            taken off); a list is written [a, b].
        arguments: of other options: a value of the declared type by dotted name; None stands for not given.

    Raises:
        UsageError: there is no such recipe or file; or values are wrong. The message has a line for each, with
            file:line:column or the option, the value, what it must be, and often what may have been meant.
    """
    reading = _Reading(kind)
    if source is not None:
        from .document import read_yaml

        path = find(kind, source)
        table, faults = read_yaml(read(path), str(path))
        reading.faults += faults
        reading.take_table(table)
    for override in overrides:
        reading.take_override(override)
    for name, value in (arguments or {}).items():
        if value is not None:
            reading.put(name, value, Place("command line"))
    return reading.config()


class _Reading:
    """Values and faults, as they come in; the last value of a name counts."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.other: Kind = "pretrain" if kind == "finetune" else "finetune"
        self.declared, self.others = declared(CLASSES[kind]), declared(CLASSES[self.other])
        self.keys: dict[str, list[str]] = {"": list(dict.fromkeys(name.split(".")[0] for name in self.declared))}
        for name in self.declared:
            if "." in name:
                self.keys.setdefault(name.split(".")[0], []).append(name.split(".")[1])
        self.values: dict[str, object] = {}
        self.places: dict[str, Place] = {}  # of `values`, in the order in which they came
        self.faults: list[Fault] = []
        self.faulty: set[str] = set()  # fields that have no value, or one that cannot be

    def put(self, name: str, value: object, place: Place) -> None:
        """A value of the declared type."""
        assert name in self.declared, name
        self.values[name] = value
        self.places.pop(name, None)
        self.places[name] = place

    def take_table(self, table: Table, section: str = "") -> None:
        """All entries of the file, or of a section."""
        for key, node in table.entries:
            name = f"{section}.{key.content}" if section else key.content
            if "." not in key.content and name in self.declared:
                self.take(name, node)
            elif section or not name or name not in self.keys:
                self.fault(key.place, self.unknown(name))
            elif isinstance(node, Table):
                self.take_table(node, name)
            elif isinstance(node, Items) or (isinstance(node, Text) and node.content):  # nothing is no fault
                keys = ", ".join(self.keys[name])
                self.fault(node.place, f"{name} is {show(node)}; it must be a section, of the keys {keys}")

    def take_override(self, override: str) -> None:
        """One value of `--set`."""
        place = Place(f"--set {override}")
        name, _, text = (part.strip() for part in override.partition("="))
        if not text:
            self.fault(place, "there is no value; write section.key=value, such as optim.lr=1e-3")
        elif name in self.declared:
            self.take(name, _override_node(text, place))
        elif name and name in self.keys:
            inner = ", ".join(f"{name}.{key}" for key in self.keys[name])
            self.fault(place, f"{name} is a section; set one of {inner}")
        else:
            self.fault(place, self.unknown(name))

    def take(self, name: str, node: Node) -> None:
        """The value of one field, as it is written."""
        try:
            if not isinstance(node, Broken):
                return self.put(name, convert(node, self.declared[name]), node.place)
        except MismatchError as mismatch:
            self.fault(node.place, f"{name} is {show(node)}; it must be {mismatch}")
        self.faulty.add(name)
        return None

    def fault(self, place: Place, text: str) -> None:
        """Note what is wrong at a place."""
        self.faults.append(Fault(place, text))

    def unknown(self, name: str) -> str:
        """What is wrong with a key that is none."""
        section, _, key = name.rpartition(".")
        if name in self.declared:
            return f'"{name}" is how --set says it; here, write {key} in the section {section}'
        if any(f"{known}.".startswith(f"{name}.") for known in self.others):
            return f'"{name}" is a key of {self.other}, not of {self.kind}'
        same = [known for known in self.declared if known.rpartition(".")[2] == key]
        close = same or get_close_matches(name, [*self.declared, *filter(None, self.keys)], 1)
        meant = f' (did you mean "{close[0]}"?)' if close else ""
        place = section if section in self.keys else ""
        keys = f"the keys {f'of {place}' if place else 'and sections'} are {', '.join(self.keys[place])}"
        return f'there is no key "{name}"{meant}; {keys}'

    def config(self) -> Config:
        """The configuration.

        Raises:
            UsageError: there were faults, or its values cannot be.
        """
        defaults = CLASSES[self.kind]()
        config = with_values(defaults, self.values)
        for name, wanted in out_of_range(config):
            self.faulty.add(name)
            self.fault(self.places[name], f"{name} is {json.dumps(self.values[name])}; it must be {wanted}")
        sound = {name: value for name, value in self.values.items() if name not in self.faulty}
        for names, text in contradictions(with_values(defaults, sound)):
            if not self.faulty & set(names):
                given = [place for name, place in self.places.items() if name in names]
                self.fault(given[-1], text)
        if self.faults:
            ordered = sorted(
                self.faults, key=lambda fault: (not fault.place.line, fault.place.line, fault.place.column)
            )
            hint = f"`videomae {self.kind} --print-config` prints every key with its value."
            lines = [str(fault) for fault in ordered[:MAX_TOLD]]
            if len(ordered) > MAX_TOLD:
                lines.append(f"and {len(ordered) - MAX_TOLD} more")
            raise UsageError("\n".join(lines), hint)
        return config


def _override_node(text: str, place: Place) -> Node:
    """The value of `--set`: [a list], "a text in quotes", or what it says."""
    if text[:1] + text[-1:] == "[]":
        return Items(tuple(Text(part.strip(), False, place) for part in text[1:-1].split(",")), place)
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return Text(text[1:-1] if quoted else text, quoted, place)
