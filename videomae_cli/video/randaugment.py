"""RandAugment (arXiv 1909.13719) as timm names and tunes it, for clips: all frames get the same operations.

The operations are Pillow's, see `colour.py` and `affine.py`; timm auto_augment.py says how strong each is, and V1
rand_augment.py how clips are treated.

Letters: T frames, C channels, H W pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import UsageError
from . import affine, colour

MAX_LEVEL = 10
"""Of a magnitude."""

PROBABILITY = 0.5
"""Of each chosen operation to take place."""

FILL = 128
"""Level of what geometric operations bring in from outside of the frame; V1 leaves timm's default."""

OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "AutoContrast": lambda clip, _: colour.auto_contrast(clip),
    "Equalize": lambda clip, _: colour.equalize(clip),
    "Invert": lambda clip, _: colour.invert(clip),
    "Rotate": lambda clip, degrees: affine.rotate(clip, degrees, FILL),
    "Posterize": lambda clip, num_bits: colour.posterize(clip, int(num_bits)),
    "Solarize": lambda clip, threshold: colour.solarize(clip, int(threshold)),
    "SolarizeAdd": lambda clip, addend: colour.solarize_add(clip, int(addend)),
    "Color": colour.colour,
    "Contrast": colour.contrast,
    "Brightness": colour.brightness,
    "Sharpness": colour.sharpness,
    "ShearX": lambda clip, factor: affine.shear_x(clip, factor, FILL),
    "ShearY": lambda clip, factor: affine.shear_y(clip, factor, FILL),
    "TranslateXRel": lambda clip, part: affine.translate_x(clip, part, FILL),
    "TranslateYRel": lambda clip, part: affine.translate_y(clip, part, FILL),
}
"""By timm's names: (T, C, H, W) uint8 frames and what `argument` says -> (T, C, H, W) uint8."""

_SECTION = re.compile(r"(mstd|m|n|inc)(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class RandAugment:
    """A few operations in a row, drawn with replacement.

    Args:
        magnitude: strength of the operations, in [0, 10].
        num_operations: how many are drawn; about half of them take place.
        magnitude_std: deviation of the normal noise on the magnitude.
        increasing: whether all operations get stronger with the magnitude; else some get weaker.
    """

    magnitude: float = 10
    num_operations: int = 2
    magnitude_std: float = 0
    increasing: bool = False

    @classmethod
    def parse(cls, text: str) -> RandAugment:
        """Read timm's notation.

        Args:
            text: "rand" and sections in any order, by default "rand-m10-n2-mstd0-inc0".

        Raises:
            UsageError: not of that form, or a value out of range.
        """
        name, *sections = text.split("-")
        matches = [_SECTION.fullmatch(section) for section in sections]
        values = {match[1]: float(match[2]) for match in matches if match}
        known = name == "rand" and len(values) == len(sections)
        integers = all(values.get(key, 0) % 1 == 0 for key in ("n", "inc"))
        in_range = values.get("m", 0) <= MAX_LEVEL and values.get("inc", 0) <= 1
        if not (known and integers and in_range):
            raise UsageError(
                f"rand_augment is {text!r}",
                "It is written as rand-m7-n4-mstd0.5-inc1: m magnitude (0 to 10), n operations, mstd deviation of the "
                "magnitude, inc1 where all operations grow with it.",
            )
        return cls(
            magnitude=values.get("m", cls.magnitude),
            num_operations=int(values.get("n", cls.num_operations)),
            magnitude_std=values.get("mstd", cls.magnitude_std),
            increasing=bool(values.get("inc", cls.increasing)),
        )

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Draw operations, and apply them.

        Args:
            clip: (T, C, H, W) uint8, RGB.
            rng: what is drawn from.

        Returns:
            (T, C, H, W) uint8; the input itself where no operation takes place.
        """
        for name, value in self.draw(rng):
            clip = OPERATIONS[name](clip, value)
        return clip

    def draw(self, rng: np.random.Generator) -> list[tuple[str, float]]:
        """The operations that take place, in order, and their arguments: see `OPERATIONS` and `argument`."""
        drawn = []
        for name in rng.choice(list(OPERATIONS), self.num_operations):
            if rng.random() >= PROBABILITY:
                continue
            level = min(max(rng.normal(self.magnitude, self.magnitude_std), 0.0), MAX_LEVEL)
            sign = 1 if rng.random() < 0.5 else -1
            drawn.append((str(name), argument(name, level, sign, self.increasing)))
        return drawn


def argument(name: str, level: float, sign: int, increasing: bool) -> float:
    """What an operation is called with (`LEVEL_TO_ARG` of timm).

    Args:
        name: of `OPERATIONS`.
        level: magnitude in [0, 10].
        sign: 1 or -1, the direction of operations that have one.
        increasing: see `RandAugment`.

    Returns:
        Degrees, bits, a threshold, an addend, a blending factor or a part of a side, whole where it counts; 0 where
        there is nothing to tell.
    """
    part = level / MAX_LEVEL
    match name:
        case "Rotate":
            return sign * part * 30
        case "Posterize":
            return 4 - int(part * 4) if increasing else int(part * 4)
        case "Solarize":
            return 256 - int(part * 256) if increasing else int(part * 256)
        case "SolarizeAdd":
            return int(part * 110)
        case "Color" | "Contrast" | "Brightness" | "Sharpness":
            return 1 + sign * part * 0.9 if increasing else 0.1 + part * 1.8
        case "ShearX" | "ShearY":
            return sign * part * 0.3
        case "TranslateXRel" | "TranslateYRel":
            return sign * part * 0.45
    return 0
