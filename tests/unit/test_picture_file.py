"""PNG files and captions."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from videomae_cli.video.picture_file import draw_caption, encode_png


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (37, 101), (480, 641)])
def test_a_png_holds_the_very_pixels(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    with Image.open(io.BytesIO(encode_png(picture))) as read:
        assert (read.format, read.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(read), picture)


def test_a_png_of_pixels_that_lie_apart() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    with Image.open(io.BytesIO(encode_png(picture[::2, ::-1]))) as read:
        assert np.array_equal(np.asarray(read), picture[::2, ::-1])


def test_a_caption_can_be_read() -> None:
    letters = draw_caption("L1", 16)[2:12, :, 0] < 128
    drawn = ["".join("#" if ink else "." for ink in row).rstrip(".") for row in letters]
    assert drawn == [
        "####.......##",
        ".##.......###",
        ".##......####",
        ".##........##",
        ".##........##",
        ".##........##",
        ".##........##",
        ".##...#....##",
        ".##..##....##",
        "#######..######",
    ]


@pytest.mark.parametrize("width_px", [3, 8, 17, 80])
def test_a_caption_is_as_wide_as_it_should_be(width_px: int) -> None:
    caption = draw_caption("wide words", width_px)
    assert caption.shape == (16, width_px, 3)
    assert set(np.unique(caption)) == {0, 255}
    assert np.array_equal(caption, draw_caption("wide words", 100)[:, :width_px])


def test_lines_of_any_length_stay_on_one_line() -> None:
    full = draw_caption("x" * 10, 80)
    assert np.array_equal(full, np.tile(full[:, :8], (1, 10, 1)))
