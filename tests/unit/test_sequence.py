"""Streams of frames: the frames of `read_frames`, one by one, in order, of whole and of damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.clips import CLIPS, needs_clips
from tests.unit.test_reader_formats import FORMATS
from tests.videos import (
    Frames,
    frame_numbers,
    hide_first_frames,
    spoil_packets,
    write_size_change,
    write_truncated,
    write_video,
)
from videomae_cli.errors import UsageError, VideoError
from videomae_cli.video.reader import VideoReader, probe, read_frames

SPARSE = [3, 4, 9, 17, 30, 31, 32, 58, 88]


def stream(path: Path, numbers: list[int]) -> tuple[list[int], list[Frames], tuple[str, ...]]:
    """Numbers, pictures and warnings."""
    with VideoReader(path, num_threads=1) as video:
        frames = video.stream(numbers)
        found = list(frames)
        return [number for number, _ in found], [picture for _, picture in found], (*video.warnings, *frames.warnings)


def assert_streams_what_is_read(path: Path, numbers: list[int]) -> tuple[str, ...]:
    clip = read_frames(path, numbers, num_threads=1)
    found, pictures, warnings = stream(path, numbers)
    assert found == numbers
    assert np.array_equal(np.stack(pictures), clip.frames)
    assert warnings == clip.warnings
    return warnings


@pytest.mark.parametrize(
    "name",
    "h264.mp4 h264.ts pyramid.mkv open_gop_hevc.mp4 mbaff.ts vp9.webm mpeg4_b_frames.avi raw.h264 animated.gif "
    "irregular.mkv late_start.ts turned_90.mp4".split(),
)
def test_a_stream_equals_a_read(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, 90, **FORMATS[name])  # type: ignore[arg-type]
    assert_streams_what_is_read(path, SPARSE)
    assert frame_numbers(np.stack(stream(path, list(range(90)))[1])) == list(range(90))


def test_hidden_frames_are_not_counted(tmp_path: Path) -> None:
    path = hide_first_frames(write_video(tmp_path / "hidden.mp4", 60), 7)
    num_frames = probe(path).num_frames
    assert frame_numbers(np.stack(stream(path, list(range(num_frames)))[1])) == list(range(7, 60))


def test_a_stream_can_be_left_and_another_begun(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 40)
    with VideoReader(path) as video:
        assert next(iter(video.stream([5, 6])))[0] == 5
        assert [number for number, _ in video.stream([2, 39])] == [2, 39]
        assert frame_numbers(video.read([7]).frames) == [7]


def test_a_stream_of_frames_that_are_not_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 10)
    with VideoReader(path) as video, pytest.raises(UsageError, match="frame 10 is out of range"):
        video.stream([9, 10])


@pytest.mark.parametrize("spoiled", [[1], [33], [34, 35], [50, 51, 70], [89], [88, 89]])
@pytest.mark.parametrize("kind", ["h264.mp4", "pyramid.mkv"])
def test_damaged_packets(kind: str, spoiled: list[int], tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 90, **FORMATS[kind])  # type: ignore[arg-type]
    spoil_packets(path, spoiled)
    warnings = assert_streams_what_is_read(path, list(range(probe(path).num_frames)))
    assert warnings[0].startswith("corrupt")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_truncated_files(name: str, tmp_path: Path) -> None:
    path = write_truncated(tmp_path / name)
    numbers = list(range(0, probe(path).num_frames, 2))
    warnings = assert_streams_what_is_read(path, numbers)
    assert name == "clip.ts" or any(warning.startswith("truncated") for warning in warnings)


def test_nothing_can_be_decoded(tmp_path: Path) -> None:
    path = spoil_packets(write_video(tmp_path / "clip.avi", 20, **FORMATS["mjpeg.avi"]), range(20))  # type: ignore[arg-type]
    with VideoReader(path, num_threads=1) as video, pytest.raises(VideoError, match="not one frame") as caught:
        list(video.stream([3]))
    assert caught.value.kind == "damaged"


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", 20)
    with VideoReader(path, num_threads=1) as video, pytest.raises(VideoError, match="changed") as caught:
        for number, _ in video.stream([3, 4]):
            if number == 3:
                path.write_bytes(path.read_bytes() + b"more")
    assert caught.value.kind == "changed"


def test_pictures_keep_their_size_where_it_changes(tmp_path: Path) -> None:
    path = write_size_change(tmp_path / "sizes.ts")
    _, pictures, warnings = stream(path, [0, 19, 20, 39])
    assert [picture.shape[:2] for picture in pictures] == [(48, 64), (48, 64), (64, 96), (64, 96)]
    assert [int(n) for p in pictures for n in frame_numbers(p[None])] == [0, 19, 20, 39]
    assert warnings == ("resized: the size changes, 2 of the wanted frames are not of that of the first",)


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    late = write_video(tmp_path / "late.mkv", 5, pts=[128_000, 128_033, 128_100, 128_900, 129_000])
    with VideoReader(late) as video:
        assert video.times_seconds().tolist() == pytest.approx([0, 0.033, 0.1, 0.9, 1.0])
    raw = write_video(tmp_path / "raw.h264", 5)
    with VideoReader(raw) as video:
        assert video.times_seconds().tolist() == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


@needs_clips
@pytest.mark.parametrize(
    "name", ["eating_spaghetti.mp4", "corrupted.mp4", "nasa_13013.mp4", "mpeg4.avi", "av1_video.mkv"]
)
def test_real_clips(name: str) -> None:
    numbers = list(range(0, probe(CLIPS / name).num_frames, 3))
    assert_streams_what_is_read(CLIPS / name, numbers)
