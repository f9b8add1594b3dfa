"""Where the model runs and in what precision: the user's words -> torch's objects, checked before weights are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional as F

from ..errors import MachineError, UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device that `name` asks for.

    Args:
        name: "auto" (the accelerator that torch finds, else the CPU), or "cpu", "cuda", "cuda:1", "mps".

    Raises:
        UsageError: it is not the name of a device.
        MachineError: this machine, or this build of torch, does not have it.
    """
    if name == "auto":
        name = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"  # type: ignore[union-attr]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}", "Use auto, cpu, cuda, cuda:N or mps.") from None
    if device.type == "meta":  # it computes nothing
        raise UsageError(f"unknown device {name!r}", "Use auto, cpu, cuda, cuda:N or mps.")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]  # torch goes on to list all its backends
        raise MachineError(
            f"device {name!r} is not available: {reason}",
            "Leave --device out to use what is there, or say cpu.",
        ) from None
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The floating-point type that `name` asks for.

    Args:
        name: "auto" (float16 on CUDA, where it is several times faster; float32 elsewhere), "float32", "bfloat16" or
            "float16".
        device: where the model will run.

    Raises:
        UsageError: `name` is none of these.
        MachineError: the device cannot compute in it.
    """
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name!r}", f"Use auto, {', '.join(DTYPES)}.")
    check_dtype(name, DTYPES[name], device)
    return DTYPES[name]


def check_dtype(name: str, dtype: torch.dtype, device: torch.device) -> None:
    """Try the operators of a block once in this precision.

    Raises:
        MachineError: the device lacks one of them.
    """
    try:
        x = torch.zeros(1, 1, 8, 8, dtype=dtype, device=device)
        F.scaled_dot_product_attention(F.gelu(F.linear(F.layer_norm(x, (8,)), x[0, 0])), x, x)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise MachineError(f"{device} does not compute in {name}: {reason}", "Use --dtype float32.") from None


def choose_attention(name: str) -> str:
    """The attention backend that `name` asks for: "auto" is "sdpa".

    Raises:
        UsageError: `name` is not "auto", "eager" or "sdpa".
    """
    if name not in ("auto", "eager", "sdpa"):
        raise UsageError(f"unknown attention {name!r}", "Use auto, eager or sdpa.")
    return "sdpa" if name == "auto" else name


@contextmanager
def memory_told(what: str, hint: str) -> Iterator[None]:
    """Out of memory -> MachineError.

    Args:
        what: follows "out of memory".
        hint: what to do.

    Raises:
        MachineError: for what happens inside.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise MachineError(f"out of memory {what}", hint) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. Accelerators and numpy have classes of error for it, torch's CPU only words.

    Args:
        error: what was raised, by torch or by `memory_told`.
    """
    if isinstance(error, MachineError) and error.__cause__ is not None:
        return is_out_of_memory(error.__cause__)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
