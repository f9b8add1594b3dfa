"""`videomae classify`: files, folders and lists in; one record for each out."""

from __future__ import annotations

import os
from typing import Any

from . import options as opt
from . import window_options as wopt
from .output import RecordOutput, choose_format
from .plan import Destination, Model, name_output, planned
from .report import Report, open_page
from .shard import parse_shard
from .speaker import Speaker, stdout_terminal
from .windows import check_windows, parse_windowing
from .work import worker

DEFAULT_TOP_K = 5


def classify(
    inputs: opt.Inputs = None,
    files_from: opt.FilesFrom = None,
    model: opt.Model = "base-k400",
    revision: opt.Revision = None,
    top_k: opt.TopK = "auto",
    views: opt.Views = "1x1",
    stride: opt.Stride = "auto",
    window: wopt.Window = None,
    hop: wopt.Hop = None,
    threshold: wopt.Threshold = None,
    hysteresis: wopt.Hysteresis = None,
    shard: opt.Shard = None,
    format: opt.Format = None,
    output: opt.Output = None,
    report: Report = None,
    resume: opt.Resume = False,
    retry_failed: opt.RetryFailed = False,
    overwrite: opt.Overwrite = False,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    attention: opt.Attention = "auto",
    batch_size: opt.BatchSize = "auto",
    workers: opt.Workers = "auto",
    decode_timeout: opt.DecodeTimeout = "60",
    unordered: opt.Unordered = False,
    ray: opt.Ray = False,
    offline: opt.Offline = False,
    strict: opt.Strict = False,
    allow_images: opt.AllowImages = False,
    max_pixels: opt.MaxPixels = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> int:
    """Name what happens in videos.

    One record for each input on stdout: a table on a terminal, tab-separated lines in a pipe, or --format.
    Exit code 0: all classified; 1: some inputs failed; 2: usage; 3: model; 4: device, memory or disk; 70: a bug;
    130, 143: stopped by SIGINT, SIGTERM.

    Every option can be set in the environment too: --batch-size is VIDEOMAE_BATCH_SIZE.
    """
    from ..inference.look import Look  # not at the top: --help does without it
    from ..report.html import NUM_THUMBNAILS, NUM_THUMBNAILS_OF_LONG

    part = parse_shard(shard, os.environ) if shard else None
    output, report = name_output(output, part), name_output(report, part)
    format_ = choose_format(format, output)
    destination = Destination(output, format_, report, resume=resume, retry_failed=retry_failed, overwrite=overwrite)
    console = stdout_terminal() if format_ == "text" and output is None else None
    in_pipe = format_ == "text" and console is None
    look = Look(
        views=opt.parse_views(views),
        stride=opt.parse_count("--stride", stride),
        top_k=opt.parse_count("--top-k", top_k) or (1 if in_pipe and not report else DEFAULT_TOP_K),
        batch_size=opt.parse_count("--batch-size", batch_size),
        num_workers=opt.parse_count("--workers", workers),
        max_pixels=opt.parse_count("--max-pixels", max_pixels),
        allow_images=allow_images,
        strict=strict,
        windowing=parse_windowing(window, hop, threshold, hysteresis, views),
        decode_timeout_seconds=opt.parse_seconds("--decode-timeout", decode_timeout),
        num_thumbnails=(NUM_THUMBNAILS_OF_LONG if window else NUM_THUMBNAILS) if report else 0,
        ordered=not unordered,
    )
    speaker = Speaker(quiet=quiet, verbose=verbose, debug=debug)
    with planned(inputs, files_from, destination, look, Model(model, revision, offline), part, speaker.note) as plan:
        if not plan.items:
            with open_page(report, plan, look, model):
                return plan.exit_code
        check_windows(format_, plan.items, look, ray=ray)
        load: dict[str, Any] = {"name_or_path": model, "device": device, "dtype": dtype, "attention": attention}
        load |= {"revision": revision, "offline": offline}
        by_segment = look.windowing is not None
        with (
            worker(plan, look, load, speaker, ray=ray) as work,
            open_page(report, plan, look, model) as page,
            RecordOutput(
                format_, output, append=resume, console=console, about=plan.about, by_segment=by_segment, page=page
            ) as out,
        ):
            return work(out) or plan.exit_code
