"""Files whose packets mislead, on how many frames there are or on where decoding can start: still a full decode's."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from tests.unit.test_reader_formats import OPEN_GOP, X265, assert_equals_reference
from tests.videos import CODEC_OPTIONS, Frames, frame_numbers, numbered_frame, reference_decode, write_video
from videomae_cli.errors import VideoError
from videomae_cli.video.reader import VideoReader, probe, read_frames
from videomae_cli.video.source import Source

Payloads = list[tuple[bytes, bool]]  # and whether each is a keyframe
DIVX = b"\0\0\1\xb2DivX503b1393p"  # user data that tells of packed B-frames
NO_PICTURE = b"\0\0\1\xb6\x50\x4f"  # MPEG-4 part 2: a P-VOP that is "not coded"


def read_payloads(path: Path) -> Payloads:
    with av.open(str(path)) as container:
        return [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]


def write_payloads(path: Path, like: Path, payloads: Payloads) -> Path:
    """One packet a thirtieth of a second, with the stream header of another file."""
    with av.open(str(like)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for k, (payload, is_keyframe) in enumerate(payloads):
            packet = av.Packet(payload)
            packet.pts = packet.dts = k
            packet.duration, packet.time_base, packet.is_keyframe = 1, Fraction(1, 30), is_keyframe
            packet.stream = stream
            out.mux(packet)
    return path


def drop_packets(path: Path, source: Path, drop: Container[int]) -> Path:
    """The same file without some of its packets; those that stay keep their times."""
    with av.open(str(source)) as container, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for k, packet in enumerate(packet for packet in container.demux(video=0) if packet.size):
            if k not in drop:
                packet.stream = stream
                out.mux(packet)
    return path


# ---- probe decodes only what it has to -------------------------------------------------------------------------------


PLAIN: dict[str, dict[str, object]] = {
    "a.ts": {},
    "a.flv": {},
    "a.gif": {"codec": "gif"},
    "a.avi": {"codec": "mpeg4"},
    "a.mpg": {"codec": "mpeg2video", "fps": 25, "options": {"b": "2M"}},
    **{
        f"turned_{degrees}.{suffix}": {"rotation": degrees, "codec": "libvpx-vp9" if suffix == "webm" else "libx264"}
        for degrees in (0, 90, 180, 270)
        for suffix in ("mp4", "mov", "mkv", "webm")
    },
}


@pytest.mark.parametrize("name", PLAIN)
def test_probe_decodes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / name, 20, **PLAIN[name])  # type: ignore[arg-type]
    monkeypatch.setattr(Source, "decode", None)  # whoever calls it fails
    info = probe(path)
    assert (info.num_frames, info.width, info.height) == (20, 64, 48)
    assert info.rotation == PLAIN[name].get("rotation", 0)
    with pytest.raises(VideoError, match="not callable"):
        read_frames(path, [0])


# ---- packets that are no frames --------------------------------------------------------------------------------------


def write_fields(path: Path, num_frames: int) -> Path:
    """Raw interlaced H.264 with each field a picture, and so a packet, of its own (uncompressed macroblocks)."""

    def number(value: int) -> str:  # Exp-Golomb
        return f"{value + 1:0{2 * (value + 1).bit_length() - 1}b}"

    def unit(header: int, bits: str) -> bytes:
        bits += "1" + "0" * (-(len(bits) + 1) % 8)
        payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
        return b"\0\0\0\1" + bytes([header]) + payload  # the payloads here need no emulation prevention

    def field(pixels: Frames, is_bottom: bool, idr_id: int) -> bytes:
        bits = number(0) + number(7) + number(0) + "00000000" + ("11" if is_bottom else "10")
        bits += ("0" if is_bottom else number(idr_id) + "00") + number(0)
        for y in range(0, 32, 16):
            for x in range(0, 64, 16):
                bits += number(25)
                bits += "0" * (-len(bits) % 8)
                block = pixels[y : y + 16, x : x + 16].tobytes() + bytes([128]) * 128
                bits += "".join(f"{byte:08b}" for byte in block)
        return unit(0x61 if is_bottom else 0x65, bits)

    parameters = unit(
        0x67,
        f"{77:08b}{0:08b}{30:08b}{number(0)}{number(4)}{number(2)}{number(1)}0{number(3)}{number(1)}0010",
    ) + unit(0x68, number(0) + number(0) + "00" + number(0) * 3 + "000" + number(0) * 3 + "000")
    stream = b""
    for k in range(num_frames):
        picture = np.clip(numbered_frame(k, 64, 64)[..., 0], 1, 254)
        delimiter = b"\0\0\0\1\x09\xf0"
        stream += delimiter + parameters + field(picture[0::2], False, k % 2)
        stream += delimiter + field(picture[1::2], True, k % 2)
    path.write_bytes(stream)
    return path


@pytest.mark.parametrize("suffix", ["h264", "ts", "m2ts", "mkv"])
def test_two_fields_are_one_frame(suffix: str, tmp_path: Path) -> None:
    path = raw = write_fields(tmp_path / "fields.h264", 12)
    assert len(read_payloads(raw)) == 24
    if suffix != "h264":
        path = write_payloads(tmp_path / f"fields.{suffix}", raw, read_payloads(raw))
    assert set(assert_equals_reference(path)) == {("interlaced: both fields are shown in one picture",)}
    assert frame_numbers(read_frames(path, range(12)).frames) == list(range(12))


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
def test_packets_without_a_picture(suffix: str, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", 40, codec="mpeg4")
    payloads: Payloads = []
    for k, payload in enumerate(read_payloads(whole)):
        payloads += [payload, (NO_PICTURE, False)] if k % 10 == 7 else [payload]
    path = write_payloads(tmp_path / f"gaps.{suffix}", whole, payloads)
    assert set(assert_equals_reference(path)) == {()}
    assert frame_numbers(read_frames(path, [8, 39]).frames) == [8, 39]


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_two_pictures_in_one_packet(suffix: str, tmp_path: Path) -> None:
    """As DivX packed B-frames into AVI: the picture that is stored ahead and the one before it, then a filler."""
    whole = write_video(tmp_path / "whole.avi", 40, codec="mpeg4", options={"bf": "1"})
    payloads: Payloads = []
    for payload, is_keyframe in read_payloads(whole):
        if payload[payload.index(b"\0\0\1\xb6") + 4] >> 6 == 2:  # vop_coding_type B
            payloads[-1:] = [(payloads[-1][0] + payload, payloads[-1][1]), (NO_PICTURE, False)]
        else:
            payloads.append(
                (payload.replace(b"\0\0\1\xb6", DIVX + b"\0\0\1\xb6") if is_keyframe else payload, is_keyframe)
            )
    path = write_payloads(tmp_path / f"packed.{suffix}", whole, payloads)
    assert set(assert_equals_reference(path)) == {()}
    assert frame_numbers(read_frames(path, [3, 30]).frames) == [3, 30]


# ---- recordings cut at the front -------------------------------------------------------------------------------------

RADL = {"codec": "libx265", "options": {"x265-params": f"{X265}:open-gop=0:radl=2:b-adapt=0"}}
RASL = {"codec": "libx265", "options": {"x265-params": f"{X265}:open-gop=1:b-adapt=0"}}
B_FRAMES = {"codec": "mpeg2video", "fps": 25, "options": {"bf": "2", "b": "2M"}}


@pytest.mark.parametrize(
    ("name", "how", "num_dropped"),
    [
        ("radl.mkv", RADL, 12),
        ("radl.mp4", RADL, 14),
        ("radl.ts", RADL, 5),
        ("rasl.mkv", RASL, 14),
        ("rasl.ts", RASL, 12),
        ("mpeg2.mkv", B_FRAMES, 13),
        ("mpeg2.avi", B_FRAMES, 13),
        ("mpeg4.mkv", {"codec": "mpeg4", "options": {"bf": "2"}}, 5),
        ("mpeg4.mp4", {"codec": "mpeg4", "options": {"bf": "2"}}, 12),
        ("h264.mkv", {"options": {"x264-params": OPEN_GOP}}, 7),
    ],
)
def test_cut_front(name: str, how: dict[str, object], num_dropped: int, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", 60, **how)  # type: ignore[arg-type]
    path = drop_packets(tmp_path / name, whole, range(num_dropped))
    warnings = set(assert_equals_reference(path))
    assert all(warning.startswith("corrupt: ") for found in warnings for warning in found)


def test_cut_front_of_a_raw_stream(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.h264", 60, options={"x264-params": OPEN_GOP})
    path.write_bytes(path.read_bytes()[1000:])
    assert probe(path).num_frames < len(read_payloads(path))
    assert set(assert_equals_reference(path)) == {()}


def test_a_closed_group_keeps_what_is_shown_before_its_keyframe(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", 60, **B_FRAMES)  # type: ignore[arg-type]
    path = drop_packets(tmp_path / "open.mkv", whole, range(12))
    closed = drop_packets(tmp_path / "closed.mkv", whole, range(12))
    data = bytearray(closed.read_bytes())
    data[data.index(b"\0\0\1\xb8") + 7] |= 0x40  # closed_gop
    closed.write_bytes(data)
    assert_equals_reference(closed)
    assert probe(closed).num_frames == probe(path).num_frames + 2


# ---- keyframes that need what is stored elsewhere --------------------------------------------------------------------


def write_joined(path: Path, parts: Iterable[dict[str, str]]) -> Path:
    """40 frames from each of several encoders; only some keyframes bring their parameters along."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options=CODEC_OPTIONS["libx264"])
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for part, options in enumerate(parts):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
            encoder.options = {**CODEC_OPTIONS["libx264"], "bf": "0", **options}
            frames: list[av.VideoFrame | None] = [None]
            for k in reversed(range(40 * part, 40 * part + 40)):
                picture = numbered_frame(k) // 2 + (k // 4 % 5 * 25)  # changes of scene make keyframes
                frames.insert(0, av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24"))
                frames[0].pts, frames[0].time_base = k, Fraction(1, 30)  # type: ignore[union-attr]
            for packet in (packet for frame in frames for packet in encoder.encode(frame)):
                packet.stream = stream
                out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_joined_recordings(suffix: str, tmp_path: Path) -> None:
    """A keyframe without parameters is decoded with those before it, whatever was read earlier."""
    parts = [{"qp": "20"}, {"x264-params": "qp=35:8x8dct=0"}, {"x264-params": "cabac=0:weightp=0"}]
    path = write_joined(tmp_path / f"joined.{suffix}", parts)
    reference, _ = reference_decode(path)
    assert any(is_keyframe and b"\x67" not in payload[:12] for payload, is_keyframe in read_payloads(path))
    assert probe(path).num_frames == len(reference) == 120
    for number in range(120):
        clip = read_frames(path, [number])
        assert np.array_equal(clip.frames[0], reference[number]) and not clip.warnings, number
    with VideoReader(path) as video:
        for indices in ([8, 72], [110], [30], [118, 4], [64], [100, 36]):
            clip = video.read(indices)
            assert all(np.array_equal(clip.frames[i], reference[k]) for i, k in enumerate(indices)), indices


# ---- times that repeat -----------------------------------------------------------------------------------------------


def test_times_that_repeat_are_those_of_the_file(tmp_path: Path) -> None:
    first, second = (write_video(tmp_path / f"{k}.ts", 20, numbers=range(k, k + 20)) for k in (0, 100))
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    # Where two transport streams meet, the packets' counters jump, as after a loss.
    assert set(assert_equals_reference(path)) <= {(), ("corrupt: 1 packet damaged",)}
    _, ticks = reference_decode(path)
    clip = read_frames(path, [0, 19, 20, 39])
    assert frame_numbers(clip.frames) == [0, 19, 100, 119]
    assert clip.pts_seconds.tolist() == pytest.approx([ticks[k] / 90_000 for k in (0, 19, 20, 39)])  # type: ignore[operator]
    assert clip.pts_seconds[2] == clip.pts_seconds[0]


def test_counting_leaves_the_first_size(tmp_path: Path) -> None:
    small, large = (write_video(tmp_path / f"{side}.h264", 8, width=side, height=side) for side in (48, 96))
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    info = probe(path)
    assert (info.num_frames, info.width, info.height) == (16, 48, 48)
    assert frame_numbers(read_frames(path, [7, 8]).frames) == [7, 0]


# ---- damage ----------------------------------------------------------------------------------------------------------


def drop_some(source: Path) -> Path:
    """Packets lost on the way, some of them referred to by later ones."""
    return drop_packets(source.with_name(f"dropped{source.suffix}"), source, {9, 18, 22, 39, 53})


def cut_out(source: Path) -> Path:
    """A hole in the middle of packets; a transport stream's counters tell of it."""
    data = bytearray(source.read_bytes())
    del data[17_823 : 17_823 + 700]
    source.write_bytes(data)
    return source


@pytest.mark.parametrize(
    ("spoil", "suffix"), [(drop_some, "ts"), (drop_some, "flv"), (drop_some, "mkv"), (cut_out, "ts")]
)
def test_damage_shows_alike_from_wherever_decoding_starts(
    spoil: Callable[[Path], Path], suffix: str, tmp_path: Path
) -> None:
    """Each frame read alone equals a serial decode, in which a decoder has seen all that is left."""
    path = spoil(write_video(tmp_path / f"whole.{suffix}", 60, options={"x264-params": OPEN_GOP}))
    pictures, ticks = reference_decode(path)
    reference = dict(zip(ticks, pictures, strict=True))
    with av.open(str(path)) as container:
        tick = container.streams.video[0].time_base
    assert tick is not None
    compared = 0
    with VideoReader(path, num_threads=1) as video:
        for number in range(video.info.num_frames):
            clip = video.read([number])
            expected = reference.get(round(clip.pts_seconds[0] / tick))
            if expected is not None:  # the others no decoder gives out
                assert np.array_equal(clip.frames[0], expected), number
                compared += 1
        everything = video.read(range(video.info.num_frames))
    assert compared == len(reference) >= 50
    assert spoil is drop_some or everything.warnings[0].startswith("corrupt: ")


@pytest.mark.parametrize("slices", [1, 4])
def test_damage_is_told_and_shows_alike_however_many_threads_decode(slices: int, tmp_path: Path) -> None:
    options = {"x264-params": f"slices={slices}:keyint=20"}
    path = write_video(tmp_path / "spoilt.mp4", 60, options=options, width=128, height=128)
    with av.open(str(path)) as container:
        key = [packet for packet in container.demux(video=0) if packet.is_keyframe][1]
    assert key.pos is not None
    data, start, end = bytearray(path.read_bytes()), key.pos + key.size * 6 // 10, key.pos + key.size * 7 // 10
    data[start:end] = random.Random(0).randbytes(end - start)  # inside a slice
    path.write_bytes(data)
    clips = [read_frames(path, range(60), num_threads=number) for number in (1, 2, 4)]
    assert [clip.warnings for clip in clips] == [("corrupt: 1 frame decoded with errors",)] * 3
    assert all(np.array_equal(clip.frames, clips[0].frames) for clip in clips)
