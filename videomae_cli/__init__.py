"""VideoMAE: classify video, on the command line (`videomae`) and from Python.

Names are imported on first use, so that `import videomae_cli` (and `videomae --help`) does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference.classifier import VideoClassifier as VideoClassifier
    from .model.config import VideoMAEConfig as VideoMAEConfig
    from .model.videomae import VideoMAEForPreTraining as VideoMAEForPreTraining
    from .model.videomae import VideoMAEForVideoClassification as VideoMAEForVideoClassification
    from .model.videomae import VideoMAEModel as VideoMAEModel
    from .video.processor import VideoMAEFeatureExtractor as VideoMAEFeatureExtractor
    from .video.processor import VideoMAEImageProcessor as VideoMAEImageProcessor
    from .video.reader import probe as probe
    from .video.reader import read_frames as read_frames

__version__ = "0.1.0"

_HOMES = {
    "VideoClassifier": "inference.classifier",
    "VideoMAEConfig": "model.config",
    "VideoMAEFeatureExtractor": "video.processor",
    "VideoMAEForPreTraining": "model.videomae",
    "VideoMAEForVideoClassification": "model.videomae",
    "VideoMAEImageProcessor": "video.processor",
    "VideoMAEModel": "model.videomae",
    "probe": "video.reader",
    "read_frames": "video.reader",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605  (derived, so that the two cannot differ)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'videomae_cli' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
