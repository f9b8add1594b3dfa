"""What `probe`, `read_frames` and `VideoReader` take, give back and refuse."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.videos import frame_numbers, numbered_frame, reference_decode, write_image, write_video
from videomae_cli.errors import UsageError, VideoError
from videomae_cli.video.container import DEFAULT_MAX_PIXELS
from videomae_cli.video.reader import VideoInfo, VideoReader, probe, read_frames


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("reader") / "clip.mp4", 40, fps=20)


def test_probe(clip_path: Path) -> None:
    assert probe(clip_path) == VideoInfo(
        num_frames=40, fps=20.0, duration_seconds=2.0, width=64, height=48, codec="h264", rotation=0
    )


def test_frames_come_in_the_order_asked_for(clip_path: Path) -> None:
    clip = read_frames(clip_path, [30, 2, 2, 39, 0])
    assert frame_numbers(clip.frames) == [30, 2, 2, 39, 0]
    assert clip.pts_seconds.dtype == np.float64
    assert clip.pts_seconds.tolist() == pytest.approx([1.5, 0.1, 0.1, 1.95, 0.0])
    assert clip.warnings == ()


@pytest.mark.parametrize("indices", [[3, 9], (3, 9), range(3, 10, 6), np.array([3, 9]), np.array([3, 9], np.uint8)])
def test_indices_may_be_any_sequence_of_integers(indices: list[int], clip_path: Path) -> None:
    assert frame_numbers(read_frames(clip_path, indices).frames) == [3, 9]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 40], "frame 40 is out of range: the video has 40 frames"),
        ([-1], "frame -1 is out of range: the video has 40 frames"),
        ([1.5], "frame indices must be integers"),
        (["1"], "frame indices must be integers"),
        ([], "no frame indices"),
    ],
)
def test_bad_indices(indices: list[int], message: str, clip_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_frames(clip_path, indices)


def test_one_reader_serves_many_reads(clip_path: Path) -> None:
    with VideoReader(clip_path) as video:
        assert frame_numbers(video.read([39]).frames) == [39]
        assert frame_numbers(video.read([0, 20]).frames) == [0, 20]
        with pytest.raises(UsageError):
            video.read([40])
        assert frame_numbers(video.read([5]).frames) == [5]


def test_times_are_those_of_the_file(tmp_path: Path) -> None:
    times = [0, 10, 300, 310, 2000, 2500]
    path = write_video(tmp_path / "irregular.mkv", 6, pts=times)
    assert read_frames(path, range(6)).pts_seconds.tolist() == pytest.approx([t / 1000 for t in times])
    raw = write_video(tmp_path / "raw.h264", 6)  # no times at all: FFmpeg takes 25 frames a second for granted
    assert read_frames(raw, [5]).pts_seconds.tolist() == pytest.approx([0.2])


def test_max_pixels(clip_path: Path) -> None:
    assert probe(clip_path, max_pixels=64 * 48).width == 64
    with pytest.raises(VideoError, match="64 x 48, over the limit of 3071 pixels") as caught:
        probe(clip_path, max_pixels=64 * 48 - 1)
    assert caught.value.kind == "too_large"
    assert DEFAULT_MAX_PIXELS >= 7680 * 4320


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tiff", "avif"])
def test_stills_are_videos_of_one_frame_when_allowed(suffix: str, tmp_path: Path) -> None:
    path = write_image(tmp_path / f"still.{suffix}")
    with pytest.raises(VideoError, match="still picture") as caught:
        probe(path)
    assert caught.value.kind == "image"
    assert probe(path, allow_images=True).num_frames == 1
    clip = read_frames(path, [0, 0], allow_images=True)
    assert frame_numbers(clip.frames) == [0, 0]


@pytest.mark.parametrize("profile_bytes", [600, 3144, 60_000])
def test_a_jpeg_with_a_colour_profile(profile_bytes: int, tmp_path: Path) -> None:
    Image.fromarray(numbered_frame(9)).save(tmp_path / "still.jpg", icc_profile=bytes(profile_bytes))
    assert frame_numbers(read_frames(tmp_path / "still.jpg", [0], allow_images=True).frames) == [9]


@pytest.mark.parametrize(
    "name",
    ["12:30 clip.mp4", "-i.mp4", "http:x.mp4", "pipe:1", "new\nline.mp4", "видео 動画.mp4", "%03d.mp4", "a*?.mp4"],
)
def test_odd_names(name: str, clip_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_bytes(clip_path.read_bytes())
    assert frame_numbers(read_frames(tmp_path / name, [7]).frames) == [7]
    monkeypatch.chdir(tmp_path)
    assert frame_numbers(read_frames(name, [7]).frames) == [7]


def test_a_name_that_is_not_utf8(clip_path: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe.mp4"
    with open(name, "wb") as file:
        file.write(clip_path.read_bytes())
    assert frame_numbers(read_frames(name, [7]).frames) == [7]
    assert frame_numbers(read_frames(os.fsdecode(name), [7]).frames) == [7]


def test_metadata_that_is_not_utf8(clip_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "latin1.mp4"
    data = clip_path.read_bytes()
    assert data.count(b"VideoHandler") == 1
    path.write_bytes(data.replace(b"VideoHandler", b"Vid\xe9oHandler"))
    assert probe(path).num_frames == 40


@pytest.mark.parametrize(("transfer", "curve"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_hdr_is_read_with_a_warning(transfer: str, curve: str, tmp_path: Path) -> None:
    options = {"x265-params": f"transfer={transfer}:log-level=none:pools=none"}
    path = write_video(tmp_path / "hdr.mp4", 4, codec="libx265", pix_fmt="yuv420p10le", options=options)
    clip = read_frames(path, [0, 3])
    assert np.array_equal(clip.frames[1], reference_decode(path)[0][3])
    assert clip.warnings == (f"hdr: {curve} brightness is shown without tone mapping",)


def test_files_are_closed(clip_path: Path) -> None:
    def num_open() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = num_open()
    video = VideoReader(clip_path)
    assert num_open() > before
    video.close()
    video.close()
    for _ in range(5):
        read_frames(clip_path, [39])
        with pytest.raises(VideoError):
            probe(clip_path, max_pixels=1)
    assert num_open() == before
