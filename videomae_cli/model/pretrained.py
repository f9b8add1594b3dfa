"""from_pretrained and save_pretrained, shared by the three models."""

from __future__ import annotations

from torch import nn

from .config import VideoMAEConfig


class PretrainedModel(nn.Module):
    """A model that is loaded from, and saved to, a checkpoint folder."""

    config: VideoMAEConfig
