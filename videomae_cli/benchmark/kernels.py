"""Which of torch's attention kernels a model runs on: found by watching, not by asking for one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


def import_what_watching_needs() -> None:
    """Watch once: torch imports sympy and more for it, 70 MB that no row should be charged with."""
    with FirstAttention():
        F.scaled_dot_product_attention(*torch.zeros(3, 1, 1, 1, 8))


class FirstAttention(TorchFunctionMode):
    """Finds the kernel that torch chooses for the first scaled dot-product attention inside of a `with` block.

    Torch is made to choose once more, for tensors of the same layout: in inference mode it does not show what it does.

    Attributes:
        kernel: "flash", "efficient", "cudnn" and the like, or "math" for the formula in single steps; None while there
            was no scaled dot-product attention.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel: str | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called by torch for each of its functions."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and self.kernel is None:
            with torch.inference_mode(False), _Operators() as seen:
                func(*map(_like, args), **{name: _like(value) for name, value in kwargs.items()})
            found = (re.search(r"::_scaled_dot_product_(\w+?)_attention", name) for name in seen.names)
            self.kernel = next((match[1] for match in found if match), "math")
        return func(*args, **kwargs)


def _like(value: Any) -> Any:
    """A tensor of the same layout and no particular content; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    twin = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
    return twin.requires_grad_(value.requires_grad)


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators that reach the device's own code."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))
