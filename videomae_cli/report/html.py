"""Records as one HTML page that needs nothing else: a card for each video, filters, thumbnails, timelines.

The page is `page.html` with `page.css` and `page.js` put in. Each record is a block of JSON of its own, so the page is
written record by record and is valid wherever it ends. The script makes cards of those that are looked at.

Names of files and labels are hostile. No text of theirs is markup: JSON is written without `<`, `>` and `&`, the script
sets text only, and the page's policy lets no other script, style or request through.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from ..inference.records import Failure
from .text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..inference.records import Record

NUM_THUMBNAILS, NUM_THUMBNAILS_OF_LONG = 4, 8
"""Of each video, and of one that is cut into windows: its card is wider."""

_NOT_IN_MARKUP = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&"})
_RECORDS = "<!--records-->"


class PageRenderer:
    """Turns records into the text of the page, piece by piece: `head()`, `record(r)` for each, `tail()`.

    Args:
        title: of the page.
        about: what is said of the run in the head of the page, by what it is called: model, sampling and the like.
        num_inputs: how many records there will be, unless the run is interrupted.
        num_skipped: inputs that an earlier run did, and that have no card here.

    Attributes:
        ends_anywhere: as for `formats.Renderer`.
    """

    ends_anywhere = True

    def __init__(self, title: str, about: Mapping[str, str], *, num_inputs: int, num_skipped: int = 0) -> None:
        page, style, script = (_asset(f"page.{suffix}") for suffix in ("html", "css", "js"))
        run = {"num_inputs": num_inputs, "num_skipped": num_skipped}
        values = {
            "title": _text(title),
            "about": "".join(
                f"<div><dt>{_text(key)}</dt><dd>{_text(value)}</dd></div>" for key, value in about.items()
            ),
            "policy": f"script-src '{_digest(script)}'; style-src '{_digest(style)}'",
            "run": _json(run),
            "style": style,
            "script": script,
        }
        head, tail = page.split(_RECORDS)
        self._head, self._tail = _fill(head, values), _fill(tail, values)

    def head(self) -> str:
        """What stands before the first record."""
        return self._head

    def record(self, record: Record, more: Mapping[str, Any] | None = None) -> str:
        """The block of one record.

        Args:
            record: what is said of one input.
            more: of no use here.
        """
        return _block(card(record.to_dict(), () if isinstance(record, Failure) else record.thumbnails))

    def values(self, values: Mapping[str, Any]) -> str:
        """The block of a record that is plain values, and has no thumbnails.

        Args:
            values: as `to_dict` gives them.
        """
        return _block(card(values))

    def tail(self) -> str:
        """What stands after the last record."""
        return self._tail


def card(values: Mapping[str, Any], thumbnails: Sequence[tuple[int, bytes]] = ()) -> dict[str, Any]:
    """What the page says of one input, as plain values: of a long video its segments, and not every window.

    Args:
        values: of the record.
        thumbnails: number and JPEG of some of its frames.
    """
    shown: dict[str, Any] = {"path": printable(values["path"]), "status": values["status"]}
    if values["status"] == "error":
        return shown | {"kind": values["kind"], "message": printable(values["message"])}
    shown |= {
        "predictions": [{"label": printable(p["label"]), "score": p["score"]} for p in values["predictions"]],
        "video": values["video"],
        "warnings": [printable(warning) for warning in values["warnings"]],
        "thumbnails": [[number, base64.b64encode(jpeg).decode()] for number, jpeg in thumbnails],
    }
    if "segments" in values:
        shown["segments"] = [
            [s["start_seconds"], s["end_seconds"], None if s["label"] is None else printable(s["label"]), s["score"]]
            for s in values["segments"]
        ]
    return shown


def _block(values: Mapping[str, Any]) -> str:
    return f'<script type="application/json" class="record">{_json(values)}</script>\n'


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _fill(template: str, values: Mapping[str, str]) -> str:
    """Put values in for `{{name}}`; what they hold is not looked at again."""
    first, *rest = template.split("{{")
    parts = (part.partition("}}") for part in rest)
    return first + "".join(values[name] + after for name, _, after in parts)


def _text(value: str) -> str:
    """As text in HTML."""
    return html.escape(printable(value))


def _json(values: Mapping[str, Any]) -> str:
    """As the content of a script element: ASCII, and nothing in it that could end the element."""
    return json.dumps(values, allow_nan=False, separators=(",", ":")).translate(_NOT_IN_MARKUP)


def _digest(content: str) -> str:
    """By what a content security policy knows an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
