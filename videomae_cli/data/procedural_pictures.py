"""Pictures out of nothing but a seed: scenes with something to see at every scale, and flat graphics.

Where photographs are few, a model that watches a camera move learns from these too.

Letters: S pixels along either side, P colours.
"""

from __future__ import annotations

import string

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from ..video.picture_file import GLYPH_HEIGHT_PX, GLYPH_WIDTH_PX, Picture, draw_caption

Floats = npt.NDArray[np.float32]

_GRAPHIC_SHARE = 0.3
_LEAVES_SHARE, _SHAPES_SHARE, _LETTERS_SHARE = 0.75, 0.5, 0.4
_NUM_COLOURS = 6
_LETTERS = np.array(list(string.ascii_letters + string.digits + "  ...,-"))


def procedural_picture(rng: np.random.Generator, size_px: int) -> Picture:
    """Draw a picture: of some, a scene as in nature, of others, flat graphics as on screens.

    Args:
        rng: what is drawn from.
        size_px: S, at least 32.

    Returns:
        uint8 RGB (S, S, 3).
    """
    canvas = _graphic(rng, size_px) if rng.random() < _GRAPHIC_SHARE else _scene(rng, size_px)
    return canvas.round().clip(0, 255).astype(np.uint8)


def _scene(rng: np.random.Generator, size_px: int) -> Floats:
    """A cloudy ground and, each or not, dead leaves, large shapes, and letters; (S, S, 3)."""
    palette = _palette(rng)
    canvas = _ground(rng, size_px, palette)
    if rng.random() < _SHAPES_SHARE:
        _paint_shapes(canvas, rng, palette, number=int(rng.integers(2, 9)), sides=(0.15, 0.6))
    if rng.random() < _LEAVES_SHARE:
        _paint_leaves(canvas, rng, palette)
    if rng.random() < _LETTERS_SHARE:
        for _ in range(rng.integers(1, 6)):
            _write_letters(canvas, rng, palette)
    canvas += clouds(rng, size_px, roughness=0.9)[..., None] * rng.uniform(2, 14)  # nothing is quite plain
    return canvas


def _graphic(rng: np.random.Generator, size_px: int) -> Floats:
    """Stripes, and on them boxes, discs and letters, all without a texture; (S, S, 3)."""
    canvas = _stripes(rng, size_px)
    y, x = np.ogrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j]
    for _ in range(rng.integers(3, 10)):
        height, width = rng.uniform(0.03, 0.6, 2)
        exponent = rng.choice([2, 100])  # a disc, a box
        turn = rng.uniform(0, np.pi) if rng.random() < 0.3 else 0.0
        (y0, x0), cos, sin = rng.uniform(-1, 1, 2), np.cos(turn), np.sin(turn)
        across, down = cos * (x - x0) + sin * (y - y0), cos * (y - y0) - sin * (x - x0)
        is_inside = (across / width) ** exponent + (down / height) ** exponent < 1
        canvas[is_inside] = _stripes(rng, size_px)[is_inside]
    for _ in range(rng.integers(0, 5)):
        _write_letters(canvas, rng, _loud_colours(rng, _NUM_COLOURS))
    return canvas


def _stripes(rng: np.random.Generator, size_px: int) -> Floats:
    """Stripes of loud colours, or one colour, or slopes from one to the next; upright, level, or aslant; (S, S, 3)."""
    colours = _loud_colours(rng, int(rng.choice([1, 2, 6, 12])))
    turn = rng.uniform(0, np.pi) if rng.random() < 0.2 else rng.choice([0, np.pi / 2])
    steps = np.linspace(-0.5, 0.5, size_px)
    place = (np.cos(turn) * steps + np.sin(turn) * steps[:, None] + rng.uniform(1, 2)) * rng.uniform(4, 9)  # (S, S)
    number = place.astype(int)
    mix = (place - number)[..., None] if rng.random() < 0.3 else 0.0
    first, second = colours[number % len(colours)], colours[(number + 1) % len(colours)]
    return np.asarray(first + mix * (second - first), np.float32)


def _loud_colours(rng: np.random.Generator, number: int) -> Floats:
    """Colours of paint rather than of things, (number, 3) levels."""
    return np.asarray(rng.choice([0, 255, 128, rng.uniform(0, 255)], (number, 3), p=[0.4, 0.4, 0.1, 0.1]), np.float32)


def clouds(rng: np.random.Generator, size_px: int, roughness: float) -> Floats:
    """Noise at all scales from the picture's to the pixel's.

    Args:
        rng: what is drawn from.
        size_px: S.
        roughness: of a scale relative to one twice as large; 0.5 is soft, 1 is as rough as sand.

    Returns:
        (S, S), of mean 0 and deviation 1.
    """
    num_octaves = max(1, int(np.log2(size_px)) - 1)
    side = -(-size_px // 2**num_octaves)
    field = torch.from_numpy(rng.standard_normal((1, 1, side, side), dtype=np.float32))
    for octave in range(1, num_octaves + 1):
        field = interpolate(field, scale_factor=2, mode="bilinear")
        field += torch.from_numpy(rng.standard_normal(field.shape, dtype=np.float32)) * roughness**octave
    cut = field[0, 0, :size_px, :size_px]
    return np.asarray((cut - cut.mean()) / cut.std())


def _palette(rng: np.random.Generator) -> Floats:
    """Colours that go together, (P, 3) levels: most differ in brightness more than in hue, as things do."""
    grey, tint = rng.uniform(20, 235, (_NUM_COLOURS, 1)), rng.normal(0, 18, 3)
    chroma = rng.normal(0, rng.uniform(5, 40), (_NUM_COLOURS, 3))
    return np.asarray((grey + tint + chroma).clip(0, 255), np.float32)


def _ground(rng: np.random.Generator, size_px: int, palette: Floats) -> Floats:
    """A slope of light from one colour to another, with clouds on it; (S, S, 3)."""
    steps = np.linspace(-0.5, 0.5, size_px, dtype=np.float32)
    slope = steps * rng.uniform(-1, 1) + steps[:, None] * rng.uniform(-1, 1) + 0.5  # (S, S)
    canvas = palette[0] + slope[..., None] * (palette[1] - palette[0])
    shade = clouds(rng, size_px, roughness=rng.uniform(0.4, 0.9)) * rng.uniform(5, 45)
    tint = clouds(rng, size_px, roughness=0.5)[..., None] * rng.uniform(-20, 20, 3)
    return np.asarray(canvas + shade[..., None] + tint, np.float32)


def _paint_leaves(canvas: Floats, rng: np.random.Generator, palette: Floats) -> None:
    """Overlapping patches whose number falls with the third power of their size, as in natural scenes."""
    size_px = len(canvas)
    smallest, largest = rng.uniform(0.015, 0.04), rng.uniform(0.1, 0.35)
    uniform = rng.random(rng.integers(60, 400))
    # The inverse of the distribution function of sizes with density r^-3.
    sides = (smallest**-2 + uniform * (largest**-2 - smallest**-2)) ** -0.5
    texture = clouds(rng, size_px, roughness=0.8) * rng.uniform(0, 25)
    for side in np.sort(sides)[::-1] if rng.random() < 0.5 else sides:
        _paint_patch(canvas, rng, palette, side * size_px, texture)


def _paint_shapes(
    canvas: Floats, rng: np.random.Generator, palette: Floats, number: int, sides: tuple[float, float]
) -> None:
    texture = clouds(rng, len(canvas), roughness=0.6) * rng.uniform(0, 10)
    for side in rng.uniform(*sides, number):
        _paint_patch(canvas, rng, palette, side * len(canvas), texture)


def _paint_patch(canvas: Floats, rng: np.random.Generator, palette: Floats, half_px: float, texture: Floats) -> None:
    """One patch between an ellipse and a rectangle, turned, shaded and textured; painted onto the canvas."""
    size_px = len(canvas)
    y0, x0 = rng.uniform(0, size_px, 2)
    top, left = max(0, int(y0 - half_px)), max(0, int(x0 - half_px))
    y, x = np.ogrid[top : min(size_px, int(y0 + half_px) + 1), left : min(size_px, int(x0 + half_px) + 1)]
    angle, flatness, exponent = rng.uniform(0, np.pi), rng.uniform(0.3, 1), rng.choice([2, 2, 8])
    cos, sin = np.cos(angle) / half_px * 1.3, np.sin(angle) / half_px * 1.3
    along, across = cos * (x - x0) + sin * (y - y0), (cos * (y - y0) - sin * (x - x0)) / flatness
    is_inside = along**exponent + across**exponent < 1
    shade = along * rng.uniform(-25, 25) + texture[top : top + len(y), left : left + x.shape[1]]
    colour = palette[rng.integers(len(palette))] + rng.normal(0, 12, 3)
    part = canvas[top : top + len(y), left : left + x.shape[1]]
    part[is_inside] = (colour + shade[..., None])[is_inside]


def _write_letters(canvas: Floats, rng: np.random.Generator, palette: Floats) -> None:
    """A line of letters, enlarged, somewhere."""
    size_px = len(canvas)
    zoom = int(rng.integers(1, max(2, size_px // 64 + 1)))
    num_letters = int(rng.integers(3, 3 + max(1, size_px // (GLYPH_WIDTH_PX * zoom))))
    caption = draw_caption("".join(rng.choice(_LETTERS, num_letters)), num_letters * GLYPH_WIDTH_PX)
    is_ink = (caption[..., 0] == 0).repeat(zoom, axis=0).repeat(zoom, axis=1)
    top = int(rng.integers(0, max(1, size_px - GLYPH_HEIGHT_PX * zoom)))
    left = int(rng.integers(0, size_px // 2))
    part = canvas[top : top + len(is_ink), left : left + is_ink.shape[1]]
    is_ink = is_ink[: len(part), : part.shape[1]]
    if rng.random() < 0.3:
        part[...] = palette[rng.integers(len(palette))]  # a plate behind them
    part[is_ink] = rng.choice([0, 255, *palette.mean(axis=1)]) + rng.normal(0, 10, 3)
