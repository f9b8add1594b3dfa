"""Clocks: how long a call takes, on a device that may still be at work when the call returns."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from .timing import Watch


def device_watch(device: torch.device) -> Watch:
    """A clock for work of the device: CUDA's own events, elsewhere `wall_watch`.

    Args:
        device: where the work is done.
    """
    if device.type != "cuda":
        return wall_watch(device)

    def watch(call: Callable[[], object]) -> float:
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        with torch.cuda.device(device):  # events go to the current one
            torch.cuda.synchronize()
            start.record()
            call()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end))

    return watch


def wall_watch(device: torch.device) -> Watch:
    """A clock for work of which some, or all, is the host's.

    Args:
        device: waited for before the start and before the end.
    """

    def watch(call: Callable[[], object]) -> float:
        synchronize(device)
        start_ns = time.perf_counter_ns()
        call()
        synchronize(device)
        return (time.perf_counter_ns() - start_ns) / 1e6

    return watch


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given; the CPU has, always."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
