"""A value as it is written -> a value of the declared type, without YAML's traps."""

from __future__ import annotations

import json
import math
import re
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from .nodes import Items, Node, Text

INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,17})", re.ASCII)
NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")  # to YAML; only the first of each is taken
WORDS = frozenset({*TRUE, *FALSE, "null", "none", "~", ""})
"""What is no text unless it is quoted, in capitals or not: YAML or the reader takes it for a truth value or nothing."""


class MismatchError(ValueError):
    """A value is not of the declared type; the message completes "it must be"."""


def convert(node: Node, declared: Any) -> object:
    """The value of a node.

    Args:
        node: from a file or an option.
        declared: the annotation of a field: bool, int, float, str, a Literal of strings, a tuple, or a union of these.

    Raises:
        MismatchError: it is not of that type; says what it must be, and what may have been meant.
    """
    for member in _members(declared):
        try:
            return _convert(node, member)
        except MismatchError:
            continue
    raise MismatchError(describe(declared) + _advice(node, declared))


def describe(declared: Any) -> str:
    """A type in words, such as "an integer or null"."""
    return " or ".join(_describe(member) for member in _members(declared))


def show(node: Node) -> str:
    """What was written, for a message."""
    if isinstance(node, Text):
        return json.dumps(node.content[:60], ensure_ascii=False)
    return "a list" if isinstance(node, Items) else "a section"


def _members(declared: Any) -> tuple[Any, ...]:
    """The types of a union, null first: what is written as null is never text."""
    if get_origin(declared) not in (Union, UnionType):
        return (declared,)
    return tuple(sorted(get_args(declared), key=lambda member: member is not NoneType))


def _describe(declared: Any) -> str:
    if get_origin(declared) is Literal:
        *first, last = get_args(declared)
        return f"{', '.join(first)} or {last}" if first else str(last)
    if get_origin(declared) is tuple:
        kinds = get_args(declared)
        return "a list of numbers, [a, b, ...]" if Ellipsis in kinds else f"a list of {len(kinds)} numbers, [a, b]"
    return {bool: "true or false", int: "an integer", float: "a finite number", str: "text", NoneType: "null"}[declared]


def _convert(node: Node, declared: Any) -> object:
    """As `convert`, for a type that is no union."""
    if get_origin(declared) is tuple:
        return _convert_list(node, declared)
    if isinstance(node, Text):
        content, plain = node.content, not node.quoted
        word = content.lower()
        if declared is NoneType and plain and word in ("null", "~", ""):
            return None
        if declared is bool and plain and word in ("true", "false"):
            return word == "true"
        if declared is int and plain and INTEGER.fullmatch(content):
            return int(content)
        if declared is float and plain and NUMBER.fullmatch(content) and math.isfinite(number := float(content)):
            return number
        if declared is str and not (plain and word in WORDS):
            return content
        if get_origin(declared) is Literal and content in get_args(declared):
            return content
    raise MismatchError(_describe(declared))


def _convert_list(node: Node, declared: Any) -> tuple[object, ...]:
    kinds = get_args(declared)
    if isinstance(node, Items) and node.items:
        kinds = kinds[:1] * len(node.items) if Ellipsis in kinds else kinds
        if len(kinds) == len(node.items):
            return tuple(convert(item, kind) for item, kind in zip(node.items, kinds, strict=True))
    raise MismatchError(_describe(declared))


def _advice(node: Node, declared: Any) -> str:
    """What may have been meant, such as "; write 10"; or nothing."""
    if not isinstance(node, Text):
        return ""
    members, word = _members(declared), node.content.lower()
    choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    if close := get_close_matches(word, choices, 1):
        return f'; did you mean "{close[0]}"?'
    if bool in members and word in (*TRUE, *FALSE):
        return f"; write {str(word in TRUE).lower()}"
    if NoneType in members and word in ("none", "null", "~"):
        return "; write null for none"
    if str in members:
        return f'; put quotes around it if it is meant: "{node.content}"'
    try:
        value = float(node.content.replace("_", ""))
    except ValueError:
        return ""
    if int in members and value.is_integer() and abs(value) < 1e15:
        return f"; write {int(value)}"
    return f"; write {value!r}" if float in members and math.isfinite(value) else ""
