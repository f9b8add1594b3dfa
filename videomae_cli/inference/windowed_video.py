"""A long video cut into windows: decoded once, in order; each frame resized once, however many windows show it.

Letters: T frames, C channels, H W pixels, h w pixels of the model.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import accumulate
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ..errors import VideoError
from ..video.container import DEFAULT_MAX_PIXELS
from ..video.reader import VideoReader
from ..video.sampling import Sampling, is_padded
from ..video.thumbnails import encode_jpeg, spread
from .windows import Windowing, plan_windows

if TYPE_CHECKING:
    from ..video.processor import VideoMAEImageProcessor


class WindowedVideo:
    """An open video, cut into windows; use it in a `with` statement.

    Args:
        path: a video file.
        windowing: length of the windows and their distance.
        sampling: number, kind and stride of the frames of a window.
        processor: resizes and crops.
        spread: see `plan_windows`.
        max_pixels: refuse frames with more.
        allow_images: take a still image for a video of one frame.
        num_thumbnails: small pictures, spread over the video, at most.
        pulse: see `VideoReader`.

    Attributes:
        info: what the file says of itself.
        duration_seconds: from its first frame to the end of its last.
        windows: with their frames, in order.
        warnings: what was not as it should be; complete when the last clip has come.
        thumbnails: number and JPEG of each; likewise.

    Raises:
        VideoError: the file cannot be read, or has no times.
    """

    def __init__(
        self,
        path: str,
        windowing: Windowing,
        sampling: Sampling,
        processor: VideoMAEImageProcessor,
        *,
        spread: bool = True,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        allow_images: bool = False,
        num_thumbnails: int = 0,
        pulse: Callable[[], object] = lambda: None,
    ) -> None:
        if os.path.isdir(path):
            hint = "Make a video of them, or leave --window out."
            raise VideoError("unfit", f"{path!r} is a folder of pictures, which have no times to cut windows by", hint)
        self._path, self._processor = path, processor
        self._video = VideoReader(path, max_pixels=max_pixels, allow_images=allow_images, num_threads=1, pulse=pulse)
        self.info = self._video.info
        times_seconds = self._video.times_seconds()
        last_seconds = float(times_seconds[-1])
        if math.isnan(last_seconds):
            self._video.close()
            raise VideoError("unfit", f"{path!r} does not tell when its frames are shown")
        self.duration_seconds = max(self.info.duration_seconds or 0.0, last_seconds)
        self.windows = plan_windows(times_seconds, self.duration_seconds, windowing, sampling, spread=spread)
        self.warnings = self._video.warnings
        self.thumbnails: list[tuple[int, bytes]] = []
        self._num_thumbnails = num_thumbnails
        self._first_picture: torch.Tensor | None = None

    def __enter__(self) -> WindowedVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.close()

    def clips(self) -> Generator[tuple[int, torch.Tensor], None, None]:
        """Number and levels, uint8 (T, C, h, w), of each window, as soon as its last frame is decoded.

        Frames are held while a window that is not complete may want them. Close it before the video.

        Raises:
            VideoError: the file cannot be decoded, changed meanwhile, or has frames that come out in different sizes.
        """
        wanted = sorted({number for window in self.windows for number in window.frames})
        shown = set(spread(wanted, self._num_thumbnails))
        stream = self._video.stream(wanted)
        held: dict[int, torch.Tensor] = {}  # (C, h, w) each, by number, ascending
        waiting = deque(enumerate(self.windows))
        # The first frame that is wanted by a window or any after it.
        wanted_from = list(accumulate((window.frames[0] for window in reversed(self.windows)), min))[::-1]
        with closing(iter(stream)) as pictures:
            for number, picture in pictures:
                held[number] = self._fit(picture)
                if number in shown:
                    self.thumbnails.append((number, encode_jpeg(picture)))
                while waiting and waiting[0][1].frames[-1] <= number:
                    place, window = waiting.popleft()
                    yield place, torch.stack([held[wanted] for wanted in window.frames])
                    keep_from = wanted_from[place + 1] if waiting else number + 1
                    for old in [wanted for wanted in held if wanted < keep_from]:
                        del held[old]
        num_padded = sum(is_padded(window.frames) for window in self.windows)
        padding = f"padded: {num_padded} of {len(self.windows)} windows have too few frames, which repeat"
        self.warnings = (*([padding] if num_padded else []), *self._video.warnings, *stream.warnings)

    def _fit(self, picture: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Resize and crop one frame, (H, W, C) -> (C, h, w)."""
        fitted = self._processor.cut(picture[None])[0, 0]
        if self._first_picture is None:
            self._first_picture = fitted
        if fitted.shape != self._first_picture.shape:
            what = f"{self._path!r} has frames of several sizes, which the processor of this model leaves different"
            raise VideoError("unfit", what)
        return fitted
