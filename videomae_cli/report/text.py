"""Records as text: a table with bars for a person, tab-separated lines for a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..inference.records import Failure

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ..inference.records import Record

BAR_WIDTH = 20  # characters of a full score bar


def printable(text: str) -> str:
    """`text` on one line of valid UTF-8: control characters and bytes that are not UTF-8 become backslash escapes.

    A file's name may hold anything but NUL and a slash: newlines that would forge a second record, escape sequences
    that would drive the terminal.
    """
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return encodable(escaped)


def encodable(text: str) -> str:
    """`text` as valid UTF-8: bytes of a name that are not become backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def render_lines(record: Record) -> str:
    """`path<TAB>label<TAB>score` for each label of the record; nothing for a failure (it is told on stderr)."""
    if isinstance(record, Failure):
        return ""
    path = printable(record.path)
    return "".join(f"{path}\t{printable(p.label)}\t{p.score:.4f}\n" for p in record.predictions)


def render_table(record: Record, console: Console) -> str:
    """The record as a small table with score bars, as wide and as colourful as `console` allows.

    Args:
        record: what is said of one input.
        console: where it will be shown; nothing is printed to it here.
    """
    if isinstance(record, Failure):
        return ""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for prediction in record.predictions:
        table.add_row(f"{prediction.score:.4f}", bar(prediction.score), Text(printable(prediction.label)))
    with console.capture() as capture:
        console.print(Text(printable(record.path), style="bold"))
        console.print(table)
        console.print()
    return capture.get()


def bar(score: float) -> Text:
    """A score in [0, 1] as a bar."""
    from rich.text import Text

    filled = round(BAR_WIDTH * min(max(score, 0.0), 1.0))
    return Text("━" * filled, style="green") + Text("─" * (BAR_WIDTH - filled), style="bright_black")
