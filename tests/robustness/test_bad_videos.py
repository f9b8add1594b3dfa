"""RELIABILITY cases 1-10, 13, 15, 17, 21-24 and 26 at the reader: an error of the right kind, or a marked result."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from tests import videos
from tests.videos import frame_numbers, reference_decode, write_video
from videomae_cli.errors import VideoError
from videomae_cli.video import reader
from videomae_cli.video.reader import VideoReader, probe, read_frames

Maker = Callable[[Path], Path]


def write_zero_bytes(path: Path) -> Path:
    path.touch()
    return path


def write_subtitles(path: Path) -> Path:
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    return path


BAD_FILES: dict[str, tuple[Maker, str]] = {
    "zero.mp4": (write_zero_bytes, "empty"),
    "text.mp4": (videos.write_text, "not_video"),
    "subtitles.srt": (write_subtitles, "not_video"),
    "noise.mp4": (videos.write_random_bytes, "not_video"),
    "no_moov.mp4": (videos.write_without_moov, "damaged"),
    "sound.m4a": (videos.write_audio_only, "no_video"),
    "cover.mp3": (videos.write_cover_art_only, "no_video"),
    "still.png": (videos.write_image, "image"),
    "bomb.gif": (videos.write_huge_gif, "too_large"),
    "list.m3u8": (lambda path: videos.write_playlist(path, path), "refused"),
    "list.ffconcat": (lambda path: videos.write_playlist(path, path), "refused"),
    "list.sdp": (lambda path: videos.write_playlist(path, path), "refused"),
    "folder.mp4": (lambda path: path.mkdir() or path, "unreadable"),
    "missing.mp4": (lambda path: path, "missing"),
    "pipe.mp4": (lambda path: os.mkfifo(path) or path, "unreadable"),
    "loop.mp4": (lambda path: path.symlink_to(path) or path, "unreadable"),
    "dangling.mp4": (lambda path: path.symlink_to("nowhere") or path, "missing"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_kind(name: str, tmp_path: Path) -> None:
    make, kind = BAD_FILES[name]
    path = make(tmp_path / name)
    for attempt in (probe, lambda bad: read_frames(bad, [0])):
        with pytest.raises(VideoError) as caught:
            attempt(path)
        assert caught.value.kind == kind
        assert repr(str(path)) in caught.value.message


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices_are_not_read(device: str) -> None:
    with pytest.raises(VideoError) as caught:
        probe(device)
    assert caught.value.kind == "unreadable"


def test_sockets_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mp4")
        with pytest.raises(VideoError) as caught:
            probe("socket.mp4")
    assert caught.value.kind == "unreadable"


@pytest.fixture
def _without_privileges() -> Iterator[None]:
    """Root may read everything: be nobody for the moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("_without_privileges")
def test_a_file_that_may_not_be_read() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "secret.mp4", 3)
        path.chmod(0)
        for closed in (path, Path(folder)):
            closed.chmod(0)
            with pytest.raises(VideoError, match="Permission denied") as caught:
                probe(path)
            assert caught.value.kind == "unreadable"
        Path(folder).chmod(0o700)


@pytest.mark.parametrize("name", ["zero\0byte.mp4", "x" * 300])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(VideoError) as caught:
        probe(name)
    assert caught.value.kind in {"missing", "unreadable"}


@pytest.mark.parametrize("suffix", [".m3u8", ".ffconcat"])
def test_a_playlist_under_a_video_name_opens_nothing(suffix: str, tmp_path: Path) -> None:
    """Content decides, not the name, and the video that it points to is not read."""
    target = write_video(tmp_path / "target.mp4", 5)
    path = videos.write_playlist(tmp_path / f"list{suffix}", target).rename(tmp_path / "innocent.mp4")
    with pytest.raises(VideoError) as caught:
        read_frames(path, [0])
    assert caught.value.kind == "refused"


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("short.mp4", {}),
        ("short.mkv", {}),
        ("short.webm", {"codec": "libvpx"}),
        ("short.avi", {"codec": "mpeg4", "num_frames": 200}),
        ("short.flv", {}),
        ("sound.mkv", {"audio": True}),
    ],
)
def test_truncated(name: str, how: dict[str, object], tmp_path: Path) -> None:
    path = videos.write_truncated(tmp_path / name, **how)
    reference, _ = reference_decode(path)
    num_frames = probe(path).num_frames
    assert 0 <= num_frames - len(reference) <= 1  # the packet at the cut may count and not decode
    clip = read_frames(path, range(len(reference)), num_threads=1)
    assert all((picture == expected).all() for picture, expected in zip(clip.frames, reference, strict=True))
    assert clip.warnings[0].startswith("truncated: ends at ")
    with VideoReader(path) as video:
        assert video.warnings == clip.warnings[:1]
    assert read_frames(path, [num_frames - 1]).frames.shape == (1, 48, 64, 3)


@pytest.mark.parametrize("name", ["whole.mp4", "whole.mkv", "whole.webm", "whole.avi", "whole.ts", "whole.gif"])
def test_whole_files_are_not_called_truncated(name: str, tmp_path: Path) -> None:
    codec = {"webm": "libvpx", "avi": "mpeg4", "gif": "gif"}.get(name.split(".")[1], "libx264")
    assert read_frames(write_video(tmp_path / name, 30, codec=codec), [29]).warnings == ()
    if codec == "libx264":  # sound that goes on after the pictures
        path = write_video(tmp_path / f"sound_{name}", 30, audio=True)
        assert read_frames(path, [29]).warnings == ()


def test_damaged_packets_are_skipped_and_counted(tmp_path: Path) -> None:
    """The frames around keep their numbers; the nearest one before stands in for those that are lost."""
    path = videos.spoil_packets(write_video(tmp_path / "spoilt.mp4", 60, options={"bf": "0"}), [20, 21, 40])
    assert probe(path).num_frames == 60
    clip = read_frames(path, [5, 20, 21, 50])
    assert frame_numbers(clip.frames) == [5, 19, 19, 50]
    assert clip.warnings == (
        "corrupt: 3 packets damaged",
        "replaced: 2 of the wanted frames could not be decoded, a neighbour stands in",
    )
    assert read_frames(path, [2, 58]).warnings == ()  # nothing damaged on the way


def test_the_next_frame_stands_in_at_the_very_start(tmp_path: Path) -> None:
    path = videos.spoil_packets(write_video(tmp_path / "spoilt.mp4", 30, gop=5, codec="mpeg4"), range(5))
    clip = read_frames(path, [0, 12])
    assert frame_numbers(clip.frames) == [5, 12]
    assert clip.warnings[1] == "replaced: 1 of the wanted frames could not be decoded, a neighbour stands in"


def test_nothing_decodable(tmp_path: Path) -> None:
    path = videos.spoil_packets(write_video(tmp_path / "noise.mp4", 30), range(30))
    with pytest.raises(VideoError, match="no frame that can be shown") as caught:
        read_frames(path, [3])
    assert caught.value.kind == "damaged"


@pytest.mark.parametrize("error", [KeyError("bug"), RuntimeError("bug"), av.error.InvalidDataError(1, "bug")])
def test_a_demuxer_that_raises_anything(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise error

    path = write_video(tmp_path / "fine.mp4", 5)
    with monkeypatch.context() as patch:
        patch.setattr(reader, "scan", broken)
        with pytest.raises(VideoError, match="bug") as caught:
            probe(path)
    assert caught.value.kind == "damaged"
    assert probe(path).num_frames == 5


def test_bit_rot_in_a_transport_stream(tmp_path: Path) -> None:
    """Streams seem to appear on the way; what can be read is read, and the damage told, every time alike."""
    path = write_video(tmp_path / "rot.ts", 120)
    data, noise = bytearray(path.read_bytes()), random.Random(1)
    for _ in range(60):
        data[noise.randrange(len(data) // 4, len(data) * 3 // 4)] = noise.randrange(256)
    path.write_bytes(data)
    clips = [read_frames(path, range(0, 117, 9)) for _ in range(5)]
    assert {clip.warnings for clip in clips} == {clips[0].warnings}
    assert clips[0].warnings[0].startswith("corrupt: ")
    assert frame_numbers(clips[0].frames)[:2] == [0, 9]


@pytest.mark.parametrize("change", ["append", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read(change: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "moving.mp4", 30)
    with VideoReader(path) as video:
        assert frame_numbers(video.read([3]).frames) == [3]
        if change == "append":
            with path.open("ab") as file:
                file.write(b"more")
        elif change == "replace":
            write_video(tmp_path / "other.mp4", 40).replace(path)
        else:
            path.unlink()
        with pytest.raises(VideoError) as caught:
            video.read([4])
    assert caught.value.kind == "changed"


def test_a_damaged_size_does_not_take_memory(tmp_path: Path) -> None:
    """12,000 x 12,000 pixels would take 576 MB; the limit holds while the file is opened, before any size is known."""
    import resource

    path = videos.write_huge_gif(tmp_path / "bomb.gif")
    data = bytearray(path.read_bytes())
    data[6:10] = (12_000).to_bytes(2, "little") * 2
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(VideoError) as caught:
        probe(path)
    assert caught.value.kind == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "c.ts", "d.avi", "e.gif", "f.webm"])
def test_random_damage_gives_frames_or_a_video_error(name: str, tmp_path: Path) -> None:
    """Bytes overwritten, cut off or cut out: never another exception."""
    codec = {"avi": "mpeg4", "gif": "gif", "webm": "libvpx-vp9"}.get(name.split(".")[1], "libx264")
    whole = write_video(tmp_path / name, 30, codec=codec).read_bytes()
    chance = random.Random(name)
    outcomes = set()
    for _ in range(40):
        data = bytearray(whole)
        place = chance.randrange(len(data))
        damage = chance.choice(["noise", "cut off", "cut out"])
        if damage == "noise":
            data[place : place + 50] = chance.randbytes(50)
        else:
            del data[place : None if damage == "cut off" else place + 300]
        path = tmp_path / f"damaged_{name}"
        path.write_bytes(data)
        try:
            with VideoReader(path) as video:
                clip = video.read([0, video.info.num_frames - 1])
            assert clip.frames.shape[0] == 2
            outcomes.add("frames")
        except VideoError as error:
            outcomes.add(error.kind)
    assert "frames" in outcomes
    assert outcomes <= {"frames", "damaged", "not_video", "empty", "no_video", "too_large", "image"}


def test_urls_are_names_of_files() -> None:
    with pytest.raises(VideoError) as caught:
        probe("http://127.0.0.1:9/clip.mp4")
    assert caught.value.kind == "missing"


@pytest.mark.parametrize("size", [0, 1 << 60, (1 << 63) - 1])
def test_a_box_that_claims_any_size(size: int, tmp_path: Path) -> None:
    """The index box of an mp4 is read as far as the file goes (0: to its end), and no memory is taken for more."""
    path = write_video(tmp_path / "claims.mp4", 10, rotation=90)
    data = path.read_bytes()
    start = data.index(b"moov") - 4
    header = struct.pack(">I4sQ", 1, b"moov", size) if size else struct.pack(">I4s", 0, b"moov")
    path.write_bytes(data[:start] + header + data[start + 8 :])
    info = probe(path)
    assert (info.num_frames, info.rotation) == (10, 90)


def test_an_animated_webp_is_not_called_too_large(tmp_path: Path) -> None:
    """FFmpeg cannot decode it, which no limit changes."""
    from PIL import Image

    first, *others = (Image.fromarray(videos.numbered_frame(k)) for k in range(3))
    path = tmp_path / "moving.webp"
    first.save(path, save_all=True, append_images=others, duration=100)
    with pytest.raises(VideoError, match="animated") as caught:
        probe(path, allow_images=True)
    assert caught.value.kind == "damaged"
    assert caught.value.hint == "Convert an animated WebP to another format: FFmpeg cannot decode it."
