"""Opening one video file: only a regular file, only formats that hold their own pictures, never more than itself.

PyAV (FFmpeg) would happily follow a playlist to other files, take `12:30 clip.mp4` for a protocol, or wait on a pipe.
Everything that can be wrong with a file before its first packet is told apart here, as the `kind` of a `VideoError`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from ..errors import VideoError

DEFAULT_MAX_PIXELS = 8192 * 4320
"""Pixels a frame, by default: 8K. More is taken for a decompression bomb."""

VideoPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]
FileState = tuple[int, int, int, int]

_VIDEO_FORMATS = (
    "3gp apng asf av1 avi dirac dv flv gif gxf h261 h263 h264 hevc ivf live_flv m4v matroska mjpeg mov mpeg mpegts "
    "mpegvideo mxf nsv nut obu ogg rm swf vc1 vvc webm wtv yuv4mpegpipe"
)
_PICTURE_FORMATS = (
    "bmp_pipe gif_pipe ico j2k_pipe jpeg_pipe jpegxl_pipe pam_pipe pbm_pipe pgm_pipe png_pipe ppm_pipe psd_pipe "
    "qoi_pipe tiff_pipe webp_pipe"
)
_SOUND_FORMATS = "aac ac3 aiff amr ape au caf dts eac3 flac mp3 tta w64 wav wv"  # known only to say "no video"
_FORMATS = ",".join(f"{_VIDEO_FORMATS} {_PICTURE_FORMATS} {_SOUND_FORMATS}".split())

# How the formats begin that only name other files, and how the containers begin that a damaged file may still show.
_POINTER = re.compile(rb"(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat version|v=0\s+o=|<\?xml.*<MPD|<MPD|\[playlist\])", re.S)
_CONTAINER = re.compile(
    rb"....(ftyp|moov|mdat|free|wide|skip)|\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|OggS|\x00\x00\x01[\xb3\xba]"
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11|G.{187}G|GIF8",
    re.S,
)


def printable(path: VideoPath) -> str:
    """The path as a message shows it: quoted, with odd characters and undecodable bytes escaped."""
    return repr(os.fsdecode(path))


def file_state(path: VideoPath) -> FileState:
    """What changes when somebody writes to the file or puts another in its place.

    Raises:
        VideoError: `missing`, `unreadable` (no regular file, or the system refuses) or `empty`.
    """
    name = printable(path)
    try:
        state = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        raise VideoError("missing", f"no such file: {name}") from None
    except OSError as error:
        raise VideoError("unreadable", f"cannot read {name}: {error.strerror}") from error
    if not stat.S_ISREG(state.st_mode):  # a pipe or a device could block for ever
        what = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe, socket or device"
        raise VideoError("unreadable", f"{name} is {what}, not a file")
    if state.st_size == 0:
        raise VideoError("empty", f"the file has zero bytes: {name}")
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def open_container(path: VideoPath, max_pixels: int) -> InputContainer:
    """Opens a file for demuxing; the caller closes it.

    Raises:
        VideoError: `unreadable`, `refused`, `damaged` or `not_video`.
    """
    # The prefix and the absolute path keep FFmpeg from reading a protocol or an option into the name.
    url = "file:" + os.path.abspath(os.fsdecode(path))
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", "max_pixels": str(max_pixels)}
    try:
        return av.open(url, "r", options=options, metadata_errors="replace")
    except Exception as error:  # PyAV passes on more than its own errors
        if _begins(path, b"\xff\xd8\xff"):
            # A colour profile before the picture: FFmpeg goes by the suffix, and takes it for one of a numbered series.
            with suppress(Exception):
                return av.open(url, "r", format="jpeg_pipe", options=options, metadata_errors="replace")
        raise _explain(path) from error


def _begins(path: VideoPath, signature: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(signature)) == signature
    except OSError:
        return False


def _explain(path: VideoPath) -> VideoError:
    """Why a file does not open, judged by its first bytes."""
    name = printable(path)
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError as error:
        return VideoError("unreadable", f"cannot read {name}: {error.strerror}")
    if _POINTER.match(head):
        return VideoError(
            "refused", f"{name} is a list that points to other files", "Pass the videos that it names instead."
        )
    if _CONTAINER.match(head):
        return VideoError("damaged", f"{name} begins like a video, but its index is missing or cannot be read")
    return VideoError("not_video", f"{name} is in no video format that can be read")


def choose_stream(container: InputContainer, path: VideoPath, max_pixels: int) -> VideoStream:
    """The best video stream, cover pictures aside.

    Raises:
        VideoError: `no_video`, `damaged` (no decoder) or `too_large`.
    """
    best = container.streams.best("video")
    candidates = [best, *container.streams.video]
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    stream = next((s for s in candidates if isinstance(s, VideoStream) and not s.disposition & pictures), None)
    if stream is None:
        kinds = sorted({s.type for s in container.streams if s is not best})
        raise VideoError("no_video", f"{printable(path)} has no video, only {' and '.join(kinds) or 'a cover picture'}")
    if stream.codec_context is None:
        raise VideoError("damaged", f"{printable(path)}: there is no decoder for its video")
    width, height = stream.codec_context.width, stream.codec_context.height
    hint = "Raise the limit (--max-pixels) if you trust the file."
    if width * height > max_pixels:
        size = f"{width} x {height}, over the limit of {max_pixels} pixels"
        raise VideoError("too_large", f"{printable(path)} has frames of {size}", hint)
    if not width * height:  # pictures and animations tell their size only to a decoder, which refuses large ones
        if container.format.name == "webp_pipe":  # whatever its size, FFmpeg reads no animation of this format
            what = f"animated, damaged or over {max_pixels} pixels a frame"
            hint = "Convert an animated WebP to another format: FFmpeg cannot decode it."
            raise VideoError("damaged", f"{printable(path)} is a WebP picture that cannot be read: {what}", hint)
        if is_picture(container, num_frames=1):
            raise VideoError("too_large", f"{printable(path)} is damaged or over {max_pixels} pixels a frame", hint)
        raise VideoError("damaged", f"{printable(path)} does not tell how large its frames are")
    return stream


def demux(
    container: InputContainer, streams: Sequence[Stream], pulse: Callable[[], object]
) -> Iterator[Packet[Stream]]:
    """The packets of some streams that hold data, from the current position to the end of the file.

    Args:
        container: is read on.
        streams: of it.
        pulse: called at every packet.

    Raises:
        av.FFmpegError: the file breaks off here.
    """
    try:
        for packet in container.demux(*streams):
            pulse()
            if packet.size:
                yield packet
    except IndexError:
        return  # PyAV trips, after the last packet, over streams that appeared on the way (MPEG-TS)


def is_picture(container: InputContainer, num_frames: int) -> bool:
    """True for a still: a format that holds nothing else, or one frame in a format that may hold an animation."""
    name, brand = container.format.name, container.metadata.get("major_brand")
    may_move = name in {"gif", "apng"} or brand in {"avif", "heic", "mif1"}
    return name.endswith("_pipe") or name == "ico" or (may_move and num_frames == 1)
