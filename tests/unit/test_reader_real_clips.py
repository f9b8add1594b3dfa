"""The real clips: other encoders, other containers, and the one that is damaged."""

from __future__ import annotations

import pytest

from tests.clips import CLIPS, needs_clips
from tests.unit.test_reader_formats import assert_equals_reference
from tests.videos import reference_decode
from videomae_cli.video.reader import VideoInfo, probe, read_frames

INFO = {
    "arm_wrestling.mp4": VideoInfo(280, 28.0, 10.0, 340, 256, "h264", 0),
    "av1_video.mkv": VideoInfo(125, 25.0, 5.0, 640, 360, "av1", 0),
    "bt709_full_range.mp4": VideoInfo(30, 30.0, 1.0, 1280, 720, "h264", 0),
    "corrupted.mp4": VideoInfo(50, 10.0, 5.0, 1280, 720, "h264", 0),
    "eating_spaghetti.mp4": VideoInfo(300, 30.0, 10.0, 640, 360, "h264", 0),
    "flipping_a_pancake.mkv": VideoInfo(310, 30.0, 10.333, 426, 240, "h264", 0),
    "h264_10bits.mp4": VideoInfo(30, 30.0, 1.0, 200, 200, "h264", 0),
    "h265_10bits.mp4": VideoInfo(30, 30.0, 1.0, 200, 200, "hevc", 0),
    "mpeg4.avi": VideoInfo(164, 25.0, 6.56, 320, 240, "mpeg4", 0),
    "nasa_13013.mp4": VideoInfo(390, 30000 / 1001, 13.013, 480, 270, "h264", 0),
    "one_second.mp4": VideoInfo(32, 30.0, 1.1, 340, 256, "h264", 0),
    "six_fps.mp4": VideoInfo(57, 6.0, 9.5, 340, 256, "h264", 0),
}


@needs_clips
@pytest.mark.parametrize("name", INFO)
def test_probe(name: str) -> None:
    assert probe(CLIPS / name) == INFO[name]


@needs_clips
@pytest.mark.parametrize("name", sorted(INFO.keys() - {"corrupted.mp4"}))
def test_frames_equal_a_full_decode(name: str) -> None:
    assert set(assert_equals_reference(CLIPS / name)) == {()}


@needs_clips
def test_the_best_of_several_streams_is_read() -> None:
    assert set(assert_equals_reference(CLIPS / "nasa_13013.mp4", stream_index=3)) == {()}


@needs_clips
def test_a_damaged_frame_is_replaced_by_the_one_before() -> None:
    """Frame 30 of 50 does not decode; the others keep their numbers."""
    path = CLIPS / "corrupted.mp4"
    reference, _ = reference_decode(path)
    assert len(reference) == 49
    clip = read_frames(path, [29, 30, 31, 49], num_threads=1)  # as the reference: concealment depends on threads
    assert clip.warnings == (
        "corrupt: 1 packet damaged, 1 frame decoded with errors",
        "replaced: 1 of the wanted frames could not be decoded, a neighbour stands in",
    )
    for picture, expected in zip(clip.frames, [29, 29, 30, 48], strict=True):
        assert (picture == reference[expected]).all()
    assert clip.pts_seconds.tolist() == pytest.approx([2.9, 3.0, 3.1, 4.9])
