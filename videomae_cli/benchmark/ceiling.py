"""The most that matrix products reach on a device: what a model's own figure is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ..model.config import VideoMAEConfig
from .records import Ceiling
from .timing import Watch

Shape = tuple[int, int, int]  # rows, inner, columns

# Sides of square products: large enough to be bound by arithmetic, small enough for a fraction of a second.
CPU_SQUARES, ACCELERATOR_SQUARES = (2048,), (4096, 8192)
SPAN_MS = 100.0  # spent on each way and shape


def find_ceiling(
    device: torch.device, dtype: torch.dtype, config: VideoMAEConfig, watch: Watch, before: Ceiling | None = None
) -> Ceiling:
    """Time large square products and the model's own largest one, and keep the best.

    Args:
        device: where.
        dtype: of factors and product.
        config: of the model.
        watch: the clock.
        before: what was found before; only that product is timed once more, and the better time kept.
    """
    squares = CPU_SQUARES if device.type == "cpu" else ACCELERATOR_SQUARES
    shapes = [(config.num_tokens, config.hidden_size, config.intermediate_size), *((n, n, n) for n in squares)]
    found = [before] if before else []
    with torch.inference_mode():
        for rows, inner, columns in shapes:
            x = torch.randn(rows, inner, device=device, dtype=dtype)
            weight = torch.randn(columns, inner, device=device, dtype=dtype)
            for library, product in _products(x, weight):
                how = f"{rows} x {inner} x {columns}, {library}"
                if before and before.how != how:
                    continue
                tflops = 2 * rows * inner * columns / _fastest_ms(product, watch) / 1e9
                found.append(Ceiling(tflops, how))
    return max(found, key=lambda ceiling: ceiling.tflops)


def _products(x: Tensor, weight: Tensor) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """The ways to multiply that torch offers here: on a CPU, oneDNN may be twice as fast as what linear layers use."""
    yield "linear", lambda: F.linear(x, weight)
    if x.device.type != "cpu":
        return
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
        torch.ops.mkldnn._linear_pointwise(x[:1], packed, None, "none", [], "")
    except (RuntimeError, AttributeError):  # no oneDNN, a precision that it lacks, a torch that calls it otherwise
        return
    yield "oneDNN", lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def _fastest_ms(product: Callable[[], Tensor], watch: Watch) -> float:
    watch(product)
    times_ms = [watch(product)]
    while sum(times_ms) < SPAN_MS:
        times_ms.append(watch(product))
    return min(times_ms)
