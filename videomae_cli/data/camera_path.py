"""Where a camera looks while it moves in one of ten ways; the other files of `camera_*` turn that into pictures.

Places are told in units of the shorter side of the first view, seen from behind the camera: x to the right, y down.

Letters: M moments, A the four axes along which a camera moves: x, y, zoom, roll.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CLASSES = (
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "roll clockwise",
    "roll counter-clockwise",
    "handheld shake",
)
"""What the camera does. A pan to the left moves the picture to the right, and so on: the picture does the opposite."""

# Axis of each movement along one, and its sign; and how far it goes along that axis during a clip.
_AXES = {
    "pan left": (0, -1),
    "pan right": (0, 1),
    "tilt up": (1, -1),
    "tilt down": (1, 1),
    "zoom in": (2, 1),
    "zoom out": (2, -1),
    "roll clockwise": (3, 1),
    "roll counter-clockwise": (3, -1),
}
_RANGES = (
    (0.1, 1.0),  # x and y: parts of the view
    (0.1, 1.0),
    (math.log(1.3), math.log(2.5)),  # zoom: the logarithm of a factor
    (math.radians(15), math.radians(90)),  # roll
)

_LEVERS = np.array([1, 1, 0.5, 0.5])
"""How far the picture moves at the middle of an edge for a small step along each axis: makes axes comparable."""

_SIDE_DRIFT = 0.15
"""Nobody moves a camera along one axis alone: the others follow by up to this part of the movement."""

_LARGEST_REST_DRIFT = 0.006
"""Of a static camera along each axis."""

# Trembling, as root mean square along each axis. A tripod does not tremble.
_TRIPOD_SHARE, _LARGEST_TREMOR = 0.4, 0.004
_SHAKE = (0.018, 0.07)
_HAND_LEVERS = np.array([1, 1, 3, 2])
"""Hands turn a camera less than they shift it, and move it to and fro still less."""

_NUM_WAVES = 6
_CYCLES = (1.5, 7)
"""Of a wave of the trembling during a clip: 16 frames can show up to 8."""

_NUM_SPEEDS = 5
_REST_SHARE = 0.3


@dataclass(frozen=True)
class CameraPath:
    """A camera's view at some moments.

    Args:
        x: (M,) of the view's centre.
        y: (M,) likewise.
        zoom: (M,) magnification, positive.
        roll: (M,) radians clockwise that the camera is turned by.
    """

    x: Floats
    y: Floats
    zoom: Floats
    roll: Floats

    def __getitem__(self, moments: slice) -> CameraPath:
        """The same path at some of its moments."""
        return CameraPath(self.x[moments], self.y[moments], self.zoom[moments], self.roll[moments])

    def seen(self, u: Floats | float, v: Floats | float) -> tuple[Floats, Floats]:
        """The places that points of the view show.

        Args:
            u: one, (P,) or (M, P) points to the right of the view's centre, in units.
            v: likewise, below it.

        Returns:
            x and y, (M, P).
        """
        cos, sin = np.cos(self.roll)[:, None] / self.zoom[:, None], np.sin(self.roll)[:, None] / self.zoom[:, None]
        return self.x[:, None] + cos * u - sin * v, self.y[:, None] + sin * u + cos * v

    def shown(self, x: float, y: float) -> tuple[Floats, Floats]:
        """The point of the view that shows a place: the inverse of `seen`.

        Args:
            x: of the place.
            y: of the place.

        Returns:
            u and v, (M,).
        """
        cos, sin = np.cos(self.roll) * self.zoom, np.sin(self.roll) * self.zoom
        return cos * (x - self.x) + sin * (y - self.y), cos * (y - self.y) - sin * (x - self.x)


def draw_path(movement: str, rng: np.random.Generator, times: Floats, *, least: float = 0.0) -> CameraPath:
    """A way of moving; what is drawn does not depend on how many moments are asked for.

    Args:
        movement: one of `CLASSES`.
        rng: what is drawn from.
        times: (M,) the moments, from 0 at the clip's beginning to 1 at its end.
        least: the smallest movement, in [0, 1): from 0, the smallest that there is, over equal factors to the largest.
    """
    drift, tremor = _draw_drift(movement, rng, least), _draw_tremor(movement, rng, least)  # (A,) each
    places = _progress(rng, times)[:, None] * drift  # (M, A)
    waves = _waves(rng, times) * tremor  # (M, A)
    if movement == "handheld shake":
        waves -= _trend(waves, times)
    x, y, log_zoom, roll = (places + waves).T
    return CameraPath(x, y, np.exp(log_zoom), roll)


def _draw_drift(movement: str, rng: np.random.Generator, least: float) -> Floats:
    """How far the camera gets along each axis, (A,)."""
    aside = rng.uniform(-1, 1, 4) / _LEVERS
    if movement == "static":
        return np.asarray(aside * rng.uniform(0, _LARGEST_REST_DRIFT))
    if movement == "handheld shake":
        return np.zeros(4)
    axis, sign = _AXES[movement]
    distance = _log_uniform(rng, *_RANGES[axis], least)
    drift = np.asarray(aside * _SIDE_DRIFT * distance * _LEVERS[axis])
    drift[axis] = sign * distance
    return drift


def _draw_tremor(movement: str, rng: np.random.Generator, least: float) -> Floats:
    """How much the camera trembles along each axis, (A,): root mean squares."""
    if movement == "handheld shake":
        strength = _log_uniform(rng, *_SHAKE, least)
    else:
        strength = rng.uniform(0, _LARGEST_TREMOR) * (rng.random() >= _TRIPOD_SHARE)
    return np.asarray(strength * rng.uniform(0.5, 1, 4) / (_LEVERS * _HAND_LEVERS))


def _log_uniform(rng: np.random.Generator, low: float, high: float, least: float) -> float:
    """As many small values as large ones: each doubling is as likely, from part `least` of them on."""
    return float(low * (high / low) ** rng.uniform(least, 1))


def _progress(rng: np.random.Generator, times: Floats) -> Floats:
    """Part of the way that is done at each moment, (M,): from 0 to 1, never back, at a speed that varies."""
    speeds = rng.uniform(0.3, 1, _NUM_SPEEDS)
    speeds[[0, -1]] *= rng.random(2) >= _REST_SHARE  # starts from rest, comes to rest
    steps = np.linspace(0, 1, 65)
    speed = np.interp(steps, np.linspace(0, 1, _NUM_SPEEDS), speeds)
    way = np.concatenate([[0], np.cumsum(speed[1:] + speed[:-1])])
    return np.asarray(np.interp(times, steps, way / way[-1]))


def _waves(rng: np.random.Generator, times: Floats) -> Floats:
    """A smooth oscillation along each axis with a root mean square of about 1, (M, A)."""
    low, high = _CYCLES
    cycles = low * (high / low) ** rng.random((_NUM_WAVES, 4))
    phases = rng.uniform(0, 2 * math.pi, (_NUM_WAVES, 4))
    weights = rng.uniform(0.3, 1, (_NUM_WAVES, 4)) / np.sqrt(cycles)
    weights /= np.sqrt((weights**2).sum(axis=0) / 2)
    return np.asarray((weights * np.sin(2 * math.pi * cycles * times[:, None, None] + phases)).sum(axis=1))


def _trend(waves: Floats, times: Floats) -> Floats:
    """The straight line through the oscillation along each axis, (M, A)."""
    line = np.stack([np.ones_like(times), times], axis=1)  # (M, 2)
    return np.asarray(line @ np.linalg.lstsq(line, waves, rcond=None)[0])
