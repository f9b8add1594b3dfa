"""Small pictures of frames."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from videomae_cli.video.thumbnails import MAX_BYTES, encode_jpeg, make_thumbnails, spread


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1080, 1920), (96, 171)),
        ((1920, 1080), (96, 54)),
        ((96, 1000), (18, 192)),
        ((48, 64), (48, 64)),
        ((3, 5), (3, 5)),
        ((1, 1), (1, 1)),
        ((2000, 2), (96, 1)),
    ],
)
def test_a_picture_keeps_its_shape_and_is_never_enlarged(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    picture = Image.open(io.BytesIO(encode_jpeg(np.zeros((*size, 3), np.uint8))))
    assert picture.format == "JPEG"
    assert picture.size == wanted[::-1]


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 40, 40), (40, 200, 40), (40, 40, 200)])
def test_colours_come_out_as_they_are(colour: tuple[int, int, int]) -> None:
    jpeg = encode_jpeg(np.full((240, 320, 3), colour, np.uint8))
    found = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), float).mean((0, 1))
    assert np.abs(found - colour).max() < 4


def test_noise_is_coded_coarsely() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 170, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(noise[:12, :20]).resize((170, 96), Image.Resampling.BICUBIC))
    assert len(encode_jpeg(smooth)) <= MAX_BYTES
    assert len(encode_jpeg(noise)) < 4 * MAX_BYTES


def test_a_few_frames_stand_for_many() -> None:
    assert spread(range(16), 4) == [2, 6, 10, 14]
    assert spread(range(3), 4) == [0, 1, 2]
    assert spread(range(16), 0) == []


def test_a_frame_that_repeats_is_shown_once() -> None:
    frames = np.zeros((6, 8, 8, 3), np.uint8)
    frames[1:] = 255
    found = make_thumbnails(frames, [7, 9, 9, 9, 9, 9], 4)
    assert [number for number, _ in found] == [7, 9]
    assert [np.asarray(Image.open(io.BytesIO(jpeg))).mean() for _, jpeg in found] == [0, 255]
