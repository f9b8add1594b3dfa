"""Options of `pretrain` and `finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from .options import MACHINE, MODEL, OUTPUT, TALK, WHAT, option

RECIPE = "Recipe"

ConfigName = Annotated[
    str | None,
    option(
        "--config",
        "-c",
        panel=RECIPE,
        metavar="NAME|FILE",
        help="A recipe by name, such as k400-base or small, or a YAML file. Default: the command's own values.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    option(
        "--set", panel=RECIPE, metavar="KEY=VALUE", help="Change one value, such as optim.lr=5e-4. May be repeated."
    ),
]
PrintConfig = Annotated[
    bool, option("--print-config", panel=RECIPE, help="Print the configuration that comes of it all, and exit.")
]
Data = Annotated[
    str | None,
    option(
        "--data",
        panel=WHAT,
        metavar="PATH",
        help="Videos to learn from: a folder with a folder for each class, or a list of `path label`.",
    ),
]
Unlabelled = Annotated[
    str | None,
    option(
        "--data", panel=WHAT, metavar="PATH", help="Videos to learn from: a folder, searched recursively, or a list."
    ),
]
Validation = Annotated[
    str | None,
    option(
        "--validation",
        panel=WHAT,
        metavar="PATH",
        help="Videos to measure on, likewise. Default: part of --data, held back (data.validation_fraction).",
    ),
]
Init = Annotated[
    str | None,
    option(
        "--init",
        panel=MODEL,
        metavar="NAME|PATH",
        help="Begin with the weights of a checkpoint: alias, hub id, folder, .safetensors or .pth file.",
    ),
]
RunFolder = Annotated[
    Path | None,
    option("--output", "-o", panel=OUTPUT, metavar="FOLDER", help="Where the run and the trained model go."),
]
ResumeRun = Annotated[
    bool, option("--resume", panel=OUTPUT, help="Go on from the last checkpoint in --output; from the start if none.")
]
DryRun = Annotated[
    bool,
    option(
        "--dry-run",
        panel=OUTPUT,
        help="Check that the videos open, show what would be trained, overfit one batch, and write nothing.",
    ),
]
TrainDevice = Annotated[
    str | None,
    option(
        "--device", panel=MACHINE, metavar="NAME", help="cpu, cuda, mps, or auto: an accelerator when there is one."
    ),
]
Quiet = Annotated[bool, option("--quiet", "-q", panel=TALK, help="Only errors.")]
