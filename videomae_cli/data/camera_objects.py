"""Things that move by themselves before what a camera films, so that a clip's class is what the camera does.

Places are told in units of the view's shorter side, from its centre: u to the right, v down.

Letters: T frames, C channels, H W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ..video.picture_file import Picture
from ..video.resize import resize
from .camera_path import CameraPath

COVERED = 0.35
"""Part of the view that all objects together cover at most."""

_NUMBERS, _PROBABILITIES = (0, 1, 2, 3), (0.5, 0.25, 0.15, 0.1)
_SMALLEST = 0.1
"""Part of its share of `COVERED` that an object covers at least."""

_TEXTURE_PX = 48
_LONGEST_WAY = 0.6
"""That an object goes during a clip."""

_RESTING_SHARE = 0.25
_HELD_SHARE = 0.35
"""Objects that the camera follows, or that are glued to its picture; the others are part of the scene."""


def put_objects(frames: Tensor, picture: Picture, path: CameraPath, rng: np.random.Generator) -> Tensor:
    """Put a few objects, or none, into a film.

    Args:
        frames: (T, C, H, W) float32 levels.
        picture: uint8 RGB (H, W, 3), whose parts the objects look like.
        path: of the camera, T moments.
        rng: what is drawn from.

    Returns:
        As `frames`.
    """
    number = int(rng.choice(_NUMBERS, p=_PROBABILITIES))
    for _ in range(number):
        layer = _layer(_texture(picture, rng), frames.shape[-2:], path, COVERED / number, rng)
        frames = frames * (1 - layer[:, 3:]) + layer[:, :3]
    return frames


def _texture(picture: Picture, rng: np.random.Generator) -> Tensor:
    """What an object looks like, (4, height, width): its levels times its opacity, and its opacity."""
    height_px, width_px = picture.shape[:2]
    side = min(height_px, width_px, int(rng.integers(_TEXTURE_PX // 2, 3 * _TEXTURE_PX)))
    y, x = rng.integers(height_px - side + 1), rng.integers(width_px - side + 1)
    part = torch.from_numpy(np.ascontiguousarray(picture[y : y + side, x : x + side])).movedim(-1, 0)[None]
    levels = resize(part, _TEXTURE_PX, _TEXTURE_PX)[0].float() * rng.uniform(0.5, 1.3) + rng.uniform(-40, 40)
    # From a rhombus over an ellipse to almost a rectangle: |x|^p + |y|^p < 1.
    exponent = rng.uniform(1, 3) ** 2
    powers = torch.linspace(-1, 1, _TEXTURE_PX).abs() ** exponent
    opacity = ((1 - powers - powers[:, None]) * _TEXTURE_PX / 4).clamp(0, 1)
    return torch.cat([levels.clamp(0, 255) * opacity, opacity[None]])


def _layer(texture: Tensor, extent_px: torch.Size, path: CameraPath, area: float, rng: np.random.Generator) -> Tensor:
    """An object on its way, (T, 4, H, W), as `_texture`; it covers at most `area` of the view."""
    view_v, view_u = (side / min(extent_px) for side in extent_px)
    times = np.linspace(0, 1, len(path.x))
    start_u, start_v = rng.uniform(-0.5, 0.5, 2) * (view_u, view_v)
    way_u, way_v = rng.uniform(-1, 1, 2) * _LONGEST_WAY * (rng.random() >= _RESTING_SHARE)
    if rng.random() < _HELD_SHARE:
        u, v, turn, growth = start_u, start_v, np.zeros_like(times), np.ones_like(times)
    else:
        x, y = path[:1].seen(start_u, start_v)  # (1, 1) each
        u, v = path.shown(x.item(), y.item())  # (T,) each
        turn, growth = -path.roll, path.zoom / path.zoom.max()
    u, v, turn = u + way_u * times, v + way_v * times, turn + rng.uniform(-0.5, 0.5)
    # A rectangle around the object, of sides 2a and 2b at its largest.
    side, ratio = np.sqrt(area * rng.uniform(_SMALLEST, 1) * view_u * view_v), 2 ** rng.uniform(-0.5, 0.5)
    a, b = side * ratio / 2 * growth, side / ratio / 2 * growth  # (T,) each
    cos, sin = np.cos(turn), np.sin(turn)
    # From points of the view in [-1, 1], as torch has them, to such points of the texture.
    to_x = [cos * view_u / 2 / a, sin * view_v / 2 / a, -(cos * u + sin * v) / a]
    to_y = [-sin * view_u / 2 / b, cos * view_v / 2 / b, (sin * u - cos * v) / b]
    maps = torch.from_numpy(np.stack([to_x, to_y])).movedim(-1, 0).float()  # (T, 2, 3)
    points = affine_grid(maps, [len(maps), 4, *extent_px], align_corners=False)  # (T, H, W, 2)
    return grid_sample(texture.expand(len(maps), -1, -1, -1), points, align_corners=False)
