"""Frame k of every kind of file is the k-th frame of a full serial decode, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from tests.videos import (
    frame_numbers,
    hide_first_frames,
    reference_decode,
    write_size_change,
    write_video,
)
from videomae_cli.video import source
from videomae_cli.video.reader import VideoReader, probe, read_frames

X265 = "log-level=none:pools=none:frame-threads=1:keyint=12:min-keyint=12:bframes=3"
OPEN_GOP = "open-gop=1:keyint=12:min-keyint=12:bframes=3:b-adapt=0:scenecut=0"
IRREGULAR_MS = [10 * k + 200 * (k // 7) + k * k // 10 for k in range(90)]

# file name -> how to write it
FORMATS: dict[str, dict[str, object]] = {
    "h264.mp4": {},
    "h264.mkv": {},
    "h264.ts": {},
    "h264.flv": {},
    "h264.mov": {"audio": True},
    "audio.ts": {"audio": True},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "no_b_frames.mp4": {"options": {"bf": "0"}},
    "pyramid.mkv": {"options": {"x264-params": "bframes=8:b-pyramid=normal:ref=8:b-adapt=0"}, "gop": 40},
    "long_gop.mp4": {"gop": 250},
    "all_key.mp4": {"gop": 1},
    "open_gop.mp4": {"options": {"x264-params": OPEN_GOP}},
    "open_gop.ts": {"options": {"x264-params": OPEN_GOP}},
    "open_gop_hevc.mp4": {"codec": "libx265", "options": {"x265-params": f"{X265}:open-gop=1:b-adapt=0"}},
    "leading_hevc.mkv": {"codec": "libx265", "options": {"x265-params": f"{X265}:open-gop=0:radl=2:b-adapt=0"}},
    "intra_refresh.mkv": {"options": {"x264-params": "intra-refresh=1:keyint=30:bframes=3"}},
    "mbaff.ts": {"options": {"x264-params": "interlaced=1:bframes=2"}},
    "hevc.ts": {"codec": "libx265"},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "av1.mkv": {"codec": "libsvtav1"},
    "av1.mp4": {"codec": "libsvtav1"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4_b_frames.mp4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "h264.avi": {},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg2.mpg": {"codec": "mpeg2video", "fps": 25, "options": {"b": "2M", "bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "fps": 25, "options": {"b": "2M", "bf": "2"}},
    "wmv2.wmv": {"codec": "wmv2", "options": {"b": "800k"}},
    "raw.h264": {},
    "ffv1.mkv": {"codec": "ffv1"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "ten_bit.mp4": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "animated.gif": {"codec": "gif"},
    "animated.apng": {"codec": "apng", "pix_fmt": "rgb24"},
    "irregular.mp4": {"pts": IRREGULAR_MS},
    "irregular.mkv": {"pts": IRREGULAR_MS},
    "late_start.mkv": {"pts": [128_000 + 33 * k for k in range(90)]},
    "late_start.ts": {"pts": [128_000 + 40 * k for k in range(90)], "fps": 25},
    "late_start.mp4": {"pts": [5_000 + 40 * k for k in range(90)]},
    "turned_90.mp4": {"rotation": 90},
    "turned_180.mov": {"rotation": 180},
    "turned_270.mp4": {"rotation": 270},
    "turned_90.mkv": {"rotation": 90},
    "turned_270.webm": {"rotation": 270, "codec": "libvpx-vp9"},
    "odd_size.mp4": {"width": 66, "height": 50},
}


def patterns(num_frames: int) -> list[Sequence[int]]:
    """Index lists that seek, go on, go back, repeat, and take everything."""
    last = num_frames - 1
    return [
        range(0, num_frames, 4),
        [last],
        [num_frames // 3],
        [last, 0, num_frames // 2, num_frames // 4, num_frames // 2],
        [num_frames // 5, 4 * num_frames // 5],
        range(num_frames),
    ]


def assert_equals_reference(path: Path, stream_index: int | None = None) -> list[tuple[str, ...]]:
    """Compares every pattern with a full decode, and returns the warnings that came along."""
    reference, _ = reference_decode(path, stream_index)
    warnings = []
    with VideoReader(path) as video:
        assert video.info.num_frames == len(reference)
        assert (video.info.height, video.info.width) == reference[0].shape[:2]
        for indices in patterns(len(reference)):
            clip = video.read(indices)
            assert clip.frames.dtype == np.uint8
            assert clip.frames.flags.c_contiguous
            for number, picture in zip(indices, clip.frames, strict=True):
                assert np.array_equal(picture, reference[number]), f"frame {number} of {indices}"
            warnings.append(clip.warnings)
    return warnings


@pytest.mark.parametrize("name", FORMATS)
def test_frames_equal_a_full_decode(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, 90, **FORMATS[name])  # type: ignore[arg-type]
    warnings = assert_equals_reference(path)
    expected = ("interlaced: both fields are shown in one picture",) if name.startswith("mbaff") else ()
    assert set(warnings) == {expected}
    assert frame_numbers(read_frames(path, [60, 7, 89]).frames) == [60, 7, 89]


def test_frames_hidden_by_an_edit_list_do_not_count(tmp_path: Path) -> None:
    path = hide_first_frames(write_video(tmp_path / "trimmed.mp4", 60), num_hidden=17)
    assert set(assert_equals_reference(path)) == {()}
    assert frame_numbers(read_frames(path, [0, 42]).frames) == [17, 59]
    assert probe(path).duration_seconds == pytest.approx(43 / 30)


def test_a_recording_cut_in_an_open_gop_starts_where_a_player_does(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.ts", 60, options={"x264-params": OPEN_GOP})
    path.write_bytes(path.read_bytes()[188 * 40 :])
    assert set(assert_equals_reference(path)) == {()}
    assert frame_numbers(read_frames(path, [0]).frames)[0] > 0


def test_hidden_vp8_frames_do_not_count(tmp_path: Path) -> None:
    path = write_video(tmp_path / "hidden.webm", 30, codec="libvpx", gop=100)
    with av.open(str(path)) as container:
        payload = bytes(list(container.demux(video=0))[20])
    hidden = bytes([payload[0] & ~0x10]) + payload[1:]  # show_frame = 0
    assert path.read_bytes().count(payload) == 1
    path.write_bytes(path.read_bytes().replace(payload, hidden))
    assert set(assert_equals_reference(path)) == {()}
    assert probe(path).num_frames == 29


def test_transparent_pixels_are_shown_on_black(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.zeros((32, 32, 4), np.uint8)
    picture[:16] = (200, 100, 50, 255)
    picture[16:] = (200, 100, 50, 0)
    moved = picture[::-1].copy()
    path = tmp_path / "clear.png"
    Image.fromarray(picture).save(path, save_all=True, append_images=[Image.fromarray(moved)], duration=100)
    first, second = read_frames(path, [0, 1]).frames
    assert first[0, 0].tolist() == [200, 100, 50] and first[31, 0].tolist() == [0, 0, 0]
    assert second[0, 0].tolist() == [0, 0, 0] and second[31, 0].tolist() == [200, 100, 50]


def test_size_changes_midway(tmp_path: Path) -> None:
    """Every frame takes the size of the first one wanted, and a warning says so."""
    path = write_size_change(tmp_path / "sizes.ts", num_frames=20)
    reference, _ = reference_decode(path)
    clip = read_frames(path, [0, 19, 20, 39])
    assert clip.frames.shape == (4, 48, 64, 3)
    assert np.array_equal(clip.frames[:2], np.stack([reference[0], reference[19]]))
    assert frame_numbers(clip.frames) == [0, 19, 20, 39]
    assert clip.warnings == ("resized: the size changes, 2 of the wanted frames were scaled to that of the first",)
    later = read_frames(path, [25, 39])
    assert np.array_equal(later.frames, np.stack([reference[25], reference[39]]))
    assert later.warnings == ()


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_a_late_frame_costs_one_group_of_pictures(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / f"long.{suffix}", 120, gop=12)
    decoded = []
    decode: Callable[..., list[object]] = source.Source.decode

    def counted(self: source.Source, packet: object, *, skippable: bool = False) -> list[object]:
        decoded.append(packet)
        return decode(self, packet, skippable=skippable)

    monkeypatch.setattr(source.Source, "decode", counted)
    assert frame_numbers(read_frames(path, [100]).frames) == [100]
    assert 0 < len(decoded) <= 24


def test_pixels_do_not_depend_on_threads(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slices.mp4", 40, options={"x264-params": "slices=4"}, width=128, height=128)
    one, four = (read_frames(path, range(0, 40, 3), num_threads=n).frames for n in (1, 4))
    assert np.array_equal(one, four)
