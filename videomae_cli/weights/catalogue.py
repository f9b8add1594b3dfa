"""The models that have a short name, and what is known of them without asking anybody."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ASSETS = Path(__file__).parents[1] / "assets"
_PUBLISHED_LICENCE = "CC-BY-NC-4.0"


@dataclass(frozen=True)
class KnownModel:
    """One model with a short name.

    Args:
        name: the short name, for `-m`.
        repo: its hub id; None for the model that is part of this package.
        names: what it tells apart.
        num_classes: how many of these.
        licence: of its weights, as SPDX writes it.
        num_parameters: of its network; a download has four bytes for each, and little else.
    """

    name: str
    repo: str | None
    names: str
    num_classes: int
    licence: str
    num_parameters: int

    @property
    def download_bytes(self) -> int:
        """About how much there is to download; 0 for the built-in model."""
        return 4 * self.num_parameters if self.repo else 0

    @property
    def folder(self) -> Path | None:
        """Where the built-in model is; None for the others."""
        return None if self.repo else _ASSETS / self.name


def _published(name: str, repo: str, names: str, num_classes: int, num_parameters: int) -> KnownModel:
    return KnownModel(name, f"MCG-NJU/videomae-{repo}", names, num_classes, _PUBLISHED_LICENCE, num_parameters)


BUILT_IN = KnownModel("camera-motion", None, "movements of the camera", 10, "Apache-2.0", 1_928_650)

KNOWN_MODELS = (
    BUILT_IN,
    _published("small-k400", "small-finetuned-kinetics", "Kinetics-400", 400, 22_033_936),
    _published("base-k400", "base-finetuned-kinetics", "Kinetics-400", 400, 86_534_800),
    _published("large-k400", "large-finetuned-kinetics", "Kinetics-400", 400, 304_270_736),
    _published("huge-k400", "huge-finetuned-kinetics", "Kinetics-400", 400, 632_119_440),
    _published("small-ssv2", "small-finetuned-ssv2", "Something-Something V2", 174, 21_946_926),
    _published("base-ssv2", "base-finetuned-ssv2", "Something-Something V2", 174, 86_361_006),
)
"""In the order in which they are listed."""

ALIASES: dict[str, str] = {model.name: model.repo for model in KNOWN_MODELS if model.repo}
"""Short names for published checkpoints, and their hub ids."""
