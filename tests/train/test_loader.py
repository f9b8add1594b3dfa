"""The order of training, and the processes that read for it: the same batches for any number, and none left behind."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch

from tests.train.test_dataset import RECIPE, drawn_masks
from tests.videos import write_text, write_video
from videomae_cli.data.dataset import ClipBatch, Draw, TrainingClips
from videomae_cli.data.loader import (
    epoch_order,
    micro_batches,
    steps_per_epoch,
    training_loader,
    workers_that_fit,
)
from videomae_cli.data.manifest import Manifest, Sample
from videomae_cli.errors import MachineError, UsageError

# ---- the order -------------------------------------------------------------------------------------------------------


def taken(num_batches: int, **options: int) -> list[list[tuple[int, int]]]:
    batches = islice(micro_batches(11, batch_size=4, seed=3, **options), num_batches)
    return [[(draw.epoch, draw.index) for draw in batch] for batch in batches]


def test_each_epoch_is_another_permutation() -> None:
    orders = [epoch_order(50, epoch, seed) for epoch in range(3) for seed in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 9
    assert epoch_order(50, 1, 1) == orders[4]


def test_steps_take_the_places_of_the_order() -> None:
    first, second = epoch_order(11, 0, 3), epoch_order(11, 1, 3)
    assert (
        taken(5, micro_batch=4)
        == [
            [(0, k) for k in first[:4]],
            [(0, k) for k in first[4:8]],  # three are left over
            [(1, k) for k in second[:4]],
            [(1, k) for k in second[4:8]],
            [(2, k) for k in epoch_order(11, 2, 3)[:4]],
        ]
    )


@pytest.mark.parametrize("start_step", [1, 2, 3, 7])
def test_a_run_goes_on_where_it_was(start_step: int) -> None:
    whole = taken(20, micro_batch=2)
    assert taken(6, micro_batch=2, start_step=start_step) == whole[2 * start_step : 2 * start_step + 6]


@pytest.mark.parametrize(("micro_batch", "world_size"), [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4)])
def test_a_step_has_the_same_videos_however_it_is_cut(micro_batch: int, world_size: int) -> None:
    whole = taken(6, micro_batch=4)
    per_step = 4 // (micro_batch * world_size)
    ranks = [
        taken(6 * per_step, micro_batch=micro_batch, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    for step in range(6):
        rounds = zip(*(rank[step * per_step : (step + 1) * per_step] for rank in ranks), strict=True)
        assert [draw for turn in rounds for batch in turn for draw in batch] == whole[step]


def test_too_few_videos_for_a_step() -> None:
    assert steps_per_epoch(11, batch_size=4) == 2
    with pytest.raises(UsageError, match="there are 11 videos for training, fewer than the 12") as caught:
        steps_per_epoch(11, batch_size=12, micro_batch=2, world_size=2)
    assert "--set optim.batch_size=8," in caught.value.hint
    with pytest.raises(UsageError) as caught:
        micro_batches(3, batch_size=8, micro_batch=8, seed=0)
    assert "--set optim.micro_batch=3 --set optim.batch_size=3," in caught.value.hint


def test_a_step_that_does_not_divide() -> None:
    with pytest.raises(UsageError, match="the 10 videos of a step do not divide into 4 at a time for 2") as caught:
        micro_batches(100, batch_size=10, micro_batch=4, seed=0, world_size=2)
    assert "optim.batch_size=16" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "free_bytes", "used"),
    [(4, 900, 4), (4, 899, 3), (4, 500, 2), (4, 300, 1), (4, 299, 0), (4, 0, 0), (0, 900, 0), (1, 10**12, 1)],
)
def test_workers_that_fit_into_shared_memory(wanted: int, free_bytes: int, used: int) -> None:
    assert workers_that_fit(wanted, 100, free_bytes) == used


# ---- the processes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> TrainingClips:
    """Six videos, one of which cannot be read."""
    top = tmp_path_factory.mktemp("videos")
    paths = [write_video(top / f"{k}.mp4", 20 + k) for k in range(5)] + [write_text(top / "bad.mp4")]
    manifest = Manifest(tuple(Sample(str(path), k % 2, "list") for k, path in enumerate(paths)), ("x", "y"))
    return TrainingClips(manifest, replace(RECIPE, repeats=2, draw_masks=drawn_masks))


def draws() -> Iterator[list[Draw]]:
    return micro_batches(6, batch_size=6, micro_batch=3, seed=0)


def contents(batch: ClipBatch) -> tuple[object, ...]:
    tensors = (batch.frames, batch.labels, batch.masks, batch.decoder_masks)
    return (*((tuple(t.shape), t.numpy().tobytes()) for t in tensors), batch.unreadable)


def silent(text: str) -> None:
    pytest.fail(f"unexpected note: {text}")


def test_batches_are_the_same_for_any_number_of_workers(clips: TrainingClips) -> None:
    before = set(active_children())
    read = []
    for num_workers in range(4):
        torch.manual_seed(num_workers)
        loader = training_loader(clips, draws(), num_workers, silent)
        read.append([contents(batch) for batch in islice(loader, 9)])
        assert len(set(active_children()) - before) == num_workers
        loader.close()
        assert set(active_children()) == before
    assert read[0] == read[1] == read[2] == read[3]
    assert read[0] == [contents(ClipBatch.join([clips[draw] for draw in batch])) for batch in islice(draws(), 9)]
    assert sum(bool(batch[-1]) for batch in read[0]) in (4, 5)  # the bad video, once an epoch of two micro-batches


def test_the_loader_draws_nothing_from_the_global_generator(clips: TrainingClips) -> None:
    for num_workers in (0, 1):
        before = torch.get_rng_state()
        loader = training_loader(clips, draws(), num_workers, silent)
        next(loader)
        loader.close()
        assert torch.equal(torch.get_rng_state(), before)


def test_batches_that_end(clips: TrainingClips) -> None:
    for num_workers in (0, 2):
        assert len(list(training_loader(clips, islice(draws(), 3), num_workers, silent))) == 3


def test_relative_paths_are_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "here.mp4", 20)
    monkeypatch.chdir(tmp_path)
    clips = TrainingClips(Manifest((Sample("here.mp4", 0, "list"),), ("x",)), RECIPE)
    loader = training_loader(clips, micro_batches(1, batch_size=1, micro_batch=1, seed=0), 1, silent)
    assert next(loader).unreadable == ()
    loader.close()


def test_workers_outlast_the_signals_that_reach_the_group(clips: TrainingClips) -> None:
    before = set(active_children())
    loader = training_loader(clips, draws(), 1, silent)
    next(loader)
    (worker,) = set(active_children()) - before
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert len(list(islice(loader, 8))) == 8
    assert worker.is_alive()
    loader.close()
    assert not worker.is_alive()


def test_a_killed_worker_is_told(clips: TrainingClips) -> None:
    before = set(active_children())
    loader = training_loader(clips, draws(), 2, silent)
    next(loader)
    (worker, _) = set(active_children()) - before
    worker.kill()
    with pytest.raises(MachineError, match="a process that reads videos was killed") as caught:
        for _ in loader:
            pass
    assert "data.num_workers" in caught.value.hint
    assert set(active_children()) == before


def test_short_shared_memory_is_noted(clips: TrainingClips) -> None:
    one = Manifest(clips._samples[:1], ("x", "y"))
    huge = TrainingClips(one, replace(RECIPE, size_px=10**7))  # so it says: `transform` gives less
    before, notes = set(active_children()), list[str]()
    loader = training_loader(huge, micro_batches(1, batch_size=1, micro_batch=1, seed=0), 2, notes.append)
    assert len(next(loader).frames) == 1
    assert set(active_children()) == before
    assert notes == ["/dev/shm is too small for 2 workers to read videos; 0 are used"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of torch's half-made iterator
def test_workers_that_cannot_be_started_are_noted(clips: TrainingClips) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    notes = []

    def note(text: str) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        notes.append(text)

    loader = training_loader(clips, draws(), 2, note)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))  # not one more file
    try:
        batch = next(loader)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert contents(batch) == contents(ClipBatch.join([clips[draw] for draw in next(draws())]))
    assert notes[0].startswith("no worker processes can be started (")


def broken(frames: torch.Tensor, rng: object) -> torch.Tensor:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bug_is_no_fault_of_the_machine(clips: TrainingClips, num_workers: int) -> None:
    bad = TrainingClips(Manifest(clips._samples, ("x", "y")), replace(RECIPE, transform=broken))
    with pytest.raises(RuntimeError, match="a bug"):
        next(training_loader(bad, draws(), num_workers, silent))


TRAINER = """
import signal, sys
from itertools import islice
from multiprocessing import active_children
from tests.train.test_dataset import RECIPE
from videomae_cli.data.dataset import TrainingClips
from videomae_cli.data.loader import micro_batches, training_loader
from videomae_cli.data.manifest import read_manifest

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born ignoring it
    signal.signal(signal.SIGTERM, lambda *_: print("SIGTERM", flush=True))
    clips = TrainingClips(read_manifest(sys.argv[1], labelled=False), RECIPE)
    loader = training_loader(clips, micro_batches(4, batch_size=2, micro_batch=2, seed=0), 2, print)
    next(loader)
    print(*[child.pid for child in active_children()], flush=True)
    sys.stdin.readline()
    print(len(list(islice(loader, 12))), flush=True)
    sys.stdin.readline()
"""


def start_trainer(top: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A process with two workers, in a group of its own as a shell makes one, and handles that tell their end."""
    for k in range(4):
        write_video(top / f"{k}.mp4", 20)
    (top / "trainer.py").write_text(TRAINER)
    trainer = subprocess.Popen(
        [sys.executable, str(top / "trainer.py"), str(top)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
    )
    return trainer, [os.pidfd_open(int(pid)) for pid in line_of(trainer).split()]


def line_of(trainer: subprocess.Popen[str]) -> str:
    assert trainer.stdout
    return trainer.stdout.readline()


def have_ended(handles: list[int]) -> bool:
    ended = [bool(select.select([handle], [], [], 20)[0]) for handle in handles]
    for handle in handles:
        os.close(handle)
    return ended == [True, True]


def test_nothing_is_left_of_a_killed_trainer(tmp_path: Path) -> None:
    trainer, workers = start_trainer(tmp_path)
    trainer.kill()
    _, errors = trainer.communicate(timeout=20)  # ends when the last process that could write there has ended
    assert have_ended(workers)
    assert "Traceback" not in errors


def test_signals_to_the_group_are_the_trainers_business(tmp_path: Path) -> None:
    trainer, workers = start_trainer(tmp_path)
    assert trainer.stdin
    os.killpg(trainer.pid, signal.SIGTERM)  # as a scheduler does
    assert line_of(trainer) == "SIGTERM\n"
    trainer.stdin.write("\n")
    trainer.stdin.flush()
    assert line_of(trainer) == "12\n"  # more than were read ahead: the workers are at work
    os.killpg(trainer.pid, signal.SIGINT)  # as a terminal does
    _, errors = trainer.communicate(timeout=20)
    assert have_ended(workers)
    assert errors.count("Traceback") == 1
    assert errors.endswith("KeyboardInterrupt\n")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_memory_stays_flat(clips: TrainingClips, num_workers: int) -> None:
    """A leak of each batch (150 of 166 kB) would show twice over."""
    before = set(active_children())
    loader = training_loader(clips, draws(), num_workers, silent)
    next(loader)
    processes = ["self", *(str(worker.pid) for worker in set(active_children()) - before)]
    used = []
    for _ in range(2):
        assert len(list(islice((len(batch.frames) for batch in loader), 150))) == 150
        used.append(sum(map(resident_kib, processes)))
    loader.close()
    assert used[1] - used[0] < 12 * 1024


def resident_kib(process: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
