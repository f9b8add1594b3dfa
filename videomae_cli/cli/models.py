"""`videomae models`: which models have a name, which are on this machine; and to fetch one ahead of its use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ..report.text import printable
from ..weights.catalogue import BUILT_IN, KNOWN_MODELS, KnownModel
from . import options as opt
from .help import GroupedCommand
from .progress import Progress
from .speaker import Speaker, stdout_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

FORMATS = ("text", "json")
TITLES = ("name", "size", "licence", "state", "hub id")

Format = Annotated[
    str, opt.option("--format", "-f", panel=opt.OUTPUT, metavar="NAME", help="text or json. Default text.")
]
Names = Annotated[
    list[str],
    typer.Argument(metavar="NAMES", help="Names from `videomae models`, or hub ids (owner/name).", show_envvar=False),
]

models = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Listed:
    """A model, and how much of it is on this machine.

    Args:
        model: what is known of it.
        state: "built-in", "cached", "partial" or "absent".
        num_bytes: of it on this machine.
    """

    model: KnownModel
    state: str
    num_bytes: int

    def cells(self) -> tuple[str, ...]:
        """A text for each of `TITLES`."""
        model, here = self.model, _size(self.num_bytes)
        states = {"built-in": "built in", "cached": f"cached, {here}", "partial": f"{here} cached, not all"}
        size = f"about {_size(model.download_bytes)}" if model.repo else here
        return model.name, size, model.licence, states.get(self.state, "not cached"), model.repo or "-"

    def to_dict(self) -> dict[str, str | int | None]:
        """As JSON has it; `download_bytes` is computed from the architecture."""
        model = self.model
        return {
            "name": model.name,
            "hub_id": model.repo,
            "classes": model.names,
            "num_classes": model.num_classes,
            "licence": model.licence,
            "download_bytes": model.download_bytes,
            "state": self.state,
            "local_bytes": self.num_bytes,
        }


@models.callback(invoke_without_command=True)
def list_models(context: typer.Context, format: Format = "text") -> int:
    """List the models that have names, and fetch them ahead of their use.

    Size, licence, whether it is on this machine, and hub id; a table on a terminal, tab-separated lines in a pipe, or
    --format json. No request is made: sizes are computed from the architecture. Exit code 0; 2: usage.
    """
    if context.invoked_subcommand:
        return 0
    (format_,) = opt.parse_names("--format", format, FORMATS)
    listed = [_look_for(model) for model in KNOWN_MODELS]
    if format_ == "json":
        print(json.dumps([item.to_dict() for item in listed], indent=2))
    elif console := stdout_terminal():
        show_table([item.cells() for item in listed], console)
    else:
        for item in listed:
            print(*item.cells(), sep="\t")
    return 0


@models.command(cls=GroupedCommand, context_settings={"auto_envvar_prefix": "VIDEOMAE"})
def pull(
    names: Names,
    revision: opt.Revision = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Fetch models ahead of their use, into the cache of the Hugging Face Hub.

    What is cached already is not fetched again. A download that was broken off, even by kill -9 or a power cut, is gone
    on with where it stopped, at most 10 MB earlier; whole files are verified by their SHA-256.
    Exit code 0: all are there; 2: usage; 3: a model cannot be found or fetched; 4: disk; 130, 143: stopped by SIGINT,
    SIGTERM.
    """
    from ..weights.hub import pull as fetch

    speaker = Speaker(quiet=quiet, verbose=False, debug=debug)
    for name in dict.fromkeys(names):
        if name == BUILT_IN.name:
            speaker.note(f"{name}: built in, there is nothing to fetch")
            continue
        with Progress(quiet=quiet) as progress:
            arrivals = Arrivals(progress)
            files = fetch(name, revision=revision, report=arrivals.tell)
        size = _size(sum(path.stat().st_size for path in files.weights))
        speaker.note(f"{name}: {'fetched' if arrivals.file else 'already cached'}, {size}")
    return 0


def show_table(rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print the list for a person.

    Args:
        rows: a text for each of `TITLES`.
        console: where to.
    """
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in TITLES:
        is_long = title == "hub id"  # it alone is broken where the terminal is narrow
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=not is_long, overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    console.print(table)


def _look_for(model: KnownModel) -> Listed:
    if model.folder:
        return Listed(model, "built-in", sum(path.stat().st_size for path in model.folder.iterdir()))
    from ..weights.hub import measure_cache

    is_whole, num_bytes = measure_cache(model.name)
    return Listed(model, "cached" if is_whole else "partial" if num_bytes else "absent", num_bytes)


def _size(num_bytes: int) -> str:
    """In powers of ten, as the hub writes sizes."""
    if num_bytes >= 10**9:
        return f"{num_bytes / 10**9:.1f} GB"
    return f"{num_bytes / 10**6:.{0 if num_bytes >= 10**7 else 1}f} MB"


class Arrivals:
    """Tells how much of one file after the other has arrived.

    Args:
        progress: shows it.

    Attributes:
        file: the name of the last one; empty where nothing had to come.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.file = ""

    def tell(self, file: str, num_bytes: int, total_bytes: int) -> None:
        """Some more of a file has arrived.

        Args:
            file: its name.
            num_bytes: that are here.
            total_bytes: that it will have.
        """
        if file != self.file:
            self.file = file
            self._progress.begin(file)
        self._progress.report(num_bytes, total_bytes, f"{_size(num_bytes)} of {_size(total_bytes)}")
