"""Where the time goes on the way from a file to its labels: reading, preprocessing, moving to the device, the model.

Each stage is timed by itself, on what the stage before gives, and takes turns with the others; the whole way is timed
too, so that the stages can be held against it. Files are read again and again: the system has them in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import torch
from av.video.stream import VideoStream

from ..errors import VideoError
from ..inference.classifier import VideoClassifier
from ..inference.device import DTYPES, choose_attention
from ..model.videomae import VideoMAEForVideoClassification
from ..video.processor import VideoMAEImageProcessor
from ..video.reader import probe, read_frames
from ..video.sampling import Sampling
from .clock import wall_watch
from .records import Case, Row, Settings
from .timing import measure

SYNTHETIC_FRAMES, SYNTHETIC_WIDTH, SYNTHETIC_HEIGHT, SYNTHETIC_FPS = 300, 640, 360, 30


@contextmanager
def synthetic_clip() -> Iterator[str]:
    """A file to measure with where none was given: a textured picture that moves, 10 s of H.264.

    Yields:
        Its path; it is gone afterwards.
    """
    with TemporaryDirectory(prefix="videomae-") as folder:
        path = str(Path(folder) / "synthetic.mp4")
        coarse = np.random.default_rng(0).integers(0, 256, (SYNTHETIC_HEIGHT // 8, SYNTHETIC_WIDTH // 8, 3), np.uint8)
        picture = coarse.repeat(8, axis=0).repeat(8, axis=1)
        with av.open(path, "w") as out:
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            stream = out.add_stream(codec, rate=SYNTHETIC_FPS)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = SYNTHETIC_WIDTH, SYNTHETIC_HEIGHT, "yuv420p"
            for number in range(SYNTHETIC_FRAMES):
                moved = np.roll(picture, (number, 2 * number), axis=(0, 1))
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, SYNTHETIC_FPS)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        yield path


def decode_rows(
    files: Mapping[str, str],
    processor: VideoMAEImageProcessor,
    sampling: Sampling,
    settings: Settings,
    stop: Callable[[], bool],
) -> Iterator[list[Row]]:
    """Time `probe`, `read_frames` and the processor on each file.

    Args:
        files: paths, by the names for their rows.
        processor: frames to pixels.
        sampling: which frames of a file to read.
        settings: how often.
        stop: whether to end early, asked between calls.

    Yields:
        The rows of one file at a time.
    """
    for video, path in files.items():
        if stop():
            return
        name = partial(Case, "decode", video=video)
        try:
            (indices,) = sampling.indices(probe(path).num_frames)
            frames = read_frames(path, indices).frames
        except VideoError as error:
            yield [Row(name(), error=error.message)]
            continue
        calls: dict[Case, Callable[[], object]] = {
            name(stage="probe"): partial(probe, path),
            name(stage="read"): partial(read_frames, path, indices),
            name(stage="preprocess"): partial(processor.crops, frames),
        }
        yield _rows(calls, {"read": len(indices), "preprocess": len(indices)}, settings, stop)


def end_to_end_rows(
    files: Mapping[str, str],
    model: VideoMAEForVideoClassification,
    processor: VideoMAEImageProcessor,
    settings: Settings,
    stop: Callable[[], bool],
) -> Iterator[list[Row]]:
    """Time the stages of `classify` on each file, one view of it, and the whole.

    Args:
        files: paths, by the names for their rows.
        model: float32, on the CPU; left as it is.
        processor: frames to pixels.
        settings: dtypes and attentions, and how often.
        stop: whether to end early, asked between calls.

    Yields:
        The rows of one file at a time.
    """
    classifiers = {
        (dtype, attention): _classifier(model, processor, settings.device, dtype, attention)
        for dtype in settings.dtypes
        for attention in settings.attentions
    }
    sampling = next(iter(classifiers.values())).sampling()
    for video, path in files.items():
        if stop():
            return
        name = partial(Case, "e2e", settings.model, video=video)
        try:
            (indices,) = sampling.indices(probe(path).num_frames)
            frames = read_frames(path, indices).frames
        except VideoError as error:
            yield [Row(name(), error=error.message)]
            continue
        pixels = processor.crops(frames)
        calls: dict[Case, Callable[[], object]] = {
            name(stage="decode"): partial(read_frames, path, indices),
            name(stage="preprocess"): partial(processor.crops, frames),
        }
        for (dtype, attention), classifier in classifiers.items():
            moved = pixels.to(classifier.device, classifier.dtype)
            calls |= {
                name(stage="transfer", dtype=dtype): partial(pixels.to, classifier.device, classifier.dtype),
                name(stage="forward", dtype=dtype, attention=attention): partial(classifier.logits, moved),
                name(stage="total", dtype=dtype, attention=attention): partial(classifier.classify, path),
            }
        yield _rows(calls, {"total": 1}, settings, stop)


def _classifier(
    model: VideoMAEForVideoClassification, processor: VideoMAEImageProcessor, device: str, dtype: str, attention: str
) -> VideoClassifier:
    """A classifier on a copy of the model, as `VideoClassifier.from_pretrained` would make it."""
    twin = copy.deepcopy(model).to(torch.device(device), DTYPES[dtype])
    twin.set_attn_implementation(choose_attention(attention))
    return VideoClassifier(twin, processor, list(twin.config.id2label.values()), fast=attention == "auto")


def _rows(
    calls: dict[Case, Callable[[], object]], num_items: dict[str, int], settings: Settings, stop: Callable[[], bool]
) -> list[Row]:
    """Time the stages in turns; `num_items` are what a call of a stage deals with, where that means something."""
    times = measure(calls, wall_watch(torch.device(settings.device)), settings.effort, stop)
    return [
        Row(
            case,
            samples_ms=tuple(found.samples_ms),
            warmup_ms=tuple(found.warmup_ms),
            num_items=num_items.get(case.stage or ""),
        )
        for case, found in times.items()
        if found.samples_ms
    ]
