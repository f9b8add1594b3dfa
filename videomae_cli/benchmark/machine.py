"""What a benchmark runs on: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import av
import numpy as np
import torch

from .. import __version__


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Processor, memory, how torch is set and, where one is used, the GPU with its driver.

    Args:
        device: what is measured.
    """
    found: dict[str, str | int] = {
        "system": platform.platform(terse=True),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "torch_threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": gpu.name,
            "gpu_memory_bytes": gpu.total_memory,
            "compute_capability": f"{gpu.major}.{gpu.minor}",
            "driver": _driver_version(),
        }
    return found


def describe_versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    versions = {
        "videomae": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "av": av.__version__,
    }
    return versions | ({"cuda": torch.version.cuda} if torch.version.cuda else {})


def _cpu_name() -> str:
    """Linux keeps it in a file, other systems tell Python."""
    try:
        match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()


def _driver_version() -> str:
    """The kernel module's own words; torch knows only what CUDA version the driver supports."""
    try:
        match = re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        match = None
    return match[1] if match else "unknown"
