"""The packet scan: which frames a video holds and from where each can be decoded, told without decoding any.

Frame k is the k-th frame in presentation order, counting what a player shows: packets that an edit list discards are
decoded but not counted, and neither are those that nothing before them lets decode (a recording cut mid-way).
A frame is found again by its presentation time (pts), so neither a variable rate nor a late start matters.

Some files have no usable times: raw streams carry none, AVI stores none and FFmpeg's guesses are wrong once the codec
reorders frames (B-frames), and some repeat themselves. These are `timeless`: decoded from the start, and counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
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
        num_frames: frames that a player shows.
        times: their presentation times in ticks, ascending. This and what follows is empty in a timeless file.
        keyframes: in file order, discarded ones among them (the frames after those need them).
        order: the place in the file of every packet, by its presentation time.
        span_seconds: from the first frame's start to the last one's end.
        truncated: a warning when the file ends before its header says; otherwise empty.
    """

    num_frames: int
    times: Sequence[int] = ()
    keyframes: Sequence[Keyframe] = ()
    order: Mapping[int, int] = field(default_factory=dict)
    span_seconds: float | None = None
    truncated: str = ""

    @property
    def timeless(self) -> bool:
        """True when frames can only be told apart by counting them."""
        return not self.times

    def keyframe_before(self, pts: int) -> Keyframe:
        """The last keyframe that is not shown after `pts`, one of `times`.

        A frame that is stored after a keyframe but shown before it (an open GOP) needs the keyframe before that.
        """
        return self.keyframes[bisect_right(self.keyframes, pts, key=lambda keyframe: keyframe.pts) - 1]


class _Entry(NamedTuple):
    """What is kept of one packet of the stream."""

    pts: int | None
    dts: int | None
    duration: int
    is_keyframe: bool
    is_shown: bool


def scan(container: InputContainer, stream: VideoStream) -> PacketIndex:
    """Reads every packet once and decodes none.

    Args:
        container: freshly opened; it is at its end afterwards.
        stream: the stream of it to index.
    """
    # Where only the container says how long it lasts, its longest stream decides: look at them all.
    watched = [stream] if stream.duration else list(container.streams)
    may_hide = stream.codec_context.codec.name == "vp8"
    entries: list[_Entry] = []
    end_ticks: dict[int, int] = {}  # of each stream
    failure = ""
    try:
        for packet in demux(container, watched):
            pts, duration, number = packet.pts, packet.duration or 0, packet.stream_index
            if pts is not None:
                end_ticks[number] = max(end_ticks.get(number, 0), pts + duration)
            if number == stream.index:
                is_shown = not packet.is_discard and not (may_hide and _is_hidden_vp8(packet))
                entries.append(_Entry(pts, packet.dts, duration, packet.is_keyframe, is_shown))
    except av.FFmpegError as error:  # the file ends here
        failure = f"truncated: the file breaks off ({error.strerror})"
    end_seconds = max((float(ticks * _tick(container.streams[k])) for k, ticks in end_ticks.items()), default=0.0)
    index = _index(entries, stream, times_are_guesses=container.format.name == "avi")
    return replace(index, truncated=_truncation(index, container, stream, end_seconds) or failure)


def _is_hidden_vp8(packet: Packet[Stream]) -> bool:
    """True for an alternate reference frame, which has a packet of its own (RFC 6386 section 9.1, show_frame)."""
    return not memoryview(packet)[0] & 0x10


def _index(entries: Sequence[_Entry], stream: VideoStream, times_are_guesses: bool) -> PacketIndex:
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
        or (times_are_guesses and stream.codec_context.has_b_frames)
    ):
        return PacketIndex(num_frames=sum(entry.is_shown for entry in entries))
    # What is stored or shown before the first keyframe is left over from a cut: no decoder gives it out.
    first = keyframes[0]
    times = sorted(
        pts for pts, place in order.items() if pts >= first.pts and place >= first.order and entries[place].is_shown
    )
    if not times:
        return PacketIndex(num_frames=0)
    last_ticks = entries[order[times[-1]]].duration or (times[-1] - times[0]) // max(len(times) - 1, 1)
    span_ticks = times[-1] - times[0] + last_ticks
    return PacketIndex(len(times), times, keyframes, order, float(span_ticks * _tick(stream)))


def _tick(stream: Stream) -> Fraction:
    assert stream.time_base is not None  # every demuxer sets it
    return stream.time_base


def _truncation(index: PacketIndex, container: InputContainer, stream: VideoStream, end_seconds: float) -> str:
    """A warning when the last packet ends clearly before the header declares.

    A transport stream declares nothing: where it was cut it simply ends.
    """
    longest_gap = max((later - earlier for earlier, later in pairwise(index.times)), default=0)
    slack_seconds = max(0.1, float(2 * longest_gap * _tick(stream)))
    if container.format.name == "avi" and stream.average_rate:  # its duration follows what is there
        declared_seconds = float(stream.frames / stream.average_rate)
    elif stream.duration:
        declared_seconds = float(((stream.start_time or 0) + stream.duration) * _tick(stream))
    else:
        declared_seconds = (container.duration or 0) / av.time_base
    if not end_seconds or end_seconds + slack_seconds >= declared_seconds:
        return ""
    return f"truncated: ends at {end_seconds:.1f} s of {declared_seconds:.1f} s"
