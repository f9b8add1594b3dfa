"""Test videos whose frame number can be read back from the pixels, and files that try to break a reader.

The number is painted as a 4 x 4 grid of dark and light blocks over the central square: 12 bits, most significant
first, and 4 check bits. It survives lossy coding, resizing and a centre crop, so a test can say which frames were used.
Waves that differ from frame to frame lie over it all: a frame decoded from wrong neighbours is not the same.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

Frames = npt.NDArray[np.uint8]

DARK, LIGHT, WAVE = 24, 232, 20
GRID = 4  # blocks along a side of the central square

# What each encoder needs to be fast, single-threaded, reproducible and sharp enough for the blocks.
CODEC_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "20", "threads": "1"},
    "libx265": {"preset": "ultrafast", "crf": "20", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "800k", "threads": "1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "800k", "threads": "1"},
    "libsvtav1": {"preset": "12", "crf": "30", "svtav1-params": "lp=1"},
    "mpeg4": {"b": "800k", "threads": "1"},
    "gif": {},
}


def numbered_frame(number: int, width: int = 64, height: int = 48) -> Frames:
    """One picture (H, W, 3) that shows `number` (0 to 4095) in its central square."""
    bits = [number >> 11 - k & 1 for k in range(12)] + [_check(number) >> 3 - k & 1 for k in range(4)]
    levels = np.full((height, width), 128)
    for block, bit in zip(_blocks(width, height, margin=0), bits, strict=True):
        levels[block] = LIGHT if bit else DARK
    y, x = np.ogrid[:height, :width]
    waves = WAVE * np.sin(x * (0.2 + number % 7 / 10) + y * (0.9 - number % 5 / 10) + number)
    return np.repeat((levels + waves)[..., None], 3, axis=2).astype(np.uint8)


def frame_numbers(frames: npt.ArrayLike) -> list[int]:
    """Reads the numbers back from (T, H, W, 3) pictures, of 0..255 or any other scale; -1 where there is none."""
    numbers = []
    for picture in np.asarray(frames, dtype=np.float64):
        blocks = _blocks(picture.shape[1], picture.shape[0], margin=0.3)
        levels = np.array([picture[block].mean() for block in blocks])
        bits = [int(level > (levels.min() + levels.max()) / 2) for level in levels]
        number = sum(bit << 11 - k for k, bit in enumerate(bits[:12]))
        check = sum(bit << 3 - k for k, bit in enumerate(bits[12:]))
        numbers.append(number if check == _check(number) else -1)
    return numbers


def _check(number: int) -> int:
    """Four check bits; a plain picture (all blocks alike) fails them."""
    return ~(number ^ number >> 4 ^ number >> 8) & 15


def _blocks(width: int, height: int, margin: float) -> list[tuple[slice, slice]]:
    """The 16 blocks of the central square, row by row, shrunk by `margin` (a share of the block) on every side."""
    side = min(width, height) / GRID
    left, top = (width - GRID * side) / 2, (height - GRID * side) / 2

    def span(start: float, k: int) -> slice:
        return slice(round(start + (k + margin) * side), round(start + (k + 1 - margin) * side))

    return [(span(top, row), span(left, column)) for row in range(GRID) for column in range(GRID)]


def write_video(
    path: Path,
    num_frames: int = 30,
    *,
    width: int = 64,
    height: int = 48,
    codec: str = "libx264",
    fps: int = 30,
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    format: str | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int = 0,
    audio: bool = False,
    numbers: Iterable[int] | None = None,
) -> Path:
    """Writes frames numbered 0, 1, 2, … and returns the path.

    Args:
        path: its suffix chooses the container unless `format` does.
        width: of the picture as displayed; the coded one is turned when `rotation` asks for it.
        height: likewise.
        gop: largest distance between keyframes, in frames.
        options: of the encoder, over those in `CODEC_OPTIONS`.
        pts: presentation times in milliseconds, for a variable rate or another start; the default is k / fps.
        container_options: of the muxer.
        rotation: degrees counter-clockwise that a player has to turn the coded picture by, in the display matrix.
        audio: adds a tone.
        numbers: what to paint instead of 0, 1, 2, …
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=format, options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=fps, options={**CODEC_OPTIONS.get(codec, {}), **(options or {})})
        assert isinstance(stream, VideoStream)
        turned = rotation % 180 != 0
        stream.width, stream.height = (height, width) if turned else (width, height)
        stream.pix_fmt = "rgb8" if codec == "gif" else pix_fmt
        stream.gop_size = gop
        if rotation:
            stream.set_display_rotation(rotation)
        tick = Fraction(1, fps) if pts is None else Fraction(1, 1000)
        stream.codec_context.time_base = tick
        tone = out.add_stream("aac", rate=16000) if audio else None
        for k, number in enumerate(numbers if numbers is not None else range(num_frames)):
            picture = np.rot90(numbered_frame(number, width, height), -rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = (k if pts is None else pts[k]), tick
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            _write_tone(out, tone, num_frames / fps)
    return path


def _write_tone(out: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for start in range(0, max(1024, int(seconds * 16000)), 1024):
        wave = np.sin((start + np.arange(1024)) * (2 * np.pi * 440 / 16000)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def reference_decode(path: Path, stream_index: int | None = None) -> tuple[list[Frames], list[int | None]]:
    """Every frame of the best (or given) video stream, decoded serially, turned upright, as rgb24; and their pts.

    Packets that do not decode are skipped; alpha is composited on black. The reader must equal this bit for bit.
    """
    pictures: list[Frames] = []
    times: list[int | None] = []
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.best("video") if stream_index is None else container.streams[stream_index]
        assert isinstance(stream, VideoStream)
        stream.thread_count = 1
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                if any(component.is_alpha for component in frame.format.components):
                    rgba = frame.to_ndarray(format="rgba").astype(np.uint16)
                    picture = ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8)
                else:
                    picture = frame.to_ndarray(format="rgb24")
                pictures.append(np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90))))
                times.append(frame.pts)
    return pictures, times


# ---- videos of an unusual build ------------------------------------------------------------------------------------


def write_size_change(
    path: Path, num_frames: int = 20, sizes: Sequence[tuple[int, int]] = ((64, 48), (96, 64))
) -> Path:
    """A transport stream whose frame size changes midway: `num_frames` at each (width, height), numbered through."""
    with av.open(str(path), "w", format="mpegts") as out:
        stream = out.add_stream("libx264", rate=30, options=CODEC_OPTIONS["libx264"])
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuv420p"
        for part, (width, height) in enumerate(sizes):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
            encoder.options = {**CODEC_OPTIONS["libx264"], "bf": "0"}
            for k in range(part * num_frames, (part + 1) * num_frames):
                frame = av.VideoFrame.from_ndarray(numbered_frame(k, width, height), format="rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 30)
                _mux_on(out, stream, encoder.encode(frame))
            _mux_on(out, stream, encoder.encode(None))
    return path


def _mux_on(out: av.container.OutputContainer, stream: VideoStream, packets: list[av.Packet]) -> None:
    for packet in packets:
        packet.stream = stream
        out.mux(packet)


def hide_first_frames(path: Path, num_hidden: int, fps: int = 30) -> Path:
    """Patches the edit list of an mp4 (one track, one edit) so that its first frames are decoded but not shown."""
    data = bytearray(path.read_bytes())
    (timescale,) = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)
    (movie_timescale,) = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)
    entry = data.index(b"elst") + 12  # past the name, version, flags and number of entries
    duration, start = struct.unpack_from(">Ii", data, entry)
    struct.pack_into(
        ">Ii", data, entry, duration - num_hidden * movie_timescale // fps, start + num_hidden * timescale // fps
    )
    path.write_bytes(data)
    return path


# ---- hostile files ---------------------------------------------------------------------------------------------------


def write_random_bytes(path: Path, size: int = 20_000) -> Path:
    """Noise that no demuxer should know."""
    path.write_bytes(random.Random(0).randbytes(size))
    return path


def write_text(path: Path) -> Path:
    """Prose under a video's name."""
    path.write_text("This is not a video.\n" * 50)
    return path


def write_without_moov(path: Path) -> Path:
    """An mp4 whose recording was cut off before its index (moov) was written."""
    write_video(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    return path


def write_audio_only(path: Path) -> Path:
    """A tone and nothing else."""
    with av.open(str(path), "w") as out:
        _write_tone(out, out.add_stream("aac", rate=16000), 0.5)
    return path


def write_cover_art_only(path: Path) -> Path:
    """An mp3 whose only picture is its cover (an attached picture)."""
    with av.open(str(path), "w") as out:
        tone = out.add_stream("libmp3lame", rate=16000)
        cover = out.add_stream("mjpeg", rate=1)
        assert isinstance(cover, VideoStream)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(numbered_frame(0), format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        out.mux(cover.encode(frame))
        out.mux(cover.encode(None))
        _write_tone(out, tone, 0.5)
    return path


def write_truncated(path: Path, keep: float = 0.6, *, num_frames: int = 60, **how: object) -> Path:
    """A video cut short; an mp4 has its index in front, as recorders for the web write it."""
    front = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    write_video(path, num_frames, container_options=front, **how)  # type: ignore[arg-type]
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def spoil_packets(path: Path, which: Iterable[int]) -> Path:
    """Overwrites the payload of packets (by number in file order) with noise, in a file that tells their places."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size and p.pos is not None]
    data = bytearray(path.read_bytes())
    noise = random.Random(0)
    for k in which:
        start, size = places[k]
        data[start : start + size] = noise.randbytes(size)
    path.write_bytes(data)
    return path


def write_playlist(path: Path, target: Path) -> Path:
    """A list (.m3u8, .ffconcat or .sdp, by suffix) that would make a naive reader open `target` or the network."""
    path.write_text(
        {
            ".m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n",
            ".ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
            ".sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
            "a=rtpmap:96 H264/90000\n",
        }[path.suffix]
    )
    return path


def write_image(path: Path) -> Path:
    """A still picture, in the format of the suffix."""
    from PIL import Image

    Image.fromarray(numbered_frame(0)).save(path)
    return path


def write_huge_gif(path: Path) -> Path:
    """A few hundred bytes that unpack to 65,535 x 65,535 pixels."""
    write_video(path, 3, codec="gif")
    data = bytearray(path.read_bytes())
    struct.pack_into("<HH", data, 6, 65535, 65535)
    path.write_bytes(data)
    return path
