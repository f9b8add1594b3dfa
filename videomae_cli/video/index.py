"""The packet scan: which frames a video holds and from where each can be decoded, told without decoding any.

Frame k is the k-th frame in presentation order, counting what a player shows: packets that an edit list discards are
decoded but not counted, and neither are those that nothing before them lets decode (a recording cut mid-way).
A frame is found again by its presentation time (pts), so neither a variable rate nor a late start matters.
The index of an mp4 or mov file tells the same as its packets, which then need not be read: 9 ms, not 29, for 3 minutes.

In some files packets do not tell the frames; these are `timeless`: decoded from the start, and counted. They are

- raw streams, which carry no times, and files whose times repeat (joined recordings, edit lists of several parts);
- AVI of a codec that reorders frames (B-frames): it stores no times and FFmpeg's guesses are wrong;
- interlaced H.264, where a packet may hold one field, half a frame;
- MPEG-4 part 2 with packets that hold no picture (N-VOPs, packed B-frames);
- old codecs (MPEG-4 part 2, WMV, ...) cut mid-way, whose decoders do not wait for a keyframe.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, pairwise, repeat
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from .bitstream import Bitstream
from .container import VideoPath, demux
from .mp4 import read_moov, sample_times

_WAIT_FOR_KEYFRAME = {"h264", "hevc", "mpeg1video", "mpeg2video", "vp8", "vp9", "av1"}
_PROGRESSIVE = 1  # FFmpeg's AV_FIELD_PROGRESSIVE; interlaced above, unknown below
_NUM_COMPARED = 32  # packets that a table must tell right: several mini-groups of B-frames
_HEAD_BYTES = 4096  # of a keyframe, in which its kind is found
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

    def runs(self, times: Iterable[int], seek_pays_packets: int) -> list[tuple[Keyframe, int]]:
        """What to decode to get some frames: keyframes to seek to, each with the place of the last packet to decode.

        Args:
            times: the frames' presentation times, ascending, some of `times`.
            seek_pays_packets: decoding goes on to the next keyframe when that is not farther than this.
        """
        runs: list[tuple[Keyframe, int]] = []
        for pts in times:
            keyframe, place = self.keyframe_before(pts), self.order[pts]
            if runs and keyframe.order - runs[-1][1] <= seek_pays_packets:
                runs[-1] = runs[-1][0], max(runs[-1][1], place)
            else:
                runs.append((keyframe, place))
        return runs


class _Entry(NamedTuple):
    """What is kept of one packet of the stream."""

    pts: int | None
    dts: int | None
    duration: int
    is_keyframe: bool
    is_shown: bool
    parameters: bytes
    """Of the coding, where a keyframe brings them along (H.264 and H.265 parameter sets)."""


def scan(container: InputContainer, stream: VideoStream, path: VideoPath, pulse: Callable[[], object]) -> PacketIndex:
    """Reads every packet once, or only the first few where the file has a table of all; decodes none.

    Args:
        container: freshly opened; it is somewhere else afterwards.
        stream: the stream of it to index.
        path: of the same file.
        pulse: called at every packet that is read.
    """
    # Where only the container says how long it lasts, its longest stream decides: look at them all.
    watched = [stream] if stream.duration else list(container.streams)
    look = Bitstream(stream)
    entries: list[_Entry] = []
    end_ticks: dict[int, int] = {}  # of each stream
    first: Packet[Stream] | None = None  # keyframe
    holds_no_picture = False
    failure = ""
    try:
        for packet in demux(container, watched, pulse):
            pts, duration, number = packet.pts, packet.duration or 0, packet.stream_index
            if pts is not None:
                end_ticks[number] = max(end_ticks.get(number, 0), pts + duration)
            if number != stream.index:
                continue
            data = memoryview(packet)
            parameters = look.parameters(data) if packet.is_keyframe else b""
            first = first or (packet if packet.is_keyframe else None)
            # What is stored or shown before the first keyframe is left over from a cut.
            is_left_over = first is None or (
                pts is not None
                and first.pts is not None
                and pts < first.pts
                and not look.leads(data, memoryview(first))
            )
            is_shown = not (packet.is_discard or is_left_over or look.is_hidden(data))
            entries.append(_Entry(pts, packet.dts, duration, packet.is_keyframe, is_shown, parameters))
            holds_no_picture |= look.codec == "mpeg4" and packet.size <= _MAX_N_VOP_BYTES
            if len(entries) == _NUM_COMPARED and (table := _from_table(stream, path, look, entries)):
                entries = table
                end_ticks[number] = max(entry.pts + entry.duration for entry in table if entry.pts is not None)
                break
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
    truncated = _truncation(index, container, stream, end_seconds) or failure
    return replace(index, truncated=truncated)


def _from_table(stream: VideoStream, path: VideoPath, look: Bitstream, read: Sequence[_Entry]) -> list[_Entry]:
    """All packets, as the sample table of an mp4 or mov file tells them; none where it cannot be trusted.

    It is where no edit list hides or moves anything, all data is there, every keyframe says itself that it is one, and
    what was read is what it tells.

    Args:
        stream: to index.
        path: the file.
        look: into the packets of that stream.
        read: the first packets.
    """
    samples, first = list(stream.index_entries), read[0]
    parameters = [b""] * len(samples)
    with open(path, "rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        times = sample_times(read_moov(file), stream.id, len(samples)) if samples and stream.duration else None
        if times is None or first.pts is None or first.dts is None:
            return []
        others = (other.index_entries for other in stream.container.streams if other is not stream)
        if any(sample.pos + sample.size > num_bytes for sample in chain(samples, *others)):
            return []  # demuxing ends at the first that any stream lacks
        for place, sample in enumerate(samples):
            if sample.is_discard or not sample.size:
                return []
            if sample.is_keyframe:
                file.seek(sample.pos)
                head = memoryview(file.read(min(sample.size, _HEAD_BYTES)))
                if not look.is_keyframe(head):
                    return []
                parameters[place] = look.parameters(head)
    decoded = [sample.timestamp for sample in samples]
    shown = (times.offsets - times.offsets[0] + np.array(decoded) + first.pts - first.dts).tolist()
    durations = [later - earlier for earlier, later in pairwise(decoded)] + [times.last_duration]
    keyframes = [sample.is_keyframe for sample in samples]
    entries = list(map(_Entry._make, zip(shown, decoded, durations, keyframes, repeat(True), parameters)))
    return entries if entries[: len(read)] == list(read) and min(shown) == first.pts else []


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
