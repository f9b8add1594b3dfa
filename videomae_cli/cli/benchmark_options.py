"""Options of `benchmark` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import MODEL, OUTPUT, option

MEASURE = "What to measure"

BenchmarkVideos = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="VIDEOS",
        help="For --mode decode and e2e: files, folders and quoted glob patterns. Default: a synthetic clip.",
        show_envvar=False,
    ),
]
BenchmarkModel = Annotated[
    str,
    option(
        "--model",
        "-m",
        panel=MODEL,
        metavar="NAME|PATH",
        help="small, base, large or huge (random weights, no download), or a checkpoint as for classify. Default base.",
    ),
]
Mode = Annotated[
    str,
    option(
        panel=MEASURE,
        metavar="NAME",
        help="forward (default), train (one step), decode (file to pixels) or e2e (file to labels).",
    ),
]
Task = Annotated[
    str, option(panel=MEASURE, metavar="NAME", help="What --mode train trains: finetune (default) or pretrain.")
]
BatchSizes = Annotated[str | None, option(panel=MEASURE, metavar="N,...", help="Clips in one pass. Default 1,2,4,8.")]
Attentions = Annotated[
    str | None,
    option(
        "--attention",
        panel=MEASURE,
        metavar="NAME,...",
        help="eager, sdpa, auto (what classify runs). Default eager,sdpa; with --mode e2e auto.",
    ),
]
Dtypes = Annotated[
    str,
    option(
        "--dtype",
        panel=MEASURE,
        metavar="NAME,...",
        help="float32, bfloat16, float16, auto. Default float32. With --mode train others are autocast.",
    ),
]
Warmup = Annotated[
    str, option(panel=MEASURE, metavar="N", help="Calls that are not counted. Default auto: until times settle.")
]
Iters = Annotated[
    str, option(panel=MEASURE, metavar="N", help="Timed calls of each contestant. Default auto: 10 s, at least 5.")
]
Compile = Annotated[bool, option("--compile", panel=MEASURE, help="Run the model through torch.compile.")]
Tf32 = Annotated[
    bool, option("--tf32", panel=MEASURE, help="Let CUDA multiply float32 matrices in TF32. Default off, as in torch.")
]
BenchmarkFormat = Annotated[
    str | None,
    option(
        "--format",
        "-f",
        panel=OUTPUT,
        metavar="NAME",
        help="table, json (every sample), csv or markdown. Default: the suffix of --output, else table.",
    ),
]
BenchmarkOverwrite = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace output files that exist.")]
BaselineFile = Annotated[
    Path | None,
    option("--baseline", panel=OUTPUT, metavar="FILE", help="Compare medians with the JSON of an earlier run."),
]
FailAbove = Annotated[
    str | None,
    option(panel=OUTPUT, metavar="PERCENT", help="Exit with 1 when a median rose by more than this, such as 5%."),
]
Plot = Annotated[
    Path | None, option(panel=OUTPUT, metavar="FILE", help="Also draw the medians, as .svg or .png; needs matplotlib.")
]
