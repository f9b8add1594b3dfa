"""How videos are looked at: what the options of `classify` and `evaluate` say. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..video.sampling import SamplingKind
    from .windows import Windowing


@dataclass(frozen=True)
class Look:
    """How each video is looked at.

    Attributes:
        views: temporal x spatial views.
        stride: distance of sampled frames; None is the checkpoint's own.
        top_k: labels for each video.
        batch_size: views in one forward pass, of one video or of several; None takes what suits model and machine.
        num_workers: videos that are decoded at once; None is one a core, at most 16.
        max_pixels: refuse videos with more pixels in a frame; None is the reader's own limit.
        allow_images: take still images as one-frame videos.
        strict: count truncated and partly corrupt videos as failed.
        sampling_kind: "dense" or "segments"; None follows the data set that the checkpoint was trained on.
        decode_timeout_seconds: for each video, or with `windowing` for each sign of life; only processes can be
            stopped when it is over.
        windowing: cut each video into windows, and label them one by one; None looks at it as a whole.
        num_thumbnails: small pictures of each video that a prediction brings along, at most.
        ordered: records come in the order of the inputs; else as they are known.
    """

    views: tuple[int, int] = (1, 1)
    stride: int | None = None
    top_k: int = 5
    batch_size: int | None = None
    num_workers: int | None = None
    max_pixels: int | None = None
    allow_images: bool = False
    strict: bool = False
    sampling_kind: SamplingKind | None = None
    decode_timeout_seconds: float = 60.0
    windowing: Windowing | None = None
    num_thumbnails: int = 0
    ordered: bool = True
