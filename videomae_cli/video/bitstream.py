"""What a few bytes of a packet tell about the picture in it, by codec."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from av.video.stream import VideoStream

# Kinds of NAL units: ITU-T H.264 table 7-1, H.265 table 7-1.
_PARAMETER_SETS = {"h264": {7, 8}, "hevc": {32, 33, 34}}
_SLICES = {"h264": range(1, 6), "hevc": range(32)}
_KEYFRAMES = {"h264": {5}, "hevc": range(16, 24)}
_RADL = {6, 7}  # H.265: shown before the keyframe, and decodable with nothing but that


class Bitstream:
    """Looks into the packets of a stream. They are passed as (part of) their data.

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

    def is_hidden(self, data: memoryview) -> bool:
        """True for an alternate reference frame of VP8 (RFC 6386 section 9.1, show_frame)."""
        return self.codec == "vp8" and not data[0] & 0x10

    def is_keyframe(self, data: memoryview) -> bool:
        """True for a picture of H.264 or H.265 that needs no other, by what it says itself."""
        keyframes = _KEYFRAMES.get(self.codec, ())
        return bool(keyframes) and any(kind in keyframes for kind, _ in self._nal_units(data))

    def parameters(self, data: memoryview) -> bytes:
        """The H.264 or H.265 parameter sets in front of the picture."""
        if self.codec not in _PARAMETER_SETS:
            return b""
        units = pairwise(self._nal_units(data))
        sets = (data[start:end] for (kind, start), (_, end) in units if kind in _PARAMETER_SETS[self.codec])
        return b"".join(bytes(unit).rstrip(b"\0") for unit in sets)

    def leads(self, data: memoryview, first: memoryview) -> bool:
        """True when a picture that is shown before the first keyframe, but stored after it, needs nothing earlier."""
        if self.codec == "hevc":
            return any(kind in _RADL for kind, _ in self._nal_units(data))
        if self.codec == "mpeg2video":  # ISO/IEC 13818-2 section 6.3.8, closed_gop
            group = re.search(rb"\x00\x00\x01\xb8...(.)", first, re.S)
            return group is not None and bool(group[1][0] & 0x40)
        return False

    def _nal_units(self, data: memoryview) -> Iterator[tuple[int, int]]:
        """Kind and place of each NAL unit; up to and with the first slice of the picture."""
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
