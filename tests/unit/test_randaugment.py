"""RandAugment: each operation against Pillow, the strengths against a table, the draws against the recipe."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from videomae_cli.errors import UsageError
from videomae_cli.video.randaugment import FILL, OPERATIONS, RandAugment, argument

RECIPE = RandAugment.parse("rand-m7-n4-mstd0.5-inc1")
Picture = Image.Image


def pictures(num_frames: int = 2, height: int = 90, width: int = 121, seed: int = 0) -> Tensor:
    """Frames (T, 3, H, W) with slopes, edges, texture, a flat patch and clipped highlights, each frame another."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    frames = []
    for _ in range(num_frames):
        a, b, c = rng.uniform(0.02, 0.3, (3, 3))
        waves = 120 + 70 * np.sin(x[..., None] * a + y[..., None] * b) + 60 * np.sin(y[..., None] * c)
        waves += rng.normal(0, 8, (height, width, 3)) + 60 * (x > width * rng.uniform(0.3, 0.7))[..., None]
        waves[: height // 4, : width // 4] = rng.integers(0, 256, 3)
        frames.append(np.clip(waves, 0, 255))
    return torch.from_numpy(np.stack(frames).astype(np.uint8)).movedim(-1, 1)


def by_pillow(clip: Tensor, operation: Callable[[Picture], Picture]) -> Tensor:
    """Each frame through Pillow, (T, C, H, W) uint8."""
    frames = [np.array(operation(Image.fromarray(frame.movedim(0, -1).contiguous().numpy()))) for frame in clip]
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1)


def moved(matrix: tuple[float, ...]) -> Callable[[Picture], Picture]:
    return lambda picture: picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=(FILL,) * 3
    )


def solarized_add(addend: float) -> Callable[[Picture], Picture]:
    table = [min(255, k + int(addend)) if k < 128 else k for k in range(256)]
    return lambda picture: picture.point(table * 3)


LEVELS: dict[str, Callable[[float], Callable[[Picture], Picture]]] = {
    "AutoContrast": lambda _: ImageOps.autocontrast,
    "Equalize": lambda _: ImageOps.equalize,
    "Invert": lambda _: ImageOps.invert,
    "Posterize": lambda bits: lambda picture: ImageOps.posterize(picture, int(bits)),
    "Solarize": lambda threshold: lambda picture: ImageOps.solarize(picture, int(threshold)),
    "SolarizeAdd": solarized_add,
    "Color": lambda factor: lambda picture: ImageEnhance.Color(picture).enhance(factor),
    "Contrast": lambda factor: lambda picture: ImageEnhance.Contrast(picture).enhance(factor),
    "Brightness": lambda factor: lambda picture: ImageEnhance.Brightness(picture).enhance(factor),
    "Sharpness": lambda factor: lambda picture: ImageEnhance.Sharpness(picture).enhance(factor),
}
GEOMETRY: dict[str, Callable[[float], Callable[[Picture], Picture]]] = {
    "Rotate": lambda degrees: lambda picture: picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(FILL,) * 3),
    "ShearX": lambda factor: moved((1, factor, 0, 0, 1, 0)),
    "ShearY": lambda factor: moved((1, 0, 0, factor, 1, 0)),
    "TranslateXRel": lambda part: lambda picture: moved((1, 0, part * picture.width, 0, 1, 0))(picture),
    "TranslateYRel": lambda part: lambda picture: moved((1, 0, 0, 0, 1, part * picture.height))(picture),
}


def test_every_operation_has_its_reference() -> None:
    assert set(OPERATIONS) == set(LEVELS) | set(GEOMETRY)
    assert len(OPERATIONS) == 15


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("level", [0.3, 2.9, 5.0, 7.0, 9.9])
@pytest.mark.parametrize("name", LEVELS)
def test_operations_on_levels_are_pillows_bit_for_bit(name: str, level: float, sign: int, increasing: bool) -> None:
    value = argument(name, level, sign, increasing)
    if name == "Posterize" and value == 0:
        value = 8  # Pillow refuses to keep no bit
    clip = pictures()
    assert torch.equal(OPERATIONS[name](clip, value), by_pillow(clip, LEVELS[name](value)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("level", [0.0, 0.3, 2.9, 5.0, 7.0, 10.0])
@pytest.mark.parametrize("name", GEOMETRY)
def test_geometric_operations_are_pillows_bicubic(name: str, level: float, sign: int) -> None:
    value = argument(name, level, sign, True)
    clip = pictures(3)
    ours, theirs = OPERATIONS[name](clip, value).int(), by_pillow(clip, GEOMETRY[name](value)).int()
    error = (ours - theirs).abs()
    assert error.max() <= 1
    assert (error > 0).sum() <= 1e-3 * error.numel()
    if level > 0:
        assert not torch.equal(theirs, clip.int())


def test_plain_areas_keep_their_level_under_geometric_operations() -> None:
    clip = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 40, 52)
    for name in GEOMETRY:
        result = OPERATIONS[name](clip, argument(name, 7.0, 1, True))
        assert ((result == clip) | (result == FILL)).all(), name


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 7), (5, 2), (3, 3)], ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_tiny_pictures(name: str, size: tuple[int, int]) -> None:
    clip = pictures(2, *size)
    value = argument(name, 7.0, 1, True)
    theirs = by_pillow(clip, (LEVELS | GEOMETRY)[name](value))
    assert (OPERATIONS[name](clip, value).int() - theirs.int()).abs().max() <= (name in GEOMETRY)


@pytest.mark.parametrize("levels", [(0,), (255,), (77,), (10, 11), (0, 255), (3, 90, 200)], ids=str)
@pytest.mark.parametrize("name", ["AutoContrast", "Equalize", "Contrast", "Sharpness"])
def test_pictures_of_few_levels(name: str, levels: tuple[int, ...]) -> None:
    pattern = np.random.default_rng(0).choice(np.array(levels, dtype=np.uint8), (2, 3, 40, 30))
    clip = torch.from_numpy(pattern)
    assert torch.equal(OPERATIONS[name](clip, 1.6), by_pillow(clip, LEVELS[name](1.6)))


def test_a_large_frame_equalizes_as_in_pillow() -> None:
    clip = pictures(1, 480, 640)  # counts beyond 16 bits
    assert torch.equal(OPERATIONS["Equalize"](clip, 0), by_pillow(clip, ImageOps.equalize))


def test_blending_with_factor_one_changes_nothing() -> None:
    clip = pictures()
    for name in ("Color", "Contrast", "Brightness", "Sharpness"):
        assert torch.equal(OPERATIONS[name](clip, 1.0), clip), name


def test_keeping_no_bits_is_black_and_all_bits_is_the_picture() -> None:
    clip = pictures()
    assert OPERATIONS["Posterize"](clip, 0).max() == 0
    assert torch.equal(OPERATIONS["Posterize"](clip, 8), clip)


# name, increasing: value at level 0, 5, 7 and 10, direction +; worked out from timm's formulas
STRENGTHS = [
    ("AutoContrast", True, [0, 0, 0, 0]),
    ("Equalize", True, [0, 0, 0, 0]),
    ("Invert", True, [0, 0, 0, 0]),
    ("Rotate", True, [0, 15, 21, 30]),
    ("Posterize", True, [4, 2, 2, 0]),
    ("Posterize", False, [0, 2, 2, 4]),
    ("Solarize", True, [256, 128, 77, 0]),
    ("Solarize", False, [0, 128, 179, 256]),
    ("SolarizeAdd", True, [0, 55, 77, 110]),
    ("Color", True, [1, 1.45, 1.63, 1.9]),
    ("Contrast", True, [1, 1.45, 1.63, 1.9]),
    ("Brightness", True, [1, 1.45, 1.63, 1.9]),
    ("Sharpness", True, [1, 1.45, 1.63, 1.9]),
    ("Brightness", False, [0.1, 1.0, 1.36, 1.9]),
    ("ShearX", True, [0, 0.15, 0.21, 0.3]),
    ("ShearY", True, [0, 0.15, 0.21, 0.3]),
    ("TranslateXRel", True, [0, 0.225, 0.315, 0.45]),
    ("TranslateYRel", True, [0, 0.225, 0.315, 0.45]),
]


@pytest.mark.parametrize(("name", "increasing", "values"), STRENGTHS)
def test_strengths(name: str, increasing: bool, values: list[float]) -> None:
    assert [argument(name, level, 1, increasing) for level in (0, 5, 7, 10)] == pytest.approx(values)


def test_directions() -> None:
    backwards = {name: argument(name, 5.0, -1, True) for name in OPERATIONS}
    assert backwards["Rotate"] == -15
    assert backwards["ShearX"] == backwards["ShearY"] == pytest.approx(-0.15)
    assert backwards["TranslateXRel"] == backwards["TranslateYRel"] == pytest.approx(-0.225)
    assert backwards["Color"] == backwards["Contrast"] == pytest.approx(0.55)
    assert backwards["Posterize"] == 2
    assert backwards["Solarize"] == 128


# ---- notation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("rand-m7-n4-mstd0.5-inc1", RandAugment(7, 4, 0.5, True)),
        ("rand-inc1-mstd0.5-n4-m7", RandAugment(7, 4, 0.5, True)),
        ("rand-m9-n2", RandAugment(9, 2, 0, False)),
        ("rand-m2.5-inc0", RandAugment(2.5, 2, 0, False)),
        ("rand", RandAugment(10, 2, 0, False)),
        ("rand-n0", RandAugment(10, 0, 0, False)),
    ],
)
def test_notation(text: str, parsed: RandAugment) -> None:
    assert RandAugment.parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "augmix-m5",
        "rand-",
        "rand-m",
        "rand-m11",
        "rand-m-1",
        "rand-n1.5",
        "rand-inc2",
        "rand-w0",
        "rand-m7-m8",
    ],
)
def test_bad_notation(text: str) -> None:
    with pytest.raises(UsageError, match=r"rand_augment is") as caught:
        RandAugment.parse(text)
    assert "rand-m7-n4-mstd0.5-inc1" in caught.value.hint


# ---- draws -----------------------------------------------------------------------------------------------------------


def test_one_draw_for_all_frames() -> None:
    clip = pictures(1).expand(4, -1, -1, -1)
    for seed in range(20):
        result = RECIPE(clip, np.random.default_rng(seed))
        assert result.shape == clip.shape
        assert result.dtype == torch.uint8
        assert torch.equal(result, result[:1].expand_as(result))


def test_a_draw_is_repeated_by_its_seed_and_leaves_the_input_alone() -> None:
    clip = pictures()
    before = clip.clone()
    results = [RECIPE(clip, np.random.default_rng(seed)) for seed in (3, 4, 5)]
    again = [RECIPE(clip, np.random.default_rng(seed)) for seed in (3, 4, 5)]
    assert all(torch.equal(one, other) for one, other in zip(results, again, strict=True))
    assert not torch.equal(results[0], results[1])
    assert torch.equal(clip, before)


def test_no_operations_change_nothing() -> None:
    clip = pictures()
    assert torch.equal(RandAugment(7, 0)(clip, np.random.default_rng(0)), clip)


def test_frequencies() -> None:
    """Each operation takes place half as often as it is drawn, at magnitudes around m, in both directions."""
    rng = np.random.default_rng(0)
    drawn = [operation for _ in range(3000) for operation in RECIPE.draw(rng)]
    counts = Counter(name for name, _ in drawn)
    assert len(drawn) == pytest.approx(3000 * 4 * 0.5, rel=0.05)
    assert all(counts[name] == pytest.approx(400, rel=0.2) for name in OPERATIONS)
    degrees = np.array([value for name, value in drawn if name == "Rotate"])
    assert (degrees > 0).mean() == pytest.approx(0.5, abs=0.1)
    assert np.abs(degrees).mean() == pytest.approx(21, abs=0.3)
    assert np.abs(degrees).std() == pytest.approx(1.5, abs=0.2)


def test_magnitudes_stay_in_range() -> None:
    noisy = RandAugment(5, 2000, magnitude_std=20, increasing=True)
    degrees = [value for name, value in noisy.draw(np.random.default_rng(0)) if name == "Rotate"]
    assert max(degrees) == 30
    assert min(degrees) == -30


def test_it_travels_to_worker_processes() -> None:
    clip = pictures()
    copy = pickle.loads(pickle.dumps(RECIPE))
    assert torch.equal(copy(clip, np.random.default_rng(1)), RECIPE(clip, np.random.default_rng(1)))
