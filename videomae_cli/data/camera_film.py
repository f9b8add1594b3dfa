"""Filming a still picture: what a camera that moves over it would record, with all that is wrong with recordings.

Places are told in units of the view's shorter side, as in `camera_path.py`; `scale_px` pixels of the picture are one.

Letters: T frames, S samples of a frame, M = T * S moments, C channels, H W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ..video.picture_file import Picture
from ..video.resize import resize
from .camera_objects import put_objects
from .camera_path import CameraPath, Floats, draw_path
from .camera_recording import record

AnyFloat = TypeVar("AnyFloat", float, Floats)

_SAMPLES = np.array([(-1, -1), (1, 1), (-1, 1), (1, -1)]) / 4
"""Where in a pixel each sample of a frame lies, (S, 2). They are taken in turn while the shutter is open."""

_LONGEST_SHUTTER = 0.8
"""Part of a frame's time."""

_SHARPEST = 2.0
"""Pixels of the picture to one of the film, along a side: as many as two samples side by side can take in."""

_SOFT_SHARE, _SOFT = 0.15, (0.6, 1.0)
"""Films out of focus: their share, and their pixels of the picture to one of the film."""


_NUM_PLACES = 6
"""Tried, to film the one with edges in all directions: before a clear sky no camera seems to move, and over upright
bars nobody sees a tilt."""


@dataclass(frozen=True)
class Place:
    """Where a path lies in a picture.

    Args:
        left_px: of the path's place x = 0.
        top_px: of the path's place y = 0.
        scale_px: of one unit.
    """

    left_px: float
    top_px: float
    scale_px: float

    def x(self, x: AnyFloat) -> AnyFloat:
        """The place in the picture, in pixels; the first pixel's centre is at 0.5."""
        return self.left_px + self.scale_px * x

    def y(self, y: AnyFloat) -> AnyFloat:
        """As `x`, downwards."""
        return self.top_px + self.scale_px * y


def film(
    picture: Picture,
    movement: str,
    rng: np.random.Generator,
    *,
    num_frames: int,
    height_px: int,
    width_px: int,
    objects: Picture | None = None,
    least: float = 0.0,
) -> Tensor:
    """Film a picture with a moving camera, which never sees beyond the picture's edge.

    Args:
        picture: uint8 RGB (H, W, 3), of any size.
        movement: one of `CLASSES`.
        rng: what is drawn from.
        num_frames: T.
        height_px: of the film.
        width_px: likewise.
        objects: what things that move by themselves are cut from, as `picture`; None shows no such things.
        least: the smallest movement, as `draw_path` has it.

    Returns:
        (T, C, height_px, width_px) uint8, contiguous.
    """
    num_samples, film_px = len(_SAMPLES), (height_px, width_px)
    shutter = rng.uniform(0, _LONGEST_SHUTTER)
    moments = np.arange(num_frames)[:, None] + shutter * np.arange(num_samples) / num_samples  # (T, S)
    path = draw_path(movement, rng, moments.ravel() / num_frames, least=least)
    places = [lay(path, film_px, picture.shape[:2], rng) for _ in range(_NUM_PLACES)]
    place = max(places, key=lambda place: _least_detail(_part(picture, path, place, film_px)[0]))
    shots = _shoot(picture, path, place, film_px, rng)  # (M, C, H, W)
    frames = shots.view(num_frames, num_samples, *shots.shape[1:]).mean(dim=1)  # (T, C, H, W)
    if objects is not None:
        frames = put_objects(frames, objects, path[::num_samples], rng)
    return record(frames, rng)


def lay(path: CameraPath, film_px: tuple[int, int], picture_px: tuple[int, ...], rng: np.random.Generator) -> Place:
    """A place for a path at which the picture fills the view all along.

    Args:
        path: of the camera.
        film_px: height and width of the film.
        picture_px: height and width of the picture.
        rng: what is drawn from. First the scale: up to what fits and, if it fits, not so small that pixels are
            magnified. Then the place.
    """
    top, left, bottom, right = _bounds(path, film_px)
    height_px, width_px = picture_px
    largest = min(height_px / (bottom - top), width_px / (right - left))
    smallest = min(largest, min(film_px) * float(path.zoom.max()))
    scale_px = smallest * (largest / smallest) ** rng.random()
    free_y, free_x = height_px - scale_px * (bottom - top), width_px - scale_px * (right - left)
    return Place(rng.random() * free_x - scale_px * left, rng.random() * free_y - scale_px * top, scale_px)


def _bounds(path: CameraPath, film_px: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box around all that is seen along a path: top, left, bottom, right."""
    half_v, half_u = _half_view(film_px)
    x, y = path.seen(np.array([-1, 1, 1, -1]) * half_u, np.array([-1, -1, 1, 1]) * half_v)  # (M, 4) each: the corners
    return float(y.min()), float(x.min()), float(y.max()), float(x.max())


def _half_view(film_px: tuple[int, int]) -> tuple[float, float]:
    """From the view's centre to its lower and to its right edge."""
    height_px, width_px = film_px
    return height_px / min(film_px) / 2, width_px / min(film_px) / 2


def _part(picture: Picture, path: CameraPath, place: Place, film_px: tuple[int, int]) -> tuple[Picture, int, int]:
    """The part of a picture that is seen, with the pixels around it that the interpolation reads; its top and left."""
    top, left, bottom, right = _bounds(path, film_px)
    y0, x0 = (max(0, math.floor(side) - 1) for side in (place.y(top), place.x(left)))
    y1, x1 = (math.ceil(side) + 1 for side in (place.y(bottom), place.x(right)))
    return picture[y0:y1, x0:x1], y0, x0


def _least_detail(part: Picture) -> float:
    """How much the levels change from pixel to pixel in the direction in which they change least, squared."""
    levels = part.sum(axis=-1, dtype=np.float32) / 3
    if min(levels.shape) < 2:
        return 0.0
    down, across = np.diff(levels, axis=0)[:, 1:], np.diff(levels, axis=1)[1:]
    yy, xx, yx = (down * down).mean(), (across * across).mean(), (down * across).mean()
    return float((yy + xx - np.hypot(yy - xx, 2 * yx)) / 2)  # the smaller eigenvalue: Shi and Tomasi, 1994


def _shoot(
    picture: Picture, path: CameraPath, place: Place, film_px: tuple[int, int], rng: np.random.Generator
) -> Tensor:
    """What is seen along a path, (M, C, H, W) float32 levels."""
    sharpness = rng.uniform(*_SOFT) if rng.random() < _SOFT_SHARE else _SHARPEST
    shrink = sharpness * min(film_px) * float(path.zoom.min()) / place.scale_px
    part, y0, x0 = _part(picture, path, place, film_px)
    height, width = part.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(part)).movedim(-1, 0)[None]  # (1, C, height, width)
    if shrink < 1:
        pixels = resize(pixels, max(1, round(height * shrink)), max(1, round(width * shrink)))
    # torch's points of a picture are in [-1, 1]. Three points of the view give the affine map to those of the part.
    dv, du = np.tile(_SAMPLES, (len(path.x) // len(_SAMPLES), 1)).T[..., None] / min(film_px)  # (M, 1) each
    half_v, half_u = _half_view(film_px)
    x, y = path.seen(du + np.array([0, half_u, 0]), dv + np.array([0, 0, half_v]))  # (M, 3) each
    points = np.stack([(place.x(x) - x0) / width, (place.y(y) - y0) / height], axis=1)  # (M, 2, 3)
    centre, beside, below = np.moveaxis(2 * points - 1, -1, 0)  # (M, 2) each
    maps = torch.from_numpy(np.stack([beside - centre, below - centre, centre], axis=-1)).float()  # (M, 2, 3)
    grid = affine_grid(maps, [len(maps), 3, *film_px], align_corners=False)  # (M, H, W, 2)
    sources = pixels.float().expand(len(maps), -1, -1, -1)
    return grid_sample(sources, grid, padding_mode="border", align_corners=False)
