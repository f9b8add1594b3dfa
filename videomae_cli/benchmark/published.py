"""The latency table in the documentation of transformers, to hold a run on the same GPU against."""

from __future__ import annotations

from .records import Case

# Batch size -> mean ms of eager and sdpa: A100-40GB, PyTorch 2.3, float32, VideoMAE-base with 400 labels. The 37 ms at
# batch 1 lie above the 24 ms at batch 2: that run had not warmed up.
PUBLISHED_MS = {
    1: {"eager": 37.0, "sdpa": 10.0},
    2: {"eager": 24.0, "sdpa": 18.0},
    4: {"eager": 43.0, "sdpa": 32.0},
    8: {"eager": 84.0, "sdpa": 60.0},
}
MODELS = ("base", "base-k400", "MCG-NJU/videomae-base-finetuned-kinetics")


def published_ms(case: Case, gpu: str | None) -> float | None:
    """The published figure for a case; None where none was published.

    Args:
        case: what was timed.
        gpu: the device's name; None for a CPU.
    """
    is_like = case.mode == "forward" and case.dtype == "float32" and case.model in MODELS
    if not is_like or gpu is None or "A100" not in gpu:
        return None
    return PUBLISHED_MS.get(case.batch_size or 0, {}).get(case.attention or "")
