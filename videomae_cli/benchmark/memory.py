"""How much memory a pass takes at its peak, and whether an error says that there was not enough."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

_STATUS, _CLEAR, _MEMINFO = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")


class Gauge(Protocol):
    """Tells what is held, and the most that was held since the last reset."""

    def level_bytes(self) -> int:
        """What is held now."""

    def reset_peak(self) -> None:
        """Forget the peak so far."""

    def peak_bytes(self) -> int:
        """The most that was held since `reset_peak`."""

    def free_bytes(self) -> int | None:
        """What can still be had before the system kills the process; None where running out is an error instead."""


class CudaGauge:
    """Counts what tensors occupy in the memory of a CUDA device.

    Args:
        device: which one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def level_bytes(self) -> int:
        """See `Gauge`."""
        return torch.cuda.memory_allocated(self._device)

    def reset_peak(self) -> None:
        """See `Gauge`."""
        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """See `Gauge`."""
        return torch.cuda.max_memory_allocated(self._device)

    def free_bytes(self) -> None:
        """See `Gauge`."""
        return


class ResidentGauge:
    """Reads the resident set of this process from Linux, which also holds what torch's libraries keep for themselves.

    Raises:
        OSError: the system does not tell, or does not let the peak be reset.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self.reset_peak()
        self.peak_bytes()

    def level_bytes(self) -> int:
        """See `Gauge`."""
        self._trim()
        return _read_kib(_STATUS, "VmRSS")

    def reset_peak(self) -> None:
        """See `Gauge`."""
        self._trim()
        _CLEAR.write_text("5")  # proc(5): the peak is now what is held

    def peak_bytes(self) -> int:
        """See `Gauge`."""
        return _read_kib(_STATUS, "VmHWM")

    def free_bytes(self) -> int:
        """See `Gauge`."""
        return _read_kib(_MEMINFO, "MemAvailable")

    def _trim(self) -> None:
        """Have glibc give back what it keeps for later: a row would be measured on what the one before has freed."""
        if hasattr(self._libc, "malloc_trim"):
            self._libc.malloc_trim(0)


def find_gauge(device: torch.device) -> Gauge | None:
    """The gauge for a device; None where its memory cannot be measured."""
    if device.type == "cuda":
        return CudaGauge(device)
    if device.type != "cpu":
        return None
    try:
        return ResidentGauge()
    except OSError:
        return None


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """What these tensors occupy, each counted once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def _read_kib(path: Path, key: str) -> int:
    match = re.search(rf"^{key}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    if match is None:
        raise OSError(f"{path} has no {key}")
    return int(match[1]) * 1024
