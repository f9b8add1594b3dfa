"""The packet scan: which frames a video holds and from where each can be decoded, told without decoding any.

Frame k is the k-th frame in presentation order, counting what a player shows: packets that an edit list discards are
decoded but not counted. A frame is found again by its presentation time (pts), so neither a variable frame rate nor
a start other than zero matters.

Some files have no usable times: raw streams carry none, AVI stores none and FFmpeg's guesses are wrong once the codec
reorders frames (B-frames). Those are `timeless`: they can only be decoded from the start, counting.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream


@dataclass(frozen=True)
class Keyframe:
    """A packet that decoding can start from.

    Args:
        order: its place among the stream's packets, in file order.
        pts: its presentation time, in ticks.
        dts: its decoding time, in ticks; its pts where the file has none.
    """

    order: int
    pts: int
    dts: int


@dataclass(frozen=True)
class PacketIndex:
    """What one pass over the packets of a stream tells.

    Args:
        num_frames: frames that a player shows.
        times: their presentation times in ticks, ascending; empty in a timeless file.
        keyframes: in file order, those of discarded packets among them (frames after them need them).
        order: the place in the file of every packet, by its presentation time.
        span_seconds: from the first frame's start to the last one's end; None in a timeless file.
        truncated: a warning when the file ends before its header says; otherwise empty.
    """

    num_frames: int
    times: Sequence[int]
    keyframes: Sequence[Keyframe]
    order: Mapping[int, int]
    span_seconds: float | None
    truncated: str

    @property
    def timeless(self) -> bool:
        """True when frames can only be told apart by counting them."""
        return not self.times

    def keyframe_before(self, pts: int) -> Keyframe | None:
        """The last keyframe that is not shown after `pts`; None when there is none.

        A frame shown before a keyframe but stored after it (an open GOP) needs the keyframe before that.
        """
        place = bisect_right(self.keyframes, pts, key=lambda keyframe: keyframe.pts)
        return self.keyframes[place - 1] if place else None


def scan(container: InputContainer, stream: VideoStream) -> PacketIndex:
    """Reads every packet once and decodes none.

    Args:
        container: freshly opened; it is at its end afterwards.
        stream: the stream of it to index.
    """
    packets: list[tuple[int | None, int | None, bool, bool]] = []  # pts, dts, keyframe, shown
    ends = _Ends()
    # Where only the container says how long it lasts, its longest stream decides: look at them all.
    watched = (stream,) if stream.duration else tuple(container.streams)
    try:
        for packet in container.demux(watched):
            if not packet.size:
                continue
            ends.see(packet)
            if packet.stream_index == stream.index:
                packets.append((packet.pts, packet.dts, packet.is_keyframe, not packet.is_discard))
    except av.FFmpegError as error:  # read what there is
        ends.failure = error.strerror or type(error).__name__
