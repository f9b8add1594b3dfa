"""Options that several commands share, each declared once, and the parsers of their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError


def option(*names: str, help: str, panel: str, metavar: str = "") -> Any:
    """A typer option, laid out as the house does: a panel for each topic, no noise about environment variables."""
    return typer.Option(
        *names, help=help, rich_help_panel=panel, metavar=metavar, show_envvar=False, show_default=False
    )


WHAT, MODEL, OUTPUT, MACHINE, TALK = "Input and sampling", "Model", "Output", "Machine", "Messages"

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUTS",
        help="Video files, folders (searched recursively) and quoted glob patterns.",
        show_envvar=False,
    ),
]
FilesFrom = Annotated[
    str | None, option(panel=WHAT, metavar="FILE|-", help="Also the files in this list, one per line; - is stdin.")
]
Views = Annotated[
    str,
    option(
        panel=WHAT, metavar="TxS", help="Temporal x spatial views, averaged: 1x1, or 5x3 as in the paper. Default 1x1."
    ),
]
Stride = Annotated[
    str,
    option(
        panel=WHAT,
        metavar="N",
        help="Look at every N-th frame. Default: as the checkpoint was trained (4, or equal segments of the video).",
    ),
]
Shard = Annotated[
    str | None,
    option(
        panel=WHAT,
        metavar="I/N|auto",
        help="Take only the I-th of N parts of the inputs; auto asks Slurm, Kubernetes or torchrun. See merge.",
    ),
]
AllowImages = Annotated[bool, option("--allow-images", panel=WHAT, help="Take still images as videos of one frame.")]
Strict = Annotated[bool, option("--strict", panel=WHAT, help="Count truncated and partly corrupt videos as failed.")]
MaxPixels = Annotated[
    str, option(panel=WHAT, metavar="N", help="Refuse videos with more pixels in a frame. Default 35389440 (8K).")
]
Model = Annotated[
    str,
    option(
        "--model",
        "-m",
        panel=MODEL,
        metavar="NAME|PATH",
        help="Name from `videomae models`, hub id, checkpoint folder, .safetensors or .pth file. Default base-k400.",
    ),
]
Revision = Annotated[str | None, option(panel=MODEL, metavar="NAME", help="Branch, tag or commit of a hub id.")]
Offline = Annotated[bool, option("--offline", panel=MODEL, help="Use cached models only; make no request.")]

TopK = Annotated[
    str,
    option(
        "--top-k",
        "-k",
        panel=OUTPUT,
        metavar="N",
        help="Labels for each video. Default 5; in a text pipe without --report 1.",
    ),
]
Format = Annotated[
    str | None,
    option(
        "--format",
        "-f",
        panel=OUTPUT,
        metavar="NAME",
        help="text, json, jsonl, csv, parquet; with --window srt, vtt too. Default: the suffix of --output, else text.",
    ),
]
Output = Annotated[
    Path | None,
    option(
        "--output",
        "-o",
        panel=OUTPUT,
        metavar="FILE",
        help="Write here instead of to stdout. {shard} in the name stands for such as 1-of-4.",
    ),
]
Resume = Annotated[
    bool,
    option(
        "--resume",
        panel=OUTPUT,
        help="Go on with a .jsonl output: skip the inputs that it holds, failed ones too, unless the file changed.",
    ),
]
RetryFailed = Annotated[
    bool, option("--retry-failed", panel=OUTPUT, help="With --resume: try the inputs again that failed.")
]
Overwrite = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace an output file that exists.")]

Device = Annotated[
    str,
    option(panel=MACHINE, metavar="NAME", help="cpu, cuda, cuda:N, mps, or auto: an accelerator when there is one."),
]
Dtype = Annotated[
    str,
    option(
        panel=MACHINE,
        metavar="NAME",
        help="float32, bfloat16, float16, or auto: float16 on CUDA, else float32.",
    ),
]
Attention = Annotated[str, option(panel=MACHINE, metavar="NAME", help="eager, sdpa, or auto: what is fastest here.")]
BatchSize = Annotated[
    str,
    option(
        "--batch-size",
        "-b",
        panel=MACHINE,
        metavar="N",
        help="At most so many views in one forward pass, of several videos. Default auto: as suits the model.",
    ),
]
Workers = Annotated[
    str,
    option(
        "--workers",
        "-j",
        panel=MACHINE,
        metavar="N",
        help="Videos decoded at once, a core for each. Default auto: all cores, at most 16.",
    ),
]
DecodeTimeout = Annotated[
    str,
    option(
        panel=MACHINE,
        metavar="SECONDS",
        help="Stop a decoder that takes longer over one video; with --window, one that stands still. Default 60.",
    ),
]
Ray = Annotated[
    bool,
    option(
        "--ray",
        panel=MACHINE,
        help="Share the work among actors of Ray: of the cluster at RAY_ADDRESS, else of this machine.",
    ),
]
Unordered = Annotated[
    bool, option("--unordered", panel=OUTPUT, help="Write each record as soon as it is known, in any order.")
]

Quiet = Annotated[bool, option("--quiet", "-q", panel=TALK, help="Only data and errors.")]
Verbose = Annotated[bool, option("--verbose", "-v", panel=TALK, help="Tell what is loaded and which frames are seen.")]
Debug = Annotated[
    bool, option("--debug", panel=TALK, help="Show the traceback of an error that ends the run, or of a bug.")
]


# ---- of merge --------------------------------------------------------------------------------------------------------

Shards = Annotated[
    list[Path],
    typer.Argument(
        metavar="SHARDS", help="The .jsonl outputs of all shards of a run, in any order.", show_envvar=False
    ),
]
MergeOutput = Annotated[
    Path,
    option("--output", "-o", panel=OUTPUT, metavar="FILE", help="Write here. The suffix names the format."),
]
MergeFormat = Annotated[
    str | None,
    option("--format", "-f", panel=OUTPUT, metavar="NAME", help="jsonl, json, csv or parquet. Default: the suffix."),
]


# ---- of evaluate -----------------------------------------------------------------------------------------------------

EvaluateData = Annotated[
    str,
    option(
        "--data",
        panel=WHAT,
        metavar="PATH",
        help="Videos with their classes: a folder with a folder for each class, or a list of `path label`.",
    ),
]
Root = Annotated[
    str | None,
    option("--root", panel=WHAT, metavar="FOLDER", help="What paths in a list are relative to. Default: its folder."),
]
SamplingName = Annotated[
    str,
    option(
        "--sampling",
        panel=WHAT,
        metavar="NAME",
        help="dense, segments, or auto: as the checkpoint was trained.",
    ),
]
EvaluateFormat = Annotated[
    str, option("--format", "-f", panel=OUTPUT, metavar="NAME", help="text or json, of stdout. Default text.")
]
OutputFolder = Annotated[
    Path | None,
    option(
        "--output",
        "-o",
        panel=OUTPUT,
        metavar="FOLDER",
        help="Also write records.jsonl, confusion.csv, confusion.svg and metrics.json there.",
    ),
]
EvaluateOverwrite = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace these files where they exist.")]


def parse_views(text: str) -> tuple[int, int]:
    """`"5x3"` -> (5, 3): temporal and spatial views.

    Raises:
        UsageError: it is not two positive numbers with an x between.
    """
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text.strip(), re.ASCII)
    if not match:
        raise UsageError(f"--views is {text!r}", "Write temporal x spatial views, such as 1x1 or 5x3 (at most 99x99).")
    return int(match[1]), int(match[2])


def parse_count(option: str, text: str) -> int | None:
    """`"auto"` -> None, `"4"` -> 4.

    Raises:
        UsageError: it is neither "auto" nor a positive number.
    """
    if text == "auto":
        return None
    if not re.fullmatch(r"[1-9]\d{0,11}", text, re.ASCII):
        raise UsageError(f"{option} is {text!r}", "Give a positive number, or auto.")
    return int(text)


def parse_seconds(option: str, text: str) -> float:
    """`"2.5"` -> 2.5.

    Raises:
        UsageError: it is not a positive number of seconds.
    """
    if not re.fullmatch(r"\d{1,9}(?:\.\d{1,6})?", text, re.ASCII) or not float(text):
        raise UsageError(f"{option} is {text!r}", "Give a number of seconds above 0, such as 60.")
    return float(text)


def parse_names(option: str, text: str, choices: Sequence[str]) -> tuple[str, ...]:
    """`"a,b"` -> ("a", "b"), each once.

    Raises:
        UsageError: one is none of the choices.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in choices:
            raise UsageError(f"{option} is {text!r}", f"Choose from {', '.join(choices)}; several with commas between.")
    return names


def parse_counts(option: str, text: str) -> tuple[int, ...]:
    """`"1,8"` -> (1, 8), each once.

    Raises:
        UsageError: one is not a positive number.
    """
    counts = [part.strip() for part in text.split(",")]
    for count in counts:
        if not re.fullmatch(r"[1-9]\d{0,11}", count, re.ASCII):
            raise UsageError(f"{option} is {text!r}", "Give positive numbers with commas between, such as 1,2,4,8.")
    return tuple(dict.fromkeys(map(int, counts)))


def parse_percent(option: str, text: str) -> float:
    """`"5%"` or `"5"` -> 0.05.

    Raises:
        UsageError: it is no number of percent, 0 or more.
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?%?", text.strip(), re.ASCII)
    if not match:
        raise UsageError(f"{option} is {text!r}", "Give a share in percent, such as 5%.")
    return float(match[1]) / 100
