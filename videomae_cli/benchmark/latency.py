"""Forward passes and training steps: attention x batch size x dtype.

The contestants of a batch size take turns on the same input and the same weights. What a row is compared with, its
reference, is eager attention in the same dtype; where eager is not measured, the attention that was named first.
"""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import MachineError
from ..inference.device import DTYPES, choose_attention, is_out_of_memory
from ..model.videomae import VideoMAEForVideoClassification
from .clock import device_watch, synchronize
from .contestants import Pass, classify_pass, forward_pass, idle_optimizer, training_step
from .kernels import FirstAttention, import_what_watching_needs
from .memory import find_gauge, num_bytes
from .models import Model, clip_flops, random_clips, training_targets, with_attention
from .records import Case, Row, Settings
from .timing import measure

OUT_OF_MEMORY = "out of memory"
NO_PRIMITIVE = "could not create a primitive"  # oneDNN without memory for its code; it had some for the ceiling
OWN_KERNEL = "own"  # the attention of model/kernels.py


@dataclass(frozen=True)
class _Look:
    """What the first calls of a contestant showed.

    Attributes:
        call: the contestant.
        logits: float32, on the CPU.
        kernel: of attention; None for eager, and in compiled code.
        added_bytes: what the contestant and a call of it add to the memory, at most; None where nobody tells.
    """

    call: Pass
    logits: Tensor
    kernel: str | None
    added_bytes: int | None


class LatencyBench:
    """Measures one model.

    Args:
        model: float32, on the CPU; left as it is.
        settings: what to measure; the device and dtypes resolved.
        stop: whether to end early, asked between calls.
    """

    def __init__(self, model: Model, settings: Settings, stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._device = torch.device(settings.device)
        self._stop = stop
        import_what_watching_needs()
        self._gauge = find_gauge(self._device)
        self._watch = device_watch(self._device)
        self._call_bytes_per_clip: dict[tuple[str | None, str | None], float] = {}  # by dtype and attention
        self._clip_flops = clip_flops(model, training=settings.mode == "train")
        self._optimizer: torch.optim.Optimizer | None = None
        if settings.mode == "train":  # in mixed precision too the weights are float32
            shared = copy.deepcopy(model).to(self._device).train()
            self._models = dict.fromkeys(settings.dtypes, shared)
            self._optimizer = idle_optimizer(shared)
        else:
            self._models = {name: copy.deepcopy(model).to(self._device, DTYPES[name]) for name in settings.dtypes}

    def rows(self) -> Iterator[list[Row]]:
        """Measure, and give the rows of one batch size at a time; after an interruption those that have samples."""
        asked = self._settings
        for batch_size in asked.batch_sizes:
            task = asked.task if asked.mode == "train" else None
            cases = [
                Case(asked.mode, asked.model, task, batch_size, dtype, attention)
                for dtype in asked.dtypes
                for attention in asked.attentions
            ]
            rows = [Row(case, error=OUT_OF_MEMORY) for case in cases]
            with _out_of_memory_ends(self._device):
                rows = self._measure(cases, batch_size)
            yield [row for row in rows if row.samples_ms] if self._stop() else rows
            if self._stop():
                return

    def _measure(self, cases: list[Case], batch_size: int) -> list[Row]:
        fitting: list[Case] = []
        for case in cases:
            with _out_of_memory_ends(self._device):
                if not self._stop() and self._may_fit(case):
                    fitting.append(case)
        inputs = self._inputs(batch_size) if fitting else {}
        if self._settings.compile:
            torch.compiler.reset()  # it keeps eight versions of a function, and runs further ones uncompiled
        looks: dict[Case, _Look] = {}
        for case in fitting:
            with _out_of_memory_ends(self._device):
                if not self._stop():
                    looks[case] = self._look(case, inputs[str(case.dtype)])
        calls = {case: look.call for case, look in looks.items()}
        times = measure(calls, self._watch, self._settings.effort, self._stop)
        rows = {case: Row(case, error=OUT_OF_MEMORY) for case in cases}
        for case, look in looks.items():
            held = [*self._state(str(case.dtype)), inputs[str(case.dtype)]]
            rows[case] = Row(
                case,
                samples_ms=tuple(times[case].samples_ms),
                warmup_ms=tuple(times[case].warmup_ms),
                num_items=batch_size,
                flops=self._clip_flops * batch_size,
                logit_std=float(look.logits.std()),
                peak_bytes=None if look.added_bytes is None else num_bytes(held) + look.added_bytes,
                kernel=look.kernel,
            )
        return [self._compared(row, rows, looks) for row in rows.values()]

    def _inputs(self, batch_size: int) -> dict[str, Tensor]:
        """The same clips in each dtype of the models, by its name."""
        config = next(iter(self._models.values())).config
        clips = random_clips(config, batch_size).to(self._device)
        return {name: clips.to(model.dtype) for name, model in self._models.items()}

    def _may_fit(self, case: Case) -> bool:
        """False where a smaller batch, if need be of one clip, tells that this one needs more memory than is free.

        Linux would not refuse: it grants memory that it does not have, and then kills the process.
        """
        if self._gauge is None or self._gauge.free_bytes() is None or not case.batch_size:
            return True
        one = self._inputs(1)
        if case.batch_size > 1 and (case.dtype, case.attention) not in self._call_bytes_per_clip:
            self._look(case, one[str(case.dtype)])
        bytes_per_clip = num_bytes(one.values()) + self._call_bytes_per_clip.get((case.dtype, case.attention), 0)
        return case.batch_size * bytes_per_clip <= (self._gauge.free_bytes() or 0)

    def _look(self, case: Case, clips: Tensor) -> _Look:
        """Build a contestant and call it twice: for what it computes and how, and for its memory."""
        level_bytes = self._gauge.level_bytes() if self._gauge else 0
        call = self._build(case, clips)
        first = FirstAttention()
        is_compiled = self._settings.compile
        with _compiler_blamed() if is_compiled else first:
            logits = call().float().cpu()
        is_own = first.kernel is None and case.attention != "eager" and not is_compiled
        kernel = OWN_KERNEL if is_own else first.kernel
        if not self._gauge:
            return _Look(call, logits, kernel, None)
        built_bytes = self._gauge.level_bytes()  # with weights in the layout of inference/cpu.py, or a compiler
        self._gauge.reset_peak()
        call()
        synchronize(self._device)
        peak_bytes = self._gauge.peak_bytes()
        self._call_bytes_per_clip[case.dtype, case.attention] = max(0, peak_bytes - built_bytes) / len(clips)
        before_bytes = built_bytes if is_compiled else level_bytes  # not to charge the row with its compiler
        return _Look(call, logits, kernel, max(0, peak_bytes - before_bytes))

    def _build(self, case: Case, clips: Tensor) -> Pass:
        """The contestant of a case."""
        assert case.dtype
        assert case.attention
        twin = with_attention(self._models[case.dtype], choose_attention(case.attention))
        if case.attention == "auto":
            assert isinstance(twin, VideoMAEForVideoClassification), "training has no auto"
            return classify_pass(twin, clips)
        runner = torch.compile(twin, dynamic=False) if self._settings.compile else twin
        if self._optimizer is None:
            return forward_pass(runner, clips)
        targets = training_targets(twin, len(clips))
        return training_step(runner, self._optimizer, clips, targets, DTYPES[case.dtype])

    def _state(self, dtype: str) -> list[Tensor]:
        """What lies in memory whatever is called: weights, and the optimizer's moments."""
        model = self._models[dtype]
        moments = self._optimizer.state.values() if self._optimizer else ()
        return [*model.parameters(), *model.buffers(), *(tensor for state in moments for tensor in state.values())]

    def _compared(self, row: Row, rows: Mapping[Case, Row], looks: Mapping[Case, _Look]) -> Row:
        """The row with what its reference tells: speed-up, and difference of the logits."""
        other = replace(row.case, attention=self._settings.reference)
        if row.case not in looks or other not in looks:
            return row
        ours, theirs = row.median_ms, rows[other].median_ms
        speedup = theirs / ours if ours and theirs else None
        if row.case == other:
            return replace(row, speedup=speedup)
        difference = (looks[row.case].logits - looks[other].logits).abs().max()
        return replace(row, speedup=speedup, max_logit_difference=float(difference))


@contextlib.contextmanager
def _out_of_memory_ends(device: torch.device) -> Iterator[None]:
    """End the block where memory runs out, and free what it held."""
    try:
        yield
        return
    except (MemoryError, RuntimeError, MachineError) as error:
        if not is_out_of_memory(error) and str(error) != NO_PRIMITIVE:
            raise
    gc.collect()  # now that the error no longer holds the frames that it came through
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextlib.contextmanager
def _compiler_blamed() -> Iterator[None]:
    """Compilation fails in as many ways as there are compilers."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise MachineError(
            f"torch.compile fails here: {reason}", "Leave --compile out, or install a C++ compiler."
        ) from error
