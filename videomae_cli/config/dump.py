"""A configuration as text, and one against another."""

from __future__ import annotations

import json
from dataclasses import asdict

from .convert import WORDS
from .schema import Config, values


def dump(config: Config) -> str:
    """The whole configuration as YAML, which `load` reads as an equal one, and any other reader of YAML likewise."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Tuples in one line, and quotes around what would not be read as text."""

    def text_node(dumper: Dumper, text: str) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if text.lower() in WORDS else None)

    def tuple_node(dumper: Dumper, numbers: tuple[float, ...]) -> yaml.Node:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", numbers, flow_style=True)

    Dumper.add_representer(str, text_node)
    Dumper.add_representer(tuple, tuple_node)
    return yaml.dump(asdict(config), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=2**20)


def differences(old: Config, new: Config) -> list[str]:
    """What changed from one configuration to another.

    Returns:
        A line for each value, such as "optim.lr: 0.001 -> 0.0005", in the order of the file.
    """
    before, after = values(old), values(new)
    names = before | after  # of two commands, if the folder was another one's: what one lacks is null
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return [f"{name}: {json.dumps(was)} -> {json.dumps(now)}" for name, (was, now) in pairs.items() if was != now]
