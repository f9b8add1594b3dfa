"""The `videomae` command: its sub-commands, declared lazily, behind one error boundary."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import __version__
from .benchmark import benchmark
from .boundary import leave, run
from .classify import classify
from .evaluate import evaluate
from .help import GroupedCommand
from .merge import merge
from .models import models
from .train import finetune, pretrain

app = typer.Typer(
    name="videomae",
    help="Classify the action in videos, and train models that do, with VideoMAE.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"videomae {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Classify the action in videos, and train models that do, with VideoMAE."""


# An option that is not given may come from the environment: --batch-size from VIDEOMAE_BATCH_SIZE.
for command in (classify, merge, finetune, pretrain, evaluate, benchmark):
    app.command(cls=GroupedCommand, context_settings={"auto_envvar_prefix": "VIDEOMAE"})(command)
app.add_typer(models, name="models")


def main() -> None:
    """The console entry point: run, and exit with the code that RELIABILITY promises."""
    leave(run(app, sys.argv[1:]))
