"""Where the time of a run over many videos goes. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Times:
    """Seconds that went into the parts of a run, added up over all that worked side by side.

    Attributes:
        decode_seconds: reading and decoding, of the videos that could be.
        preprocess_seconds: resizing and cropping their frames.
        forward_seconds: normalising, and the model.
        wait_seconds: the model had nothing to do: it waited for videos.
    """

    decode_seconds: float = 0.0
    preprocess_seconds: float = 0.0
    forward_seconds: float = 0.0
    wait_seconds: float = 0.0
