"""Frames that were read, and how decoded pictures become one array.

Legend: T frames, H W pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc, VideoReformatter

from .rotation import quarter_turn

_HDR_CURVES = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a video, in the order that they were asked for.

    Args:
        frames: uint8 RGB, upright, C-contiguous (T, H, W, 3).
        pts_seconds: float64 (T,), presentation times as the file has them (a transport stream seldom starts at 0).
        warnings: what was not as it should be, each a fixed word, a colon and the particulars: `truncated`,
            `corrupt`, `replaced`, `resized`, `hdr`, `interlaced`.
    """

    frames: npt.NDArray[np.uint8]
    pts_seconds: npt.NDArray[np.float64]
    warnings: tuple[str, ...] = ()


class ClipBuilder:
    """Converts each wanted frame straight into its places in one array, while the next ones are decoded.

    Args:
        wanted: frame numbers in the order asked for; any order, repeats allowed, at least one.
        in_background: convert in a thread of its own.
    """

    def __init__(self, wanted: Sequence[int], in_background: bool) -> None:
        self._num_places = len(wanted)
        self._places: dict[int, list[int]] = {}
        for place, number in enumerate(wanted):
            self._places.setdefault(number, []).append(place)
        self._worker = ThreadPoolExecutor(1) if in_background else None
        self._conversion: Future[None] | None = None
        self._pictures = Pictures()
        self._frames: npt.NDArray[np.uint8] | None = None
        self.missing = sorted(self._places)
        """Numbers of the frames that have not come yet, ascending."""

    def put(self, number: int, frame: VideoFrame, *, stands_in: bool = False) -> None:
        """Takes the picture of frame `number`, or the one that stands in for it because it cannot be decoded."""
        self._settle()  # one at a time: decoded frames must not pile up
        self.missing.remove(number)
        self._pictures.note(frame, stands_in=stands_in)
        if self._worker is None:
            self._convert(frame, self._places[number])
        else:
            self._conversion = self._worker.submit(self._convert, frame, self._places[number])

    def finish(self) -> tuple[npt.NDArray[np.uint8], list[str]]:
        """The frames (T, H, W, 3) and the warnings about them, once nothing is missing."""
        self._settle()
        assert self._frames is not None and not self.missing
        return self._frames, self._pictures.warnings()

    def _settle(self) -> None:
        """Waits for the conversion that is under way, and raises what it raised."""
        if self._conversion is not None:
            self._conversion.result()

    def _convert(self, frame: VideoFrame, places: Sequence[int]) -> None:
        picture = self._pictures.upright_rgb(frame)
        if self._frames is None:
            self._frames = np.empty((self._num_places, *picture.shape), np.uint8)
        elif picture.shape != self._frames.shape[1:]:
            picture = self._pictures.upright_rgb(frame, size=self._frames.shape[1:3])
            self._pictures.counts["resized"] += 1
        for place in places:
            self._frames[place] = picture


class Pictures:
    """Turns decoded frames into pictures, and counts what is not as it should be. One thread at a time.

    Attributes:
        counts: of the wanted frames, by what is the matter with them.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self.counts: Counter[str] = Counter()

    def note(self, frame: VideoFrame, *, stands_in: bool) -> None:
        """Counts what a frame tells of itself, and whether it stands in for another."""
        self.counts["replaced"] += stands_in
        self.counts["interlaced"] += frame.interlaced_frame
        self.counts[_HDR_CURVES.get(frame.color_trc, "")] += 1

    def warnings(self) -> list[str]:
        """What was counted, in words."""
        say = {
            "replaced": "replaced: {} of the wanted frames could not be decoded, a neighbour stands in",
            "resized": "resized: the size changes, {} of the wanted frames were scaled to that of the first",
            "unlike": "resized: the size changes, {} of the wanted frames are not of that of the first",
            "PQ": "hdr: PQ brightness is shown without tone mapping",
            "HLG": "hdr: HLG brightness is shown without tone mapping",
            "interlaced": "interlaced: both fields are shown in one picture",
        }
        return [text.format(self.counts[key]) for key, text in say.items() if self.counts[key]]

    def upright_rgb(self, frame: VideoFrame, size: tuple[int, ...] | None = None) -> npt.NDArray[np.uint8]:
        """The picture as displayed (H, W, 3), scaled to `size` (height, width) if that is given.

        Transparent pixels (GIF, PNG) are composited on black.
        """
        quarters = quarter_turn(frame.rotation) // 90
        height, width = (None, None) if size is None else size[::-1] if quarters % 2 else size
        has_alpha = any(component.is_alpha for component in frame.format.components)
        pixel_format = "rgba" if has_alpha else "rgb24"
        converted = self._reformatter.reformat(frame, width, height, pixel_format, threads=1)
        pixels = np.asarray(converted.to_ndarray(), np.uint8)
        if has_alpha:
            opacity = pixels[..., 3:].astype(np.uint16)
            pixels = ((pixels[..., :3] * opacity + 127) // 255).astype(np.uint8)
        return np.rot90(pixels, quarters)
