"""A folder of pictures is read as a video is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.videos import frame_numbers, numbered_frame, write_video
from videomae_cli.errors import UsageError, VideoError
from videomae_cli.video.pictures import PictureReader, open_video, picture_names
from videomae_cli.video.reader import VideoReader


def write_pictures(folder: Path, names: list[str], width: int = 64, height: int = 48) -> Path:
    """Frame k under the k-th name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(numbered_frame(number, width, height)).save(folder / name)
    return folder


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", "webp", "tif"])
def test_frame_k_is_the_kth_picture(tmp_path: Path, suffix: str) -> None:
    folder = write_pictures(tmp_path / "v", [f"img_{k:05}.{suffix}" for k in range(1, 6)])
    with open_video(str(folder)) as video:
        assert (video.info.num_frames, video.info.width, video.info.height) == (5, 64, 48)
        clip = video.read([3, 0, 3, 4])
    assert frame_numbers(clip.frames) == [3, 0, 3, 4]
    assert clip.frames.dtype == np.uint8
    assert clip.frames.shape == (4, 48, 64, 3)
    assert clip.frames.flags.c_contiguous


def test_lossless_pictures_are_exact(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, ["0.png", "1.png"])
    np.testing.assert_array_equal(PictureReader(str(folder)).read([1]).frames[0], numbered_frame(1))


@pytest.mark.parametrize(
    "names",
    [
        ["1.png", "2.png", "10.png", "100.png"],
        ["a1b2.png", "a1b10.png", "a2b1.png", "a10.png"],
        ["01.png", "1.png", "02.png", "3.png"],
        ["frame.png", "frame1.png", "frame2.JPG"],
    ],
)
def test_numbers_in_names_count_by_value(tmp_path: Path, names: list[str]) -> None:
    for name in reversed(names):
        (tmp_path / name).touch()
    assert picture_names(str(tmp_path)) == names


def test_other_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["1.png", "2.png"])
    for name in ("notes.txt", ".3.png", "4.mp4", "png"):
        (tmp_path / name).touch()
    assert PictureReader(str(tmp_path)).info.num_frames == 2


def test_a_file_is_opened_as_a_video(tmp_path: Path) -> None:
    with open_video(str(write_video(tmp_path / "a.mp4", 6))) as video:
        assert isinstance(video, VideoReader)
        assert frame_numbers(video.read([5]).frames) == [5]


def test_a_still_picture_is_a_video_only_if_asked_for(tmp_path: Path) -> None:
    path = write_pictures(tmp_path, ["1.png"]) / "1.png"
    with pytest.raises(VideoError, match="still picture"):
        open_video(path)
    with open_video(path, allow_images=True) as video:
        assert video.info.num_frames == 1


def test_no_picture(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="holds no pictures") as caught:
        open_video(str(tmp_path))
    assert caught.value.kind == "no_video"


def test_neither_file_nor_folder(tmp_path: Path) -> None:
    with pytest.raises(VideoError) as caught:
        open_video(str(tmp_path / "none"))
    assert caught.value.kind == "missing"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_may_not_be_listed(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    with pytest.raises(VideoError, match="cannot list"):
        open_video(str(tmp_path))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, ["1.png", "2.png"])
    (folder / "2.png").write_bytes(b"not a picture")
    with pytest.raises(VideoError, match=r"2\.png"):
        PictureReader(str(folder)).read([0, 1])


def test_pictures_of_two_sizes_are_no_video(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["1.png", "2.png"])
    Image.fromarray(numbered_frame(2, 32, 24)).save(tmp_path / "3.png")
    reader = PictureReader(str(tmp_path))
    assert frame_numbers(reader.read([1]).frames) == [1]
    with pytest.raises(VideoError, match=r"3\.png' is 32 x 24, the first picture of its folder 64 x 48"):
        reader.read([0, 2])


def test_large_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError) as caught:
        PictureReader(str(write_pictures(tmp_path, ["1.png"])), max_pixels=64 * 48 - 1)
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize("indices", [[], [2], [-1], [0, 5]])
def test_indices_out_of_range(tmp_path: Path, indices: list[int]) -> None:
    reader = PictureReader(str(write_pictures(tmp_path, ["1.png", "2.png"])))
    with pytest.raises(UsageError, match="not among the 2"):
        reader.read(indices)
