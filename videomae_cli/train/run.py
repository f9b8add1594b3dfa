"""One run, from a configuration to a trained model in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..config.dump import differences, dump
from ..config.load import load
from ..config.schema import Config, FinetuneConfig, PretrainConfig
from ..data.manifest import Manifest, read_manifest, split
from ..errors import MachineError, UsageError
from ..inference.device import memory_told
from ..model.config import CONFIG_FILE
from ..weights.write import WEIGHTS_NAME, write_atomically
from .distributed import Ranks, joined
from .evaluate import Evaluation
from .films import filmed, read_pictures
from .loop import Training, Watcher
from .optim import peak_lr
from .tasks import FinetuneTask, PretrainTask, processor_of

CONFIG_NAME = "config.yaml"
# What may differ when a run goes on: it changes no step.
_FREE = ("run.", "data.num_workers", "data.max_bad", "data.validation", "optim.max_bad_steps", "views")
_NOT_FREE = "run.seed"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        exit_code: 0, or that of the signal which stopped it.
        evaluation: on the validation videos, by the views of the recipe; None where there are none.
    """

    exit_code: int
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Videos:
    """What a run learns from, and what it is measured on.

    Args:
        training: never empty.
        validation: may be.
    """

    training: Manifest
    validation: Manifest


def read_videos(config: Config) -> Videos:
    """Read the lists or folders that a configuration names.

    Args:
        config: with `data.train`.

    Raises:
        UsageError: a list is wrong; all its faults are named.
    """
    data, labelled = config.data, isinstance(config, FinetuneConfig)
    if data.source == "camera-motion":
        return Videos(*read_pictures(config))
    if data.train is None:
        raise UsageError("there are no videos to train on", "Name a folder or a list with --data.")
    training = read_manifest(data.train, root=data.root, labelled=labelled)
    if labelled and len(training.labels) < 2:
        hint = "There must be two classes at least. Perhaps the folder above it is meant."
        raise UsageError(f"{data.train!r} has a single class, {training.labels[0]!r}", hint)
    if data.validation is not None:
        labels = training.labels if labelled else None
        return Videos(training, read_manifest(data.validation, root=data.root, labels=labels, labelled=labelled))
    if data.validation_fraction == 0:
        return Videos(training, Manifest((), training.labels))
    return Videos(*split(training, data.validation_fraction, config.run.seed))


def make_task(config: Config, videos: Videos) -> PretrainTask | FinetuneTask:
    """What a configuration asks to train.

    Args:
        config: of either kind.
        videos: from `read_videos`.
    """
    if isinstance(config, PretrainConfig):
        return PretrainTask(
            config, videos.training, videos.validation if videos.validation.samples else videos.training
        )
    return FinetuneTask(config, videos.training, videos.validation)


def train(config: Config, folder: Path, watcher: Watcher, *, resume: bool) -> Outcome:
    """Train, and leave a checkpoint folder that `classify -m`, `--init` and transformers read.

    Args:
        config: the recipe.
        folder: where everything goes; made when absent.
        watcher: who is told, and asks to stop.
        resume: go on with what is there.

    Raises:
        UsageError: the folder holds a run and `resume` is not set, or one of another configuration.
        MachineError: another process trains there, the disk is full, or memory is short.
        DivergedError: the loss was not finite too often.
        VideoError: too many videos cannot be read.
    """
    videos = read_videos(config)
    hint = f"Lower optim.micro_batch (it is {config.optim.micro_batch}), or use a smaller model."
    with joined(config.run.device) as ranks, _sole_writer(folder, ranks), memory_told(f"on {ranks.device}", hint):
        # In a function, so that the model is gone before the process group is: DDP's part of it, if it is the last to
        # know the group (torch 2.13), ends it while it holds Python's lock, and waits for a thread that wants the lock.
        return _train(config, videos, folder, ranks, watcher, resume)


def _train(config: Config, videos: Videos, folder: Path, ranks: Ranks, watcher: Watcher, resume: bool) -> Outcome:
    _check_folder(config, folder, resume)
    videos = replace(videos, validation=filmed(config, videos.validation, folder, ranks, watcher.note))
    task = make_task(config, videos)
    training = Training(task, config, folder, ranks, watcher)
    for line in (*task.notes, *introduction(config, training, videos)):
        watcher.note(line)
    if resume and training.resume():
        watcher.note(f"resumed at step {training.step} of {training.num_steps}")
    elif resume:
        watcher.note("there is no whole checkpoint to go on from: training begins at step 0")
    if ranks.is_first:  # after all that could refuse it
        write_atomically(folder / CONFIG_NAME, dump(config).encode())
    ranks.wait()
    code = training.run()
    if code:
        watcher.note(f"stopped at step {training.step}; go on with --resume")
        return Outcome(code)
    return _finish(task, training, config, folder, ranks, watcher)


def introduction(config: Config, training: Training, videos: Videos) -> Iterator[str]:
    """What a person should see before the first step.

    Args:
        config: the recipe.
        training: set up.
        videos: that it learns from.
    """
    optim, ranks = config.optim, training.ranks
    model = training.task.model
    trainable, total = model.num_parameters(only_trainable=True), model.num_parameters()
    yield f"model: {total / 1e6:.1f} M parameters, {trainable / 1e6:.1f} M trained, {training.dtype} on {ranks.device}"
    classes = f" of {len(videos.training.labels)} classes" if videos.training.labels else ""
    yield from dict.fromkeys((*videos.training.notes, *videos.validation.notes))
    what = f"{len(videos.training.samples)} videos"
    if config.data.source == "camera-motion":
        sources = f"{len(videos.training.samples)} files and {config.data.num_drawn} drawn pictures"
        what = f"{config.data.num_films} films an epoch, of {sources}"
    yield f"data: {what}{classes}, {len(videos.validation.samples)} for validation"
    parts = f"{ranks.world_size} processes x {training.gradients.num_micro_batches} x {optim.micro_batch}"
    yield f"batch: {optim.batch_size} videos a step = {parts}; {config.data.repeats} clips of each"
    yield f"learning rate: {optim.lr:g} x {optim.batch_size} / 256 = {peak_lr(optim):g} at its peak"
    yield f"steps: {training.num_steps} = {optim.epochs} epochs of {training.steps_per_epoch}"


def _finish(
    task: PretrainTask | FinetuneTask,
    training: Training,
    config: Config,
    folder: Path,
    ranks: Ranks,
    watcher: Watcher,
) -> Outcome:
    """Save the best weights, and measure them as the recipe says."""
    model = training.best_model().eval()
    if ranks.is_first:
        processor_of(config).save_pretrained(folder)
        model.save_pretrained(folder)
        if training.best:
            watcher.note(f"the weights of step {training.best['step']:.0f} are saved: the best by validation")
    ranks.wait()
    if isinstance(task, PretrainTask) or not task.validation.samples:
        return Outcome(0)
    assert isinstance(config, FinetuneConfig)
    segments, crops = config.views.split("x")
    return Outcome(0, task.evaluate(model, ranks, (int(segments), int(crops))))


@contextmanager
def _sole_writer(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Hold the folder, so that no second run writes there; the lock goes with the process, however that ends."""
    if not ranks.is_first:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        hint = "Choose another folder with -o."
        raise MachineError(f"cannot write to {folder}: {error.strerror or error}", hint) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MachineError(f"another run writes to {folder}", "Wait for it, or choose another -o.") from None
        yield


def _check_folder(config: Config, folder: Path, resume: bool) -> None:
    """Refuse to mix two runs, or to write over a model."""
    found = [name for name in ("checkpoints", CONFIG_FILE, WEIGHTS_NAME) if (folder / name).exists()]
    if found and not (folder / CONFIG_NAME).exists():
        hint = "It is not the folder of a run: choose another with -o."
        raise UsageError(f"{folder} holds {found[0]}, and no {CONFIG_NAME}", hint)
    if found and not resume:
        raise UsageError(f"{folder} holds a run already", "Go on with it by --resume, or choose another -o.")
    if "checkpoints" not in found:
        return
    path = str(folder / CONFIG_NAME)
    former: Config = load("pretrain", path) if isinstance(config, PretrainConfig) else load("finetune", path)
    changed = [line for line in differences(former, config) if not _is_free(line)]
    if changed:
        lines = "".join(f"\n  {line}" for line in changed)
        raise UsageError(
            f"the run in {folder} has another configuration:{lines}", "Resume with its own: leave these out."
        )


def _is_free(line: str) -> bool:
    return line.startswith(_FREE) and not line.startswith(_NOT_FREE)
