"""Reading exact frames of a video file, and telling what it holds.

Frame k is the k-th frame in presentation order, the same pixels as decoding everything and counting: whatever the
container, the frame rate, the edit list or the order of storage. The way there (`VideoReader.read`, `sequence.py`):

1. One scan of the packets, without decoding, gives every frame's time and the keyframes (`index.py`). Of most mp4 and
   mov files it reads just the index, of others all once, whatever their size: milliseconds for a clip, about as long
   as copying it for many gigabytes.
2. Each wanted frame is decoded from the keyframe before it, seeking when that saves decoding. Frames in between that
   no other frame depends on are not decoded. With several threads, colours are converted meanwhile.
3. What did not turn up that way (damage, keyframes that are none) is read by decoding the whole from the start, and
   so is everything in a file whose packets do not tell its frames (`index.py` says which): there only decoding tells
   how many they are.

Not done: tone mapping, deinterlacing, scaling of non-square pixels.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from ..errors import UsageError, VideoError
from .clip import Clip, ClipBuilder
from .container import DEFAULT_MAX_PIXELS, VideoPath, file_state, is_picture, printable
from .index import scan
from .rotation import stored_rotation
from .sequence import FrameStream, Passes, decoded_from_start
from .source import Source


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds.

    Args:
        num_frames: frames that a player shows, and the bound of the indices that `read_frames` takes.
        fps: mean frame rate; None when the file does not tell.
        duration_seconds: from the first frame's start to the last one's end; None when the file does not tell.
        width: of the pictures as displayed, in pixels.
        height: likewise.
        codec: FFmpeg's name, such as "h264".
        rotation: degrees counter-clockwise (0, 90, 180, 270) that the stored pictures are turned by for display.
    """

    num_frames: int
    fps: float | None
    duration_seconds: float | None
    width: int
    height: int
    codec: str
    rotation: int


def probe(path: VideoPath, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_images: bool = False) -> VideoInfo:
    """Says what a video file holds, by a scan of its packets.

    Nothing is decoded unless packets cannot tell the frames. `index.py` lists where: raw streams, repeating times, AVI
    with B-frames, interlaced H.264, MPEG-4 part 2 with empty packets, old codecs cut mid-way. Those are decoded once,
    from start to end, to count what comes out.

    Args:
        path: the file.
        max_pixels: frames of more are refused.
        allow_images: takes a still picture for a video of one frame.

    Raises:
        VideoError: the file cannot be read as a video; its `kind` says why.
    """
    with VideoReader(path, max_pixels=max_pixels, allow_images=allow_images) as video:
        return video.info


def read_frames(
    path: VideoPath,
    indices: Sequence[int] | npt.NDArray[np.integer],
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    allow_images: bool = False,
    num_threads: int = 2,
) -> Clip:
    """Reads frames by number: frame k is the k-th in presentation order, exactly.

    Args:
        path: the file.
        indices: frame numbers from 0 to `num_frames - 1`, in any order, repeats allowed.
        max_pixels: frames of more are refused.
        allow_images: takes a still picture for a video of one frame.
        num_threads: see `VideoReader`.

    Returns:
        The frames in the order of `indices`.

    Raises:
        UsageError: an index is no integer or out of range, or there are none.
        VideoError: the file cannot be read as a video; its `kind` says why.
    """
    with VideoReader(path, max_pixels=max_pixels, allow_images=allow_images, num_threads=num_threads) as video:
        return video.read(indices)


class VideoReader:
    """An open video file: one scan, then any number of reads. Use one per thread, in a `with` statement.

    Args:
        path: the file.
        max_pixels: frames of more are refused.
        allow_images: takes a still picture for a video of one frame.
        num_threads: for decoding, 0 for one a core. Where there is damage, or no way to seek, one thread goes over the
            file again; pixels depend on the number only where damage goes unnoticed. One thread notices all that FFmpeg
            can tell; several may miss it in the last frames that are decoded, in H.264 and H.265.
        pulse: called at every packet that is read: a sign of life, where a file may take long.

    Raises:
        VideoError: the file cannot be read as a video; its `kind` says why.
    """

    def __init__(
        self,
        path: VideoPath,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        allow_images: bool = False,
        num_threads: int = 2,
        pulse: Callable[[], object] = lambda: None,
    ) -> None:
        self._path = path
        self._num_threads = num_threads
        self._state = file_state(path)
        self._source = Source(path, max_pixels, num_threads, pulse)
        with self._blamed_on_file():
            self._index = scan(self._source.container, self._source.stream, path, pulse)
            self._times: Sequence[int | None] = self._index.times
            if self._index.timeless:
                has_times = self._source.container.format.name != "avi"  # there FFmpeg guesses
                self._times = [frame.pts if has_times else None for frame in decoded_from_start(self._source)]
                self._index = replace(self._index, num_frames=len(self._times))
                self._source.restart()  # the decoder knows the last size now, `info` tells the first
            else:
                self._source.use_frame_threads()
            self.info = self._describe(allow_images)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the file and the decoder back; safe to call twice."""
        self._source.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the scan found amiss (`truncated`), known before anything is read and repeated in every `Clip`."""
        return (self._index.truncated,) if self._index.truncated else ()

    def read(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Clip:
        """Reads frames by number; see `read_frames`."""
        wanted = self._checked(indices)
        clip = ClipBuilder(wanted, in_background=self._num_threads != 1)
        passes = Passes(self._path, self._source, self._index)
        with self._blamed_on_file():
            for number, frame in passes.by_keyframes(clip.missing):
                clip.put(number, frame)
            if passes.met_damage:
                clip = ClipBuilder(wanted, in_background=self._num_threads != 1)
            if clip.missing:
                for number, frame, stands_in in passes.from_start(clip.missing):
                    clip.put(number, frame, stands_in=stands_in)
            frames, warnings = clip.finish()
        return Clip(frames, self._pts_seconds(wanted), (*self.warnings, *passes.warnings(), *warnings))

    def stream(self, indices: Sequence[int]) -> FrameStream:
        """Reads frames one by one, in the order of the video, in memory for a few; see `FrameStream`.

        Args:
            indices: frame numbers, ascending, without repeats.
        """
        with self._blamed_on_file():
            self._source.restart()  # without frame threads, which tell of damage when frames after it are out already
        return FrameStream(self._checked(indices), Passes(self._path, self._source, self._index), self._blamed_on_file)

    def times_seconds(self) -> npt.NDArray[np.float64]:
        """When each frame is shown, counted from the first: (num_frames,) float64, ascending.

        NaN where the file tells neither times nor a rate. Times that do not ascend give way to a steady rate.
        """
        times = self._pts_seconds(range(self.info.num_frames))
        if (np.diff(times) <= 0).any():
            times = np.arange(self.info.num_frames) / (self.info.fps or math.nan)
        since_first: npt.NDArray[np.float64] = times - times[0]
        return since_first

    @contextmanager
    def _blamed_on_file(self) -> Iterator[None]:
        """Turns whatever goes wrong into a `VideoError`: the file changed meanwhile, or else it is damaged."""
        try:
            yield
        except Exception as error:  # PyAV raises more than its own errors
            self.close()
            self._check_unchanged()
            # Memory that FFmpeg lacks, a damaged file asked for; memory that numpy lacks, the caller did.
            if isinstance(error, VideoError) or (isinstance(error, MemoryError) and not isinstance(error, FFmpegError)):
                raise
            raise VideoError("damaged", f"{printable(self._path)} cannot be read: {error}") from error
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        try:
            state = file_state(self._path)
        except VideoError:  # it is gone
            state = None
        if state != self._state:
            self.close()
            raise VideoError("changed", f"{printable(self._path)} changed while it was read")

    def _describe(self, allow_images: bool) -> VideoInfo:
        """Puts together what the header and the scan told."""
        container, stream, index = self._source.container, self._source.stream, self._index
        if index.num_frames == 0:
            raise VideoError("damaged", f"{printable(self._path)} holds no frame that can be shown")
        if not allow_images and is_picture(container, index.num_frames):
            raise VideoError(
                "image",
                f"{printable(self._path)} is a still picture",
                "Pass --allow-images (allow_images=True) to take it.",
            )
        rate = stream.average_rate or stream.guessed_rate
        duration_seconds = index.span_seconds
        if duration_seconds is None and rate:
            duration_seconds = float(index.num_frames / rate)
        with open(self._path, "rb") as file:
            rotation = stored_rotation(file, container.format.name, stream.id)
        decoder = stream.codec_context
        width, height = (decoder.height, decoder.width) if rotation % 180 else (decoder.width, decoder.height)
        return VideoInfo(
            num_frames=index.num_frames,
            fps=float(rate) if rate else None,
            duration_seconds=duration_seconds,
            width=width,
            height=height,
            codec=decoder.codec.canonical_name,
            rotation=rotation,
        )

    def _checked(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> list[int]:
        num_frames = self.info.num_frames
        try:
            wanted = [operator.index(index) for index in indices]
        except TypeError:
            raise UsageError(f"frame indices must be integers, not {indices!r}") from None
        if not wanted:
            raise UsageError("no frame indices were given")
        for index in wanted:
            if not 0 <= index < num_frames:
                hint = f"Use 0 to {num_frames - 1}."
                raise UsageError(f"frame {index} is out of range: the video has {num_frames} frames", hint)
        return wanted

    def _pts_seconds(self, wanted: Sequence[int]) -> npt.NDArray[np.float64]:
        """Presentation times; where the file has none, those of a steady rate."""
        tick = float(self._source.stream.time_base or math.nan)
        period = 1 / (self.info.fps or math.nan)
        times = ((number, self._times[number]) for number in wanted)
        return np.array([number * period if pts is None else pts * tick for number, pts in times], np.float64)
