"""Forward passes of a bounded number of views, which shrinks when memory does not suffice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import MachineError
from .device import is_out_of_memory

if TYPE_CHECKING:
    from .classifier import VideoClassifier


class BoundedForward:
    """The forward pass of a classifier, over as many views at once as fit.

    Args:
        classifier: whose it is.
        max_views: at once; None takes what suits model and machine.

    Attributes:
        max_views: at once, from now on: half as many each time that memory did not suffice.
    """

    def __init__(self, classifier: VideoClassifier, max_views: int | None) -> None:
        self._classifier = classifier
        self.max_views = max_views or classifier.views_at_once

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Any number of views.

        Args:
            pixels: uint8 (B, T, C, H, W).

        Returns:
            (B, num_labels) float32, on the CPU.

        Raises:
            MachineError: memory does not suffice for a single view.
        """
        done: list[torch.Tensor] = []
        while len(pixels):
            views = pixels[: self.max_views]
            try:
                done.append(self._classifier.logits_of_pixels(views))
            except MachineError as error:
                if len(views) == 1 or not is_out_of_memory(error):
                    raise
                self.max_views = len(views) // 2
            else:
                pixels = pixels[len(views) :]
        return torch.cat(done)
