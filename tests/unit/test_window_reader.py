"""Long videos read in a process: the parts that a reader makes, whatever becomes of the process."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.videos import write_video
from videomae_cli.errors import MachineError, VideoError
from videomae_cli.inference.records import Failure
from videomae_cli.inference.windows import Window, Windowing
from videomae_cli.video.container import DEFAULT_MAX_PIXELS
from videomae_cli.video.processor import VideoMAEImageProcessor
from videomae_cli.video.reader import VideoInfo
from videomae_cli.video.sampling import Sampling

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
if sys.platform == "linux":
    from videomae_cli.inference.decode_processes import DecodeProcesses
    from videomae_cli.inference.window_reader import (
        Clips,
        Finished,
        Opened,
        Part,
        WindowReader,
        read_in_process,
        serve_windows,
    )
    from videomae_cli.video.sequence import ahead

INFO = VideoInfo(60, 30.0, 2.0, 64, 48, "x", 0)
WINDOWS = tuple(Window(float(k), k + 1.0, (k,)) for k in range(4))
SECONDS = 30.0


@dataclass(frozen=True)
class FakeReader:
    """Two parts of a video, and then what the path says. Who worked is logged."""

    log: Path

    def __call__(self, path: str, pulse: Callable[[], object]) -> Generator[Part, None, None]:
        self.log.write_text(str(os.getpid()))
        yield Opened(INFO, 4.0, WINDOWS)
        yield Clips([0, 1], torch.full((2, 1, 3, 300, 300), 7, dtype=torch.uint8))  # more than a socket holds
        if path == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if path == "hang":
            while True:
                signal.pause()
        if path == "slow":  # longer than it may stand still
            for _ in range(30):
                time.sleep(0.1)
                pulse()
        if path == "broken":
            raise VideoError("damaged", "it is broken")
        if path == "bug":
            raise KeyError(path)
        if path == "memory":
            raise MemoryError
        if path == "torch's memory":
            torch.empty(2**60)
        yield Finished(("w",), ((3, b"jpeg"),))


@pytest.fixture
def processes() -> Iterator[DecodeProcesses]:
    with DecodeProcesses(serve_windows) as made:
        yield made


@pytest.fixture
def parts_of(processes: DecodeProcesses, tmp_path: Path) -> Callable[..., list[Part | Failure]]:
    def read(path: str, *, timeout_seconds: float = SECONDS) -> list[Part | Failure]:
        reader = FakeReader(tmp_path / "log")
        return list(read_in_process(processes, reader, path, timeout_seconds=timeout_seconds, halt=lambda: ""))

    return read


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_parts_come_as_they_were_made(parts_of: Callable[..., list[Part | Failure]], tmp_path: Path) -> None:
    opened, clips, finished = parts_of("good")
    assert opened == Opened(INFO, 4.0, WINDOWS)
    assert isinstance(clips, Clips)
    assert clips.places == [0, 1]
    assert torch.equal(clips.pixels, torch.full((2, 1, 3, 300, 300), 7, dtype=torch.uint8))
    assert finished == Finished(("w",), ((3, b"jpeg"),))
    assert is_gone(int((tmp_path / "log").read_text()))


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("segfault", "crashed", "SIGSEGV"),
        ("hang", "timeout", "stood still for 2 s"),
        ("broken", "damaged", "it is broken"),
        ("bug", "internal", "KeyError"),
    ],
)
def test_trouble_is_the_last_part(
    path: str, kind: str, said: str, parts_of: Callable[..., list[Part | Failure]], tmp_path: Path
) -> None:
    *before, last = parts_of(path, timeout_seconds=2.0 if path == "hang" else SECONDS)
    assert [type(part) for part in before] == [Opened, Clips]
    assert isinstance(last, Failure)
    assert (last.path, last.kind, said in last.message) == (path, kind, True)
    assert is_gone(int((tmp_path / "log").read_text()))
    assert len(parts_of("good")) == 3  # the next video is read all the same


def test_a_part_may_take_any_time_as_long_as_packets_are_read(
    parts_of: Callable[..., list[Part | Failure]],
) -> None:
    assert [type(part) for part in parts_of("slow", timeout_seconds=2.0)] == [Opened, Clips, Finished]


@pytest.mark.parametrize("path", ["memory", "torch's memory"])
def test_want_of_memory_ends_the_run(path: str, parts_of: Callable[..., list[Part | Failure]]) -> None:
    with pytest.raises(MachineError, match="out of memory"):
        parts_of(path)


def test_halting_does_not_wait_for_a_decoder(processes: DecodeProcesses, tmp_path: Path) -> None:
    reader, seen = FakeReader(tmp_path / "log"), list[Part | Failure]()
    start = time.monotonic()
    for part in read_in_process(
        processes, reader, "hang", timeout_seconds=1e6, halt=lambda: len(seen) == 2 and time.monotonic() > start + 0.5
    ):
        seen.append(part)
    assert [type(part) for part in seen] == [Opened, Clips]
    assert is_gone(int((tmp_path / "log").read_text()))


def test_a_process_a_thread_and_the_reader_itself_tell_the_same(processes: DecodeProcesses, tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "clip.mp4", 75))
    reader = WindowReader(
        Windowing(1.0, 0.5),
        Sampling("dense", 8, 4),
        VideoMAEImageProcessor(size=32, crop_size=32),
        batch_size=2,
        spread=True,
        max_pixels=DEFAULT_MAX_PIXELS,
        allow_images=False,
        strict=False,
        num_thumbnails=2,
    )
    ways = (
        reader(path),
        ahead(reader(path)),
        read_in_process(processes, reader, path, timeout_seconds=SECONDS, halt=lambda: ""),
    )
    itself, thread, process = (list(way) for way in ways)
    assert [type(part) for part in itself] == [Opened, Clips, Clips, Finished]
    for found in (thread, process):
        assert len(found) == len(itself)
        for part, other in zip(found, itself, strict=True):
            if isinstance(part, Clips):
                assert isinstance(other, Clips)
                assert part.places == other.places
                assert torch.equal(part.pixels, other.pixels)
            else:
                assert part == other
