"""Time the preprocessing of a clip (16 frames, 1280 x 720 to 224 x 224) beside transformers' Pillow-backed processor.

One JSON line: medians in milliseconds, their ratio (below 1 is faster), and the largest difference
of the results in levels of 255.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from videomae_cli import VideoMAEImageProcessor

ROUNDS = 15


def example_frames() -> np.ndarray:
    """Waves under noise, uint8 (16, 720, 1280, 3)."""
    y, x = np.ogrid[:720, :1280]
    waves = 128 + 90 * np.sin(x * 0.02 + y * 0.05)
    noise = np.random.default_rng(0).normal(0, 20, (16, 720, 1280, 3))
    return np.clip(waves[..., None] + noise, 0, 255).astype(np.uint8)


def medians_ms(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Medians of both, timed in turn after one call to warm up."""
    times_ms: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS + 1):
        for run, times in zip((ours, theirs), times_ms, strict=True):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times_ms[0][1:]), statistics.median(times_ms[1][1:])


def main() -> None:
    """Prints the line."""
    frames = example_frames()
    as_list = list(frames)
    processor, peer = VideoMAEImageProcessor(), VideoMAEImageProcessorPil()  # mean = std = 0.5

    def ours() -> torch.Tensor:
        return processor.crops(frames)

    def theirs() -> torch.Tensor:
        pixels: torch.Tensor = peer(as_list, return_tensors="pt")["pixel_values"]
        return pixels

    difference_levels = (ours() - theirs()).abs().max().item() * 0.5 * 255
    ours_ms, theirs_ms = medians_ms(ours, theirs)
    line = {"ms": ours_ms, "pillow_ms": theirs_ms, "ratio": ours_ms / theirs_ms, "levels": difference_levels}
    print(json.dumps({name: round(value, 3) for name, value in line.items()}))


if __name__ == "__main__":
    main()
