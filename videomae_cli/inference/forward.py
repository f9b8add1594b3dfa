"""Forward passes of a bounded number of views, which shrinks when memory does not suffice.

Where the caller may want to stop, a thread computes and the caller waits, so that a pass of many seconds holds up no
signal. Else the caller's thread does: autocast and the current device, which belong to a thread, are the caller's then.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Literal

import torch

from ..errors import MachineError
from .device import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from .classifier import VideoClassifier

Halt = Literal["", "drain", "now"]
_WAIT_SECONDS = 0.1  # between looks at whether to stop


class BoundedForward:
    """The forward pass of a classifier, over as many views at once as fit.

    Args:
        classifier: whose it is.
        max_views: at once; None takes what suits model and machine.
        halt: asked again and again; at "now" the pass under way is left alone. None: nobody will ask for that.

    Attributes:
        max_views: at once, from now on: half as many each time that memory did not suffice.
    """

    def __init__(
        self, classifier: VideoClassifier, max_views: int | None, halt: Callable[[], Halt] | None = None
    ) -> None:
        self._classifier, self._halt = classifier, halt
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forward")
        self.max_views = max_views or classifier.views_at_once

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor | None:
        """Any number of views.

        Args:
            pixels: uint8 (B, T, C, H, W).

        Returns:
            (B, num_labels) float32, on the CPU; None where the wish to stop came first.

        Raises:
            MachineError: memory does not suffice for a single view.
        """
        done: list[torch.Tensor] = []
        while len(pixels):
            views = pixels[: self.max_views]
            try:
                logits = self._pass(views)
            except MachineError as error:
                if len(views) == 1 or not is_out_of_memory(error):
                    raise
                self.max_views = len(views) // 2
            else:
                if logits is None:
                    return None
                done.append(logits)
                pixels = pixels[len(views) :]
        return torch.cat(done)

    def _pass(self, views: torch.Tensor) -> torch.Tensor | None:
        if self._halt is None:
            return self._classifier.logits_of_pixels(views)
        if self._halt() == "now":
            return None
        future = self._thread.submit(self._classifier.logits_of_pixels, views)
        try:
            while not wait([future], _WAIT_SECONDS).done:
                if self._halt() == "now":
                    return None
            return future.result()
        finally:
            del future  # with an error in it, and in that all that the pass holds, it would be its own reference
