"""The packet scan: which frames a video holds and from where each can be decoded, told without decoding any.

Frame k is the k-th frame in presentation order, counting what a player shows: packets that an edit list discards are
decoded but not counted, and neither are those that nothing before them lets decode (a recording cut mid-way).
A frame is found again by its presentation time (pts), so neither a variable rate nor a late start matters.

In some files packets do not tell the frames; these are `timeless`: decoded from the start, and counted. They are

- raw streams, which carry no times, and files whose times repeat (joined recordings, edit lists of several parts);
- AVI of a codec that reorders frames (B-frames): it stores no times and FFmpeg's guesses are wrong;
- interlaced H.264, where a packet may hold one field, half a frame;
- MPEG-4 part 2 with packets that hold no picture (N-VOPs, packed B-frames);
- old codecs (MPEG-4 part 2, WMV, ...) cut mid-way, whose decoders do not wait for a keyframe.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from .container import demux

_WAIT_FOR_KEYFRAME = {"h264", "hevc", "mpeg1video", "mpeg2video", "vp8", "vp9", "av1"}
_PARAMETER_SETS = {"h264": {7, 8}, "hevc": {32, 33, 34}}  # kinds of NAL units, as those that follow
_SLICES = {"h264": range(1, 6), "hevc": range(32)}
_RADL = {6, 7}  # H.265: shown before the keyframe, and decodable with nothing but that
_PROGRESSIVE = 1  # FFmpeg's AV_FIELD_PROGRESSIVE; interlaced above, unknown below
_MAX_N_VOP_BYTES = 19  # FFmpeg takes MPEG-4 packets up to here for ones that may hold no picture


class Keyframe(NamedTuple):
    """A packet that decoding can start from.

    Args:
        order: its place among the stream's packets, in file order.
        pts: its presentation time, in ticks of the stream's time base.
        dts: its decoding time; its pts where the file has none.
        is_shown: False when an edit list hides its frame, which then never comes out of the decoder.
    """

    order: int
    pts: int
    dts: int
    is_shown: bool


@dataclass(frozen=True)
class PacketIndex:
    """What one pass over the packets of a stream tells.

    Args:
        num_frames: frames that a player shows; 0 in a timeless file until somebody has counted.
        times: their presentation times in ticks, ascending. This and what follows is empty in a timeless file.
        keyframes: in file order, discarded ones among them (the frames after those need them). Where the parameters
            of the coding change on the way, only those that bring their own.
        order: the place in the file of every packet, by its presentation time.
        longest_gap_ticks: between the times of two successive frames.
        span_seconds: from the first frame's start to the last one's end.
        truncated: a warning when the file ends before its header says; otherwise empty.
    """

    num_frames: int
    times: Sequence[int] = ()
    keyframes: Sequence[Keyframe] = ()
    order: Mapping[int, int] = field(default_factory=dict)
    longest_gap_ticks: int = 0
    span_seconds: float | None = None
    truncated: str = ""

    @property
    def is_steady(self) -> bool:
        """True when the times are a regular row without gaps: no frame was lost."""
        return self.longest_gap_ticks * (len(self.times) - 1) <= 1.5 * (self.times[-1] - self.times[0])

    @property
    def timeless(self) -> bool:
        """True when frames can only be told apart by counting them."""
        return not self.times

    def keyframe_before(self, pts: int) -> Keyframe:
        """The last keyframe that is not shown after `pts`, one of `times`; the first when all are.

        A frame that is stored after a keyframe but shown before it (an open GOP) needs the keyframe before that.
        """
        return self.keyframes[max(bisect_right(self.keyframes, pts, key=lambda keyframe: keyframe.pts) - 1, 0)]


class _Entry(NamedTuple):
    """What is kept of one packet of the stream."""

    pts: int | None
    dts: int | None
    duration: int
    is_keyframe: bool
    is_shown: bool
    parameters: bytes
    """Of the coding, where a keyframe brings them along (H.264 and H.265 parameter sets)."""


def scan(container: InputContainer, stream: VideoStream) -> PacketIndex:
    """Reads every packet once and decodes none.

    Args:
        container: freshly opened; it is at its end afterwards.
        stream: the stream of it to index.
    """
    # Where only the container says how long it lasts, its longest stream decides: look at them all.
    watched = [stream] if stream.duration else list(container.streams)
    look = _Bitstream(stream)
    entries: list[_Entry] = []
    end_ticks: dict[int, int] = {}  # of each stream
    first: Packet[Stream] | None = None  # keyframe
    holds_no_picture = False
    failure = ""
    try:
        for packet in demux(container, watched):
            pts, duration, number = packet.pts, packet.duration or 0, packet.stream_index
            if pts is not None:
                end_ticks[number] = max(end_ticks.get(number, 0), pts + duration)
            if number != stream.index:
                continue
            parameters = look.parameters(packet) if packet.is_keyframe else b""
            first = first or (packet if packet.is_keyframe else None)
            # What is stored or shown before the first keyframe is left over from a cut.
            is_left_over = first is None or (
                pts is not None and first.pts is not None and pts < first.pts and not look.leads(packet, first)
            )
            is_shown = not (packet.is_discard or is_left_over or look.is_hidden(packet))
            entries.append(_Entry(pts, packet.dts, duration, packet.is_keyframe, is_shown, parameters))
            holds_no_picture |= look.codec == "mpeg4" and packet.size <= _MAX_N_VOP_BYTES
    except av.FFmpegError as error:  # the file ends here
        failure = f"truncated: the file breaks off ({error.strerror})"
    end_seconds = max((float(ticks * _tick(container.streams[k])) for k, ticks in end_ticks.items()), default=0.0)
    decoder = stream.codec_context
    packets_mislead = (
        holds_no_picture
        or (container.format.name == "avi" and decoder.has_b_frames)
        or (look.codec == "h264" and decoder.field_order > _PROGRESSIVE)
        or (look.codec not in _WAIT_FOR_KEYFRAME and bool(entries) and not entries[0].is_keyframe)
    )
    index = PacketIndex(0) if packets_mislead else _index(entries, stream)
    return replace(index, truncated=_truncation(index, container, stream, end_seconds) or failure)


def _index(entries: Sequence[_Entry], stream: VideoStream) -> PacketIndex:
    keyframes = [
        Keyframe(place, entry.pts, entry.pts if entry.dts is None else entry.dts, entry.is_shown)
        for place, entry in enumerate(entries)
        if entry.is_keyframe and entry.pts is not None
    ]
    order = {entry.pts: place for place, entry in enumerate(entries) if entry.pts is not None}
    if (
        len(order) < len(entries)  # times are missing or repeat
        or not keyframes
        or any(earlier.pts >= later.pts for earlier, later in pairwise(keyframes))
    ):
        return PacketIndex(0)
    times = sorted(pts for pts, place in order.items() if entries[place].is_shown)
    if not times:
        return PacketIndex(0)
    known = {entries[keyframe.order].parameters for keyframe in keyframes[:1]}
    known |= {entry.parameters for entry in entries if entry.parameters}
    if len(known) > 1:
        keyframes = [keyframe for keyframe in keyframes if entries[keyframe.order].parameters]
    last_ticks = entries[order[times[-1]]].duration or (times[-1] - times[0]) // max(len(times) - 1, 1)
    span_ticks = times[-1] - times[0] + last_ticks
    longest_gap_ticks = max((later - earlier for earlier, later in pairwise(times)), default=0)
    return PacketIndex(len(times), times, keyframes, order, longest_gap_ticks, float(span_ticks * _tick(stream)))


class _Bitstream:
    """What a few bytes of a packet tell about it, by codec.

    Args:
        stream: that the packets are of.
    """

    def __init__(self, stream: VideoStream) -> None:
        decoder = stream.codec_context
        self.codec = decoder.codec.canonical_name
        extradata = decoder.extradata or b""
        self.length_bytes = 0
        """Before each NAL unit of H.264 or H.265; 0 where start codes separate them (Annex B)."""
        size_field = {"h264": 4, "hevc": 21}.get(self.codec, 0)  # ISO/IEC 14496-15 sections 5.3.3 and 8.3.3
        if extradata[:1] == b"\1" and 0 < size_field < len(extradata):
            self.length_bytes = 1 + (extradata[size_field] & 3)

    def is_hidden(self, packet: Packet[Stream]) -> bool:
        """True for an alternate reference frame of VP8 (RFC 6386 section 9.1, show_frame)."""
        return self.codec == "vp8" and not memoryview(packet)[0] & 0x10

    def parameters(self, packet: Packet[Stream]) -> bytes:
        """The H.264 or H.265 parameter sets in front of the picture."""
        if self.codec not in _PARAMETER_SETS:
            return b""
        data = memoryview(packet)
        units = pairwise(self._nal_units(data))
        sets = (data[start:end] for (kind, start), (_, end) in units if kind in _PARAMETER_SETS[self.codec])
        return b"".join(bytes(unit).rstrip(b"\0") for unit in sets)

    def leads(self, packet: Packet[Stream], first: Packet[Stream]) -> bool:
        """True when a picture that is shown before the first keyframe, but stored after it, needs nothing earlier."""
        if self.codec == "hevc":
            return any(kind in _RADL for kind, _ in self._nal_units(memoryview(packet)))
        if self.codec == "mpeg2video":  # ISO/IEC 13818-2 section 6.3.8, closed_gop
            group = re.search(rb"\x00\x00\x01\xb8...(.)", memoryview(first), re.S)
            return group is not None and bool(group[1][0] & 0x40)
        return False

    def _nal_units(self, data: memoryview) -> Iterator[tuple[int, int]]:
        """Kind and place of each NAL unit, up to and with the first that holds a slice of the picture."""
        place = 0
        starts = re.finditer(b"\0\0\1", data)
        while True:
            if self.length_bytes:
                header = place + self.length_bytes
            elif match := next(starts, None):
                place, header = match.span()
            else:
                return
            if header >= len(data):
                return
            kind = data[header] & 31 if self.codec == "h264" else data[header] >> 1 & 63
            yield kind, place
            if kind in _SLICES[self.codec]:
                return
            if self.length_bytes:
                place = header + int.from_bytes(data[place:header], "big")


def _tick(stream: Stream) -> Fraction:
    assert stream.time_base is not None  # every demuxer sets it
    return stream.time_base


def _truncation(index: PacketIndex, container: InputContainer, stream: VideoStream, end_seconds: float) -> str:
    """A warning when the last packet ends clearly before the header declares.

    A transport stream declares nothing: where it was cut it simply ends.
    """
    slack_seconds = max(0.1, float(2 * index.longest_gap_ticks * _tick(stream)))
    if container.format.name == "avi" and stream.average_rate:  # its duration follows what is there
        declared_seconds = float(stream.frames / stream.average_rate)
    elif stream.duration:
        declared_seconds = float(((stream.start_time or 0) + stream.duration) * _tick(stream))
    else:
        declared_seconds = (container.duration or 0) / av.time_base
    if not end_seconds or end_seconds + slack_seconds >= declared_seconds:
        return ""
    return f"truncated: ends at {end_seconds:.1f} s of {declared_seconds:.1f} s"
