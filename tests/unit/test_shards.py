"""Which part of the inputs a run takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from videomae_cli.cli.plan import name_output
from videomae_cli.cli.shard import Shard, parse_shard
from videomae_cli.errors import UsageError

ARRAY = {
    "SLURM_ARRAY_TASK_ID": "5",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_MIN": "3",
    "SLURM_ARRAY_TASK_MAX": "6",
    "SLURM_ARRAY_TASK_STEP": "1",
    "SLURM_PROCID": "0",  # a batch script has these too
    "SLURM_NTASKS": "8",
}
STEP = {"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2"}


def test_every_input_is_in_one_shard_and_they_are_about_as_large() -> None:
    paths = [f"clips/{k}.mp4" for k in range(4000)]
    for count in (1, 3, 8):
        shards = [Shard(number, count) for number in range(1, count + 1)]
        sizes = Counter(str(shard) for path in paths for shard in shards if shard.holds(path))
        assert sizes.total() == len(paths)
        assert min(sizes.values()) > 0.85 * len(paths) / count


@pytest.mark.parametrize(("path", "number"), [("a.mp4", 7), ("你好.mp4", 6), ("not-utf8-\udcff.mp4", 7)])
def test_the_shard_of_a_name_is_the_same_everywhere(path: str, number: int) -> None:
    """Literal numbers: another machine, version or PYTHONHASHSEED must not move an input to another shard."""
    assert [k for k in range(1, 8) if Shard(k, 7).holds(path)] == [number]


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("1/4", {}, Shard(1, 4)),
        ("4/4", ARRAY, Shard(4, 4)),
        ("auto", ARRAY, Shard(3, 4)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "2"}, Shard(1, 2)),
        (
            "auto",
            ARRAY | {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_MAX": "9"},
            Shard(3, 4),
        ),
        ("auto", ARRAY | STEP, Shard(6, 8)),  # the third of four tasks, the second of two processes
        ("auto", {"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, Shard(3, 3)),
        ("auto", STEP, Shard(2, 2)),
        ("auto", {"JOB_COMPLETION_INDEX": "9", "VIDEOMAE_NUM_SHARDS": "10"}, Shard(10, 10)),
        ("auto", {"RANK": "0", "WORLD_SIZE": "8"}, Shard(1, 8)),
        ("auto", {"RANK": "0", "WORLD_SIZE": "1"}, Shard(1, 1)),
        ("auto", ARRAY | {"RANK": "0", "WORLD_SIZE": "1"}, Shard(3, 4)),
        ("auto", STEP | {"RANK": "1", "WORLD_SIZE": "2"}, Shard(2, 2)),  # they agree
    ],
)
def test_shards_that_are_told(text: str, environment: dict[str, str], shard: Shard) -> None:
    assert parse_shard(text, environment) == shard


@pytest.mark.parametrize(
    ("text", "environment", "named"),
    [
        ("0/4", {}, "'0/4'"),
        ("5/4", {}, "'5/4'"),
        ("1/0", {}, "'1/0'"),
        ("one", {}, "'one'"),
        ("", {}, "''"),
        ("auto", {}, "neither Slurm, Kubernetes nor torchrun"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "5"}, "SLURM_ARRAY_TASK_COUNT is ''"),
        ("auto", ARRAY | {"SLURM_ARRAY_TASK_MAX": "9"}, "gaps"),
        ("auto", ARRAY | {"SLURM_ARRAY_TASK_ID": "2"}, "makes this number 0 of 4"),
        ("auto", {"JOB_COMPLETION_INDEX": "0"}, "does not tell how many"),
        ("auto", {"JOB_COMPLETION_INDEX": "3", "VIDEOMAE_NUM_SHARDS": "3"}, "number 4 of 3"),
        ("auto", {"RANK": "x", "WORLD_SIZE": "8"}, "RANK is 'x'"),
        ("auto", STEP | {"RANK": "2", "WORLD_SIZE": "4"}, "Slurm says 2/2, torchrun says 3/4"),
    ],
)
def test_shards_that_are_not(text: str, environment: dict[str, str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parse_shard(text, environment)


def test_the_name_of_an_output_may_hold_the_shard() -> None:
    assert name_output(Path("a/x-{shard}.jsonl"), Shard(2, 16)) == Path("a/x-2-of-16.jsonl")
    assert name_output(Path("a/x.jsonl"), Shard(2, 16)) == Path("a/x.jsonl")
    assert name_output(Path("{shard}"), None) == Path("{shard}")
    assert name_output(None, Shard(2, 16)) is None
