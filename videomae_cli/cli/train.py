"""`videomae pretrain` and `videomae finetune`: a recipe and videos in, a model folder out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.dump import dump
from ..config.load import load
from ..errors import UsageError
from ..report.accuracy import render_accuracy_lines
from ..report.curves import curves_svg
from . import options as opt
from . import train_options as topt
from .boundary import Interruption, importing_torch
from .evaluate import write_evaluation
from .speaker import Speaker
from .training_progress import TrainingProgress

if TYPE_CHECKING:
    from ..config.schema import Config
    from ..train.evaluate import Evaluation


def pretrain(
    config: topt.ConfigName = None,
    overrides: topt.Overrides = None,
    print_config: topt.PrintConfig = False,
    data: topt.Unlabelled = None,
    root: opt.Root = None,
    init: topt.Init = None,
    output: topt.RunFolder = None,
    resume: topt.ResumeRun = False,
    dry_run: topt.DryRun = False,
    device: topt.TrainDevice = None,
    quiet: topt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Teach a model by letting it paint what it cannot see; videos need no labels.

    The model in --output is what `videomae finetune --init` begins with.
    Exit code 0: trained; 1: too many unreadable videos; 2: usage; 3: model; 4: device, memory or disk; 5: the loss
    was not finite; 70: a bug; 130, 143: stopped by SIGINT, SIGTERM, with a checkpoint for --resume.

    Several processes: torchrun --nproc-per-node N -m videomae_cli pretrain ...; with --max-restarts M before -m and
    --resume at the end, training goes on by itself when one of them dies.
    """
    arguments = {"data.train": data, "data.root": root, "init": init, "run.device": device}
    chosen = load("pretrain", _source(config, output, resume), overrides or [], arguments)
    return _run(chosen, output, resume=resume, print_config=print_config, dry_run=dry_run, quiet=quiet, debug=debug)


def finetune(
    config: topt.ConfigName = None,
    overrides: topt.Overrides = None,
    print_config: topt.PrintConfig = False,
    data: topt.Data = None,
    validation: topt.Validation = None,
    root: opt.Root = None,
    init: topt.Init = None,
    output: topt.RunFolder = None,
    resume: topt.ResumeRun = False,
    dry_run: topt.DryRun = False,
    device: topt.TrainDevice = None,
    quiet: topt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Teach a model the classes of your videos.

    The model in --output is what `videomae classify -m` takes, and transformers too.
    Exit code 0: trained; 1: too many unreadable videos; 2: usage; 3: model; 4: device, memory or disk; 5: the loss
    was not finite; 70: a bug; 130, 143: stopped by SIGINT, SIGTERM, with a checkpoint for --resume.

    Several processes: torchrun --nproc-per-node N -m videomae_cli finetune ...; with --max-restarts M before -m and
    --resume at the end, training goes on by itself when one of them dies.
    """
    arguments = {
        "data.train": data,
        "data.validation": validation,
        "data.root": root,
        "init": init,
        "run.device": device,
    }
    chosen = load("finetune", _source(config, output, resume), overrides or [], arguments)
    return _run(chosen, output, resume=resume, print_config=print_config, dry_run=dry_run, quiet=quiet, debug=debug)


def _source(config: str | None, output: Path | None, resume: bool) -> str | None:
    """A run that goes on needs not be told its recipe again."""
    if config is None and resume and output is not None and (output / "config.yaml").exists():
        return str(output / "config.yaml")
    return config


def _run(
    config: Config, output: Path | None, *, resume: bool, print_config: bool, dry_run: bool, quiet: bool, debug: bool
) -> int:
    if print_config:
        sys.stdout.write(dump(config))
        return 0
    if config.data.train is None and config.data.source == "videos":
        raise UsageError("there are no videos to train on", "Name a folder or a list with --data.")
    if output in (None, Path()) and not dry_run:
        raise UsageError("there is no place for the trained model", "Name a folder with -o.")
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    speaker = Speaker(quiet=quiet or not is_first, verbose=False, debug=debug)
    with importing_torch():
        from ..train.run import train
    with Interruption() as interruption, TrainingProgress(speaker, interruption) as watcher:
        if dry_run:
            from ..train.dry_run import rehearse

            return rehearse(config, watcher)
        assert output is not None
        outcome = train(config, output, watcher, resume=resume)
    if outcome.exit_code == 0 and is_first:
        _report(output, outcome.evaluation, config, speaker)
    return outcome.exit_code


def _report(folder: Path, evaluation: Evaluation | None, config: Any, speaker: Speaker) -> None:
    """What is left in the folder for people to look at, and the accuracies on stdout."""
    from ..train.metrics import MetricsLog
    from ..weights.write import write_atomically

    try:
        picture = curves_svg(MetricsLog(folder / "metrics.jsonl").rows())
        write_atomically(folder / "curves.svg", picture)
    except ImportError:
        speaker.note("no curves.svg: it needs matplotlib. Run pip install 'videomae[plots]'.")
    if evaluation is not None:
        about = {"model": str(folder), "data": config.data.validation or config.data.train, "views": config.views}
        write_evaluation(folder, evaluation, about, speaker)
        sys.stdout.write(render_accuracy_lines(evaluation.totals, evaluation.per_class))
    speaker.note(f"the model is in {folder}")
