"""`--shard`: which part of the inputs this run takes, so that many machines share them and need not talk."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UsageError

_HINT = "Write --shard I/N, such as 1/4: the first of four."


@dataclass(frozen=True)
class Shard:
    """One of several parts of the inputs.

    Attributes:
        number: from 1.
        count: how many there are.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def file_part(self) -> str:
        """Its name as part of a file's name, such as "1-of-4"."""
        return f"{self.number}-of-{self.count}"

    def holds(self, path: str) -> bool:
        """Whether an input is in this part: a matter of its name alone, the same on every machine and in every run.

        Args:
            path: as it was named.
        """
        digest = hashlib.blake2b(os.fsencode(path), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """`"1/4"` -> the first of four; `"auto"` -> what the job scheduler says.

    Args:
        text: of --shard.
        environment: variables of the process.

    Raises:
        UsageError: it is neither, or the scheduler says nothing, or contradictory things.
    """
    if text == "auto":
        return _from_scheduler(environment)
    match = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", text.strip(), re.ASCII)
    if not match or int(match[1]) > int(match[2]):
        raise UsageError(f"--shard is {text!r}", f"{_HINT} Or auto, under Slurm, Kubernetes or torchrun.")
    return Shard(int(match[1]), int(match[2]))


def _from_scheduler(environment: Mapping[str, str]) -> Shard:
    found = {
        "Slurm": _slurm(environment),
        "Kubernetes": _kubernetes(environment),
        "torchrun": _pair(environment, "RANK", "WORLD_SIZE"),
    }
    told = {name: shard for name, shard in found.items() if shard}
    several = {name: shard for name, shard in told.items() if shard.count > 1} or told  # one of one says little
    if not several:
        raise UsageError(
            "--shard auto: neither Slurm, Kubernetes nor torchrun started this process",
            f"{_HINT} For auto, one of SLURM_ARRAY_TASK_ID, SLURM_PROCID, JOB_COMPLETION_INDEX and RANK is set.",
        )
    if len(set(several.values())) > 1:
        claims = ", ".join(f"{name} says {shard}" for name, shard in several.items())
        raise UsageError(f"--shard auto is ambiguous: {claims}", _HINT)
    return next(iter(several.values()))


def _slurm(environment: Mapping[str, str]) -> Shard | None:
    """The task of a job array, times the task of a step that srun started in it."""
    step_size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    in_array = _slurm_array(environment)
    if in_array is None:
        return _pair(environment, "SLURM_PROCID", step_size)
    # A batch script has SLURM_PROCID 0 and the job's SLURM_NTASKS too: only in a step do they count processes.
    in_step = _pair(environment, "SLURM_PROCID", step_size) if step_size == "SLURM_STEP_NUM_TASKS" else None
    if in_step is None:
        return in_array
    return Shard((in_array.number - 1) * in_step.count + in_step.number, in_array.count * in_step.count)


def _slurm_array(environment: Mapping[str, str]) -> Shard | None:
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    task = _number(environment, "SLURM_ARRAY_TASK_ID")
    count = _number(environment, "SLURM_ARRAY_TASK_COUNT")
    first = _number(environment, "SLURM_ARRAY_TASK_MIN") if "SLURM_ARRAY_TASK_MIN" in environment else 0
    step = _number(environment, "SLURM_ARRAY_TASK_STEP") if "SLURM_ARRAY_TASK_STEP" in environment else 1
    last = environment.get("SLURM_ARRAY_TASK_MAX", str(first + (count - 1) * step))
    if step < 1 or last != str(first + (count - 1) * step):
        raise UsageError("--shard auto: the numbers of the Slurm array have gaps", "Use --array=1-N, or --shard I/N.")
    return _shard("SLURM_ARRAY_TASK_ID", (task - first) // step, count)


def _kubernetes(environment: Mapping[str, str]) -> Shard | None:
    if "JOB_COMPLETION_INDEX" not in environment:
        return None
    if "VIDEOMAE_NUM_SHARDS" not in environment:
        raise UsageError(
            "--shard auto: JOB_COMPLETION_INDEX is set, but Kubernetes does not tell how many there are",
            "Set VIDEOMAE_NUM_SHARDS to the job's .spec.completions.",
        )
    return _pair(environment, "JOB_COMPLETION_INDEX", "VIDEOMAE_NUM_SHARDS")


def _pair(environment: Mapping[str, str], index_name: str, count_name: str) -> Shard | None:
    """From a variable that counts from 0, and one that says how many; None unless both are set."""
    if index_name not in environment or count_name not in environment:
        return None
    return _shard(index_name, _number(environment, index_name), _number(environment, count_name))


def _shard(name: str, index: int, count: int) -> Shard:
    if not 0 <= index < count:
        raise UsageError(f"--shard auto: {name} makes this number {index + 1} of {count}", _HINT)
    return Shard(index + 1, count)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise UsageError(f"--shard auto: {name} is {text!r}", f"It must be a number. {_HINT}")
    return int(text)
