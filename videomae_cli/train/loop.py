"""The training loop, the only one: it never asks which task it has.

What a step computes is a function of its number: which videos, how they are augmented, what is dropped. So a checkpoint
needs the weights, the optimiser and that number, and any number of processes gives the same steps.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ..config.schema import Config
from ..data.dataset import ClipBatch
from ..data.loader import micro_batches, steps_per_epoch, training_loader
from ..errors import DivergedError, UsageError, VideoError
from ..inference.device import memory_told
from ..model.pretrained import PretrainedModel
from .checkpoint import Checkpoint, Checkpoints
from .distributed import Ranks, wrap
from .metrics import MetricsLog, Row
from .optim import build_optimizer, lr_at, peak_lr, set_lr
from .state import Average, gather, load_weights, restore, unsharded
from .step import Gradients, Task, autocast, choose_precision, clipped_norm

_MAX_NAMED = 10  # unreadable videos in an error
SIGNAL_EXITS = (130, 143)  # SIGINT, SIGTERM


class Watcher(Protocol):
    """Who is told what happens, and asks to stop."""

    def note(self, text: str) -> None:
        """Something to say."""

    def row(self, row: Row) -> None:
        """A line of metrics.jsonl."""

    def stop_code(self) -> int:
        """130 or 143 once a signal came, 0 before."""


@dataclass
class _Sums:
    """Over the steps since the last line of metrics; times begin anew where a run goes on."""

    loss: float = 0.0
    num_clips: float = 0.0
    num_timed_steps: int = 0
    waited_seconds: float = 0.0
    started: float = 0.0


class Training:
    """One run of a task.

    Args:
        task: what is trained, its model on the CPU.
        config: the recipe.
        folder: where everything of the run goes.
        ranks: the processes.
        watcher: who is told.

    Raises:
        UsageError: the batch does not divide among the processes, or there are too few videos for one.
    """

    def __init__(self, task: Task, config: Config, folder: Path, ranks: Ranks, watcher: Watcher) -> None:
        optim = config.optim
        self.task, self.config, self.folder, self.ranks, self.watcher = task, config, folder, ranks, watcher
        self.steps_per_epoch = steps_per_epoch(
            task.clips.num_videos,
            batch_size=optim.batch_size,
            micro_batch=optim.micro_batch,
            world_size=ranks.world_size,
        )
        self.num_steps = optim.epochs * self.steps_per_epoch
        self.dtype = choose_precision(optim.precision, ranks.device)
        with memory_told(f"on {ranks.device} for the model", "Use a smaller model or --set run.sharding=full."):
            task.model.to(ranks.device).train()
        if optim.compile:
            task.model.compile()
        self.model = wrap(task.model, ranks, config.run.sharding)
        self.optimizer = build_optimizer(task.model, optim, task.num_blocks)
        self.average = None if optim.ema is None else Average(task.model, optim.ema)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.dtype == torch.float16)
        self.gradients = Gradients(task, self.model, config, ranks, self.dtype, self.scaler)
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.metrics = MetricsLog(folder / "metrics.jsonl")
        self.step = 0
        self.num_bad_steps = 0  # in a row
        self.gradient_norm = math.nan
        self.best: dict[str, float] = {}  # "score" and "step"
        self.unreadable: dict[str, str] = {}  # since this process began: they may have been mended before
        self.sums = _Sums()

    # ---- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Train to the end, or until a signal.

        Returns:
            0, or the exit code that goes with the signal.

        Raises:
            DivergedError: the loss or the gradient was not finite too often.
            VideoError: too many videos cannot be read.
            MachineError: out of memory, or the disk is full.
        """
        if self.ranks.is_first:
            self.metrics.cut_after(self.step)
        batches = self._batches() if self.step < self.num_steps else iter(())
        self.sums.started = last_save = time.monotonic()
        while self.step < self.num_steps:
            is_due = time.monotonic() - last_save > 60 * self.config.run.checkpoint_minutes
            stop_code, is_due = self._train_step(batches, is_due)
            ends_epoch = self.step % self.steps_per_epoch == 0
            if self.step % self.config.run.log_steps == 0 or ends_epoch:
                self._log()
            if ends_epoch:
                is_due |= self._end_epoch()
                self.sums.started = time.monotonic()
            if is_due or stop_code:
                self.save()
                last_save = time.monotonic()
            if stop_code:
                return stop_code
        return 0

    def _batches(self) -> Iterator[ClipBatch]:
        optim = self.config.optim
        draws = micro_batches(
            self.task.clips.num_videos,
            batch_size=optim.batch_size,
            micro_batch=optim.micro_batch,
            seed=self.config.run.seed,
            start_step=self.step,
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
        )
        num_workers, pins = self.config.data.num_workers, self.ranks.device.type == "cuda"
        return training_loader(self.task.clips, draws, num_workers, self.watcher.note, pin_memory=pins)

    def _train_step(self, batches: Iterator[ClipBatch], is_due: bool) -> tuple[int, bool]:
        """One step of the optimiser; returns what the processes agreed on: a signal's exit code, and to save."""
        optim = self.config.optim
        lr = self.lr(self.step)
        set_lr(self.optimizer, lr)
        loss, num_clips, waited_seconds = self.gradients.add_up(self.step, self._noting(batches))
        self.scaler.unscale_(self.optimizer)
        norm = self.gradient_norm = clipped_norm(self.optimizer, optim.clip_grad)
        # One exchange for all that the processes have to agree on.
        code = self.watcher.stop_code()
        told = [loss, num_clips, len(self.unreadable), *(code == known for known in SIGNAL_EXITS)]
        told.append(is_due and self.ranks.is_first)
        loss, all_clips, num_unreadable, *codes, save = self.ranks.total(
            torch.tensor(told, dtype=torch.float64, device=_sum_device(self.ranks.device))
        ).tolist()
        # float16 overflows now and then: the scaler skips that step by itself, and scales less the next time.
        is_bad = not math.isfinite(loss) or (not math.isfinite(norm) and self.scaler.get_scale() <= 1)
        if is_bad:
            self.watcher.note(
                f"step {self.step}: the loss is {loss:g}, the gradient's norm {norm:g}; the step is skipped"
            )
        else:
            self.scaler.step(self.optimizer)
            if self.average:
                self.average.update()
            self.sums.loss += loss
            self.sums.num_clips += all_clips
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.sums.num_timed_steps += 1
        self.sums.waited_seconds += waited_seconds
        self.step += 1
        self.num_bad_steps = self.num_bad_steps + 1 if is_bad else 0
        self._check_limits(int(num_unreadable))
        stop_code = next(
            (known for known, flag in zip(reversed(SIGNAL_EXITS), reversed(codes), strict=True) if flag), 0
        )
        return stop_code, bool(save)

    def lr(self, step: int) -> float:
        """The learning rate of a step.

        Args:
            step: from 0.
        """
        optim = self.config.optim
        return lr_at(
            step,
            peak=peak_lr(optim),
            lowest=optim.min_lr,
            num_warmup_steps=round(optim.warmup_epochs * self.steps_per_epoch),
            num_steps=self.num_steps,
        )

    # ---- what it tells, and when it gives up -------------------------------------------------------------------------

    def _noting(self, batches: Iterator[ClipBatch]) -> Iterator[ClipBatch]:
        """The batches, with a word about each video that is passed over."""
        for batch in batches:
            for path, message in batch.unreadable:
                if path not in self.unreadable:
                    self.unreadable[path] = message
                    self.watcher.note(f"warning: passed over: {message}")
            yield batch

    def _check_limits(self, num_unreadable: int) -> None:
        max_bad, num_videos = self.config.data.max_bad, self.task.clips.num_videos
        limit = min(max_bad, num_videos - 1)
        if num_unreadable > limit:
            found = {path: said for one in self.ranks.gather(self.unreadable) for path, said in one.items()}
            if len(found) > limit:  # one that several processes met counts once
                self.save()
                named = "".join(f"\n  {said}" for said in list(found.values())[:_MAX_NAMED])
                what = f"{len(found)} of {num_videos} videos cannot be read, data.max_bad is {max_bad}:{named}"
                hint = "Mend them or raise data.max_bad, and go on with --resume; to leave them out, begin anew."
                raise VideoError("damaged", what, hint)
        if self.num_bad_steps > min(self.config.optim.max_bad_steps, self.steps_per_epoch):
            self.save()
            raise DivergedError(
                f"the loss was not finite for {self.num_bad_steps} steps in a row, up to step {self.step}",
                "Begin anew with a lower optim.lr, with optim.clip_grad, or with optim.precision=float32.",
            )

    def _log(self) -> None:
        sums, self.sums = self.sums, _Sums(started=time.monotonic())
        seconds = self.sums.started - sums.started
        per_step = seconds / sums.num_timed_steps
        row = {
            "step": self.step,
            "epoch": self.step / self.steps_per_epoch,
            "loss": sums.loss / sums.num_clips if sums.num_clips else math.nan,
            "lr": self.lr(self.step - 1),
            "gradient_norm": self.gradient_norm,
            "clips_per_second": self.config.optim.batch_size * self.task.clips_per_video / per_step,
            "data_wait": sums.waited_seconds / seconds,
            "steps_left": self.num_steps - self.step,
            "seconds_left": per_step * (self.num_steps - self.step),
        }
        self._write(row)

    def _write(self, row: Row) -> None:
        if self.ranks.is_first:
            self.metrics.write(row)
            self.watcher.row(row)

    # ---- validation and checkpoints ----------------------------------------------------------------------------------

    def _end_epoch(self) -> bool:
        """Validate where it is time; whether a checkpoint is wanted."""
        epoch, is_last, run = self.step // self.steps_per_epoch, self.step == self.num_steps, self.config.run
        is_due = is_last or epoch % run.checkpoint_epochs == 0
        if is_last or epoch % run.validate_epochs == 0:
            found = self.validate(epoch)
            if found:
                self._write({"step": self.step, "epoch": float(epoch), **found})
            if "score" in found and found["score"] > self.best.get("score", -math.inf):
                self.best = {"score": found["score"], "step": self.step}
                is_due = True
        return is_due

    def validate(self, epoch: int) -> dict[str, float]:
        """Measure the model, or the average of its weights where there is one.

        Args:
            epoch: whose end it is.
        """
        with self.average.in_place() if self.average else nullcontext(), autocast(self.ranks.device, self.dtype):
            found = self.task.validate(unsharded(self.task.model), self.ranks, self.folder, epoch)
        self.task.model.train()
        return found

    def save(self) -> None:
        """Write a checkpoint. All processes call it."""
        groups = gather(self.task.model, self.optimizer, self.average)
        if self.ranks.is_first:
            state = {
                "best": self.best,
                "num_bad_steps": self.num_bad_steps,
                "sums": {"loss": self.sums.loss, "num_clips": self.sums.num_clips},
                "scaler": self.scaler.state_dict(),
                "fingerprint": self.task.fingerprint,
            }
            self.checkpoints.save(self.step, groups, state)
            self.checkpoints.prune(self.step, max(2, self.config.run.keep_checkpoints), self.best_path())
        self.ranks.wait()

    def best_model(self) -> PretrainedModel:
        """The model with the weights of the best checkpoint, or, without a score, with the last. All call it."""
        path = self.best_path()
        if path is not None:
            checkpoint = self.checkpoints.read(path)
            load_weights(self.task.model, checkpoint.tensors("average" if self.average else "model"))
            return unsharded(self.task.model)
        if self.average:
            with self.average.in_place():
                return copy.deepcopy(unsharded(self.task.model))
        return unsharded(self.task.model)

    def best_path(self) -> Path | None:
        """The checkpoint with the best score."""
        return self.checkpoints.path(int(self.best["step"])) if self.best else None

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint; whether there is one. All processes call it.

        Raises:
            UsageError: it is of other videos.
        """
        checkpoint = self.checkpoints.latest(self.watcher.note)
        if checkpoint is None:
            return False
        if checkpoint.state["fingerprint"] != self.task.fingerprint:
            raise UsageError(
                f"the run in {self.folder} was of other videos or labels",
                "Resume with the same data, or start anew with another -o.",
            )
        groups = {name: checkpoint.tensors(name) for name in ("model", "optimizer", "average") if checkpoint.has(name)}
        restore(self.task.model, self.optimizer, self.average, groups)
        self._restore_counts(checkpoint)
        return True

    def _restore_counts(self, checkpoint: Checkpoint) -> None:
        self.step = checkpoint.step
        self.num_bad_steps = checkpoint.state["num_bad_steps"]
        self.sums = _Sums(**checkpoint.state["sums"])
        self.best = checkpoint.state["best"]
        best_path = self.best_path()
        if best_path and not self.checkpoints.whole(best_path, self.watcher.note):
            self.best = {}
            self.watcher.note("the best weights so far are lost; the best from here on will be saved")
        self.scaler.load_state_dict(checkpoint.state["scaler"])


def _sum_device(device: torch.device) -> torch.device:
    """Where float64 numbers of the processes are added up; MPS has none."""
    return torch.device("cpu") if device.type == "mps" else device
