"""The labels of a long video as subtitles, which any player shows: SubRip (.srt) and WebVTT (.vtt)."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

from .text import printable

VTT_HEAD = "WEBVTT\n\n"


def render_srt(values: Mapping[str, Any]) -> str:
    """The segments that have a label as SubRip cues; nothing for a failure.

    SubRip knows no escapes. An arrow like the one between its times is written as a sign.

    Args:
        values: of a record.
    """
    return "".join(
        f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n{text.replace('-->', '→')}\n\n"
        for number, (start, end, text) in enumerate(_cues(values), start=1)
    )


def render_vtt(values: Mapping[str, Any]) -> str:
    """The segments that have a label as cues of WebVTT (after `VTT_HEAD`); nothing for a failure.

    Args:
        values: of a record.
    """
    return "".join(
        f"{clock(start, '.')} --> {clock(end, '.')}\n{html.escape(text, quote=False)}\n\n"
        for start, end, text in _cues(values)
    )


def clock(milliseconds: int, point: str = ".") -> str:
    """`3723004` -> `01:02:03.004`; more than 99 hours have more digits.

    Args:
        milliseconds: 0 or more.
        point: between seconds and milliseconds.
    """
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{rest:03d}"


def _cues(values: Mapping[str, Any]) -> Iterator[tuple[int, int, str]]:
    """Start and end in milliseconds, and one line of text that is not empty."""
    for segment in values.get("segments", ()):
        start, end = round(segment["start_seconds"] * 1000), round(segment["end_seconds"] * 1000)
        if segment["label"] is not None and start < end:
            yield start, end, printable(segment["label"]).strip() or "-"
