"""Class names for a checkpoint that does not carry its own."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# The published class lists, by their length: a checkpoint that only says LABEL_0 ... LABEL_399 was trained on one.
PUBLISHED_LISTS = {
    400: "kinetics400",
    174: "something_something_v2",
    101: "ucf101",
    51: "hmdb51",
}


def read_published_list(name: str) -> tuple[str, ...]:
    """The class names of a published data set, in the order of its checkpoints' outputs.

    Args:
        name: one of the values of `PUBLISHED_LISTS`.
    """
    text = (files("videomae_cli") / "assets" / "labels" / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def name_classes(id2label: Mapping[int, str], num_labels: int) -> tuple[tuple[str, ...], str | None]:
    """The names to print for a classifier's outputs.

    Args:
        id2label: the checkpoint's own names, by class index; may be empty or placeholders (`LABEL_7`).
        num_labels: how many outputs the classifier has.

    Returns:
        `num_labels` names, and a warning when they are not the checkpoint's own (None when they are).
    """
    own = tuple(str(id2label.get(index, f"LABEL_{index}")) for index in range(num_labels))
    if not all(re.fullmatch(r"LABEL_\d+", name) for name in own):
        return own, None
    if num_labels not in PUBLISHED_LISTS:
        return own, "the checkpoint does not name its classes; labels are printed as LABEL_<index>"
    name = PUBLISHED_LISTS[num_labels]
    warning = f"the checkpoint does not name its {num_labels} classes; the {name} list is used"
    return read_published_list(name), warning
