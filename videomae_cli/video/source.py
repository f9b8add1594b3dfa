"""One video stream of an open file: its packets, from the start or from a keyframe, and the frames in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice

import av
from av.codec.context import ThreadType
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from .container import VideoPath, choose_stream, demux, open_container
from .index import Keyframe

_BACK_OFF_SECONDS = (0.5, 2, 8)
_IN_FRAME_THREADS = {"h264", "hevc"}
_KEEPS_PROMISES = {"h264"}  # "no other frame depends on this one" is a rule of the format, not a hint of the encoder

Packets = Iterator["Packet[Stream] | None"]
"""Packets in file order; None asks the decoder for the frames that it still holds."""


class Source:
    """Opens a video; `close` gives file and decoder back.

    Args:
        path: the file.
        max_pixels: frames of more are refused, also when the size changes on the way.
        num_threads: for decoding, 0 for one a core; after a restart one thread decodes.
        pulse: called at every packet that is read.

    Raises:
        VideoError: the file cannot be opened as a video.
    """

    def __init__(self, path: VideoPath, max_pixels: int, num_threads: int, pulse: Callable[[], object]) -> None:
        self._path = path
        self._max_pixels = min(max_pixels, 2**31 - 1)  # FFmpeg refuses to be told more
        self._num_threads = num_threads
        self._pulse = pulse
        self.damaged: set[tuple[int | None, int | None]] = set()
        """Packets that arrived incomplete or that the decoder refused, by place in the file and decoding time."""
        self._open(num_threads)

    def _open(self, num_threads: int) -> None:
        self.container = open_container(self._path, self._max_pixels)
        try:
            self.stream = choose_stream(self.container, self._path, self._max_pixels)
            decoder = self.stream.codec_context
            decoder.thread_type = ThreadType.SLICE
            decoder.thread_count = num_threads
            decoder.options = {"max_pixels": str(self._max_pixels)}
        except BaseException:
            self.close()
            raise

    def use_frame_threads(self) -> None:
        """Has threads decode several frames at once, in H.264 and H.265. Before the first frame; until a restart.

        Most of those files have one slice to a frame, which leaves threads for slices nothing to do; and with such
        threads FFmpeg says nothing of damaged slices. Here damage is told, if some packets too late, and in the last
        frames that are decoded not always.
        """
        decoder = self.stream.codec_context
        if decoder.name not in _IN_FRAME_THREADS:
            return
        decoder.thread_type = ThreadType.AUTO
        # These threads wait for each other: one more keeps as many busy as were asked for. FFmpeg counts so too.
        decoder.thread_count = self._num_threads + (self._num_threads > 1)

    def close(self) -> None:
        """Gives the file and the decoder back; safe to call twice."""
        self.container.close()

    def restart(self) -> None:
        """Opens the file again: the one way back to its beginning that every format has.

        A single thread decodes from here on: what decoders make of damage depends on how many there are.
        """
        self.close()
        self._open(num_threads=1)

    def packets(self) -> Packets:
        """The packets from here to the end of the file."""
        with suppress(av.FFmpegError):  # the scan broke off at the same place, and said so
            yield from demux(self.container, [self.stream], self._pulse)
        yield None

    def packets_between(self, keyframe: Keyframe, last: int, order: Mapping[int, int]) -> Packets:
        """The packets from a keyframe to a later one, and then None: no more is decoded than was asked for.

        Args:
            keyframe: where to start.
            last: the place in the file of the last packet.
            order: the place of every packet, by its presentation time.
        """
        for packet in self._packets_from(keyframe, order):
            yield packet
            if packet is None:
                return
            if packet.pts is not None and order.get(packet.pts, -1) >= last:
                yield None
                return

    def _packets_from(self, keyframe: Keyframe, order: Mapping[int, int]) -> Packets:
        """The packets from a keyframe on.

        A seek lands where the container pleases: look where that is, drop what lies before the keyframe, and back off
        when it lies behind (MPEG-TS lands late every time).
        """
        assert self.stream.time_base is not None
        ticks_per_second = 1 / self.stream.time_base
        back_off = (keyframe.dts - int(seconds * ticks_per_second) for seconds in _BACK_OFF_SECONDS)
        for target in chain([keyframe.pts], back_off):
            try:
                self.container.seek(target, stream=self.stream)
            except av.FFmpegError:
                break
            packets = self.packets()
            for packet in packets:
                place = None if packet is None or packet.pts is None else order.get(packet.pts)
                if place == keyframe.order:
                    return chain([packet], packets)
                if place is None or place > keyframe.order:
                    break
        self.restart()
        return islice(self.packets(), keyframe.order, None)

    def decode(self, packet: Packet[Stream] | None, *, skippable: bool = False) -> list[VideoFrame]:
        """The frames that come out when a packet goes in; none of a damaged one.

        Args:
            packet: None drains the decoder.
            skippable: its own frame is not wanted: do not decode it if no other frame depends on it.
        """
        decoder = self.stream.codec_context
        decoder.skip_frame = "NONREF" if skippable and decoder.name in _KEEPS_PROMISES else "DEFAULT"
        if packet is not None and packet.is_corrupt:
            self.damaged.add((packet.pos, packet.dts))
        try:
            return decoder.decode(packet)
        except av.FFmpegError:
            self.damaged.add((None, None) if packet is None else (packet.pos, packet.dts))
            return []
