"""Decoding in processes: one that crashes or hangs costs one file, none is left behind, nothing piles up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from videomae_cli.errors import MachineError, VideoError
from videomae_cli.inference.decode import Arrival
from videomae_cli.inference.records import Failure, SampledFrames
from videomae_cli.video.reader import VideoInfo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
if sys.platform == "linux":
    from videomae_cli.inference.decode_ahead import DecodeAhead
    from videomae_cli.inference.decode_processes import DecodeProcesses
    from videomae_cli.inference.decode_worker import serve
    from videomae_cli.inference.prepare import PreparedVideo

SHAPE = (1, 4, 3, 64, 64)
NUM_BYTES = 4 * 3 * 64 * 64
DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class FakeReader:
    """Prepares a path such as "7": pixels of that level. Words in a path do what they say; each start is logged."""

    log: Path

    def __call__(self, path: str) -> PreparedVideo:
        with self.log.open("a") as log:
            log.write(f"{os.getpid()} {path}\n")
        if "segfault" in path:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "hang" in path:
            while True:
                signal.pause()
        if "exit" in path:
            os._exit(3)
        if "bug" in path:
            raise KeyError(path)
        if "broken" in path:
            raise VideoError("damaged", "it is broken")
        if "memory" in path:
            raise MemoryError
        pixels = torch.full(SHAPE, int(path), dtype=torch.uint8)
        return PreparedVideo(path, pixels, SampledFrames("1x1", 4, ((0,),)), VideoInfo(1, 1, 1, 1, 1, "x", 0), ("w",))

    def started(self) -> list[tuple[int, str]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]


@pytest.fixture
def processes() -> Iterator[DecodeProcesses]:
    with DecodeProcesses(serve) as made:
        yield made


@pytest.fixture
def reader(tmp_path: Path) -> FakeReader:
    return FakeReader(tmp_path / "log")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def take_all(decoder: DecodeAhead) -> list[Arrival]:
    found = []
    while not decoder.is_done():
        if arrival := decoder.take(1.0):
            found.append(arrival)
    return found


def decode(
    processes: DecodeProcesses, reader: FakeReader, items: Sequence[str | Failure], **options: float
) -> dict[str, Arrival]:
    settings = {"num_workers": 2, "timeout_seconds": DEADLINE_SECONDS, **options}
    with closing(DecodeAhead(processes, reader, items, **settings)) as decoder:
        arrivals = take_all(decoder)
    assert sorted(arrival.place for arrival in arrivals) == list(range(len(items)))
    return {arrival.found.path: arrival for arrival in arrivals}


def test_videos_arrive_as_they_were_prepared(processes: DecodeProcesses, reader: FakeReader) -> None:
    known = Failure("known", "unreadable", "it was known before")
    found = decode(processes, reader, ["1", known, "3", "bug", "broken", "200"])
    for name, place in (("1", 0), ("3", 2), ("200", 5)):
        assert found[name].place == place
        video = found[name].found
        assert isinstance(video, PreparedVideo)
        assert torch.equal(video.pixels, torch.full(SHAPE, int(name), dtype=torch.uint8))
        assert (video.warnings, video.video.codec, video.sampling.frames) == (("w",), "x", ((0,),))
    assert found["known"] == Arrival(1, known)
    assert found["broken"].found == Failure("broken", "damaged", "'broken': it is broken")
    bug = found["bug"].found
    assert isinstance(bug, Failure)
    assert (bug.kind, "KeyError" in bug.message, "in __call__" in str(bug.cause)) == ("internal", True, True)


@pytest.mark.parametrize(("path", "how"), [("segfault", "SIGSEGV"), ("exit", "exit code 3")])
def test_a_crash_costs_one_file_and_another_process_goes_on(
    path: str, how: str, processes: DecodeProcesses, reader: FakeReader
) -> None:
    names = ["1", "2", path, "4", "5", "6"]
    found = decode(processes, reader, names, num_workers=1)
    failures = [arrival.found for arrival in found.values() if isinstance(arrival.found, Failure)]
    assert [(failure.path, failure.kind) for failure in failures] == [(path, "crashed")]
    assert how in failures[0].message
    assert [started for _, started in reader.started()] == names  # each once, in order
    assert len({pid for pid, _ in reader.started()}) == 2


def test_a_decoder_that_hangs_is_stopped(processes: DecodeProcesses, reader: FakeReader) -> None:
    found = decode(processes, reader, ["1", "hang", "3", "4"], num_workers=1, timeout_seconds=1.0)
    hung = found["hang"].found
    assert isinstance(hung, Failure)
    assert (hung.kind, "1 s" in hung.message, "--decode-timeout" in hung.hint) == ("timeout", True, True)
    assert all(isinstance(found[name].found, PreparedVideo) for name in "134")
    assert not any(is_alive(pid) for pid, path in reader.started() if path == "hang")


def test_out_of_memory_in_a_worker_ends_the_run(processes: DecodeProcesses, reader: FakeReader) -> None:
    with (
        closing(DecodeAhead(processes, reader, ["memory"], num_workers=1, timeout_seconds=9.0)) as decoder,
        pytest.raises(MachineError, match="out of memory"),
    ):
        take_all(decoder)


def test_a_slow_consumer_does_not_let_pixels_pile_up(processes: DecodeProcesses, reader: FakeReader) -> None:
    names = [str(k) for k in range(40)]
    options = {"num_workers": 2, "timeout_seconds": DEADLINE_SECONDS, "budget_bytes": 6 * NUM_BYTES}
    with closing(DecodeAhead(processes, reader, names, **options)) as decoder:
        for num_taken in range(len(names)):
            num_left = len(names) - num_taken
            # It goes as far as it may: the last that there is room for has been begun.
            wait_until(lambda n=num_left: len(decoder._arrived) >= min(6, n))  # type: ignore[misc]
            assert len(reader.started()) - num_taken <= 6
            assert decoder.take(DEADLINE_SECONDS) is not None
        assert decoder.take(DEADLINE_SECONDS) is None
        assert decoder.is_done()


def test_one_video_larger_than_the_budget_passes(processes: DecodeProcesses, reader: FakeReader) -> None:
    assert len(decode(processes, reader, ["1", "2", "3"], budget_bytes=1)) == 3


def test_draining_begins_with_nothing_else(processes: DecodeProcesses, reader: FakeReader) -> None:
    names = [str(k % 200) for k in range(1000)]
    options = {"num_workers": 1, "timeout_seconds": DEADLINE_SECONDS, "budget_bytes": 4 * NUM_BYTES}
    with closing(DecodeAhead(processes, reader, names, **options)) as decoder:
        first = decoder.take(DEADLINE_SECONDS)
        decoder.drain()
        arrivals = [first, *take_all(decoder)]
    places = [arrival.place for arrival in arrivals if arrival]
    assert places == list(range(len(places)))
    assert 1 <= len(places) <= 6
    assert len(reader.started()) == len(places)


def test_closing_does_not_wait_for_a_decoder_that_hangs(processes: DecodeProcesses, reader: FakeReader) -> None:
    decoder = DecodeAhead(processes, reader, ["hang", "1"], num_workers=2, timeout_seconds=10 * DEADLINE_SECONDS)
    wait_until(lambda: len(reader.started()) == 2)
    decoder.close()
    assert not any(is_alive(pid) for pid, _ in reader.started())


ORPHANS = """
import sys, time
from pathlib import Path
from tests.unit.test_decode_processes import DecodeAhead, DecodeProcesses, FakeReader, serve
processes = DecodeProcesses(serve)
decoder = DecodeAhead(processes, FakeReader(Path(sys.argv[1])), ["hang", "hang"], num_workers=2, timeout_seconds=1e6)
print(processes._pid, flush=True)
decoder.take(1e6)
"""


def test_no_process_outlives_a_parent_that_was_killed(reader: FakeReader) -> None:
    command = [sys.executable, "-c", ORPHANS, str(reader.log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout
        helper = int(process.stdout.readline())
        wait_until(lambda: len(reader.started()) == 2)
        process.kill()
        assert process.stdout.read() == b""  # nobody else holds its stdout
    wait_until(lambda: not any(is_alive(pid) for pid in [helper, *(pid for pid, _ in reader.started())]))
