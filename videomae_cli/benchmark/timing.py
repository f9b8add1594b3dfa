"""How often to time what: warm up until times settle, then let the contestants take turns. Plain arithmetic, no torch.

The clock is an argument (`Watch`), so that the rules can be tested without waiting.
"""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

Watch = Callable[[Callable[[], object]], float]
"""Runs a call to its end and tells how long it took, in ms."""

Name = TypeVar("Name", bound=Hashable)

SETTLED_CALLS = 3
SETTLED_FALL = 0.02
MIN_WARMUP_MS = 300.0  # clocks of a GPU take about this long to rise
MAX_WARMUP_MS = 5_000.0
MIN_ROUNDS = 5
MAX_ROUNDS = 500
ROUNDS_MS = 10_000.0


@dataclass(frozen=True)
class Effort:
    """How much to warm up and to measure.

    Attributes:
        num_warmup: calls of each contestant that are not counted; None warms up until times settle (`is_warm`).
        num_rounds: turns of each contestant; None fills a span of time (`is_enough`).
    """

    num_warmup: int | None = None
    num_rounds: int | None = None

    def is_warm(self, times_ms: Sequence[float]) -> bool:
        """Whether a contestant that took these times needs no more warm-up.

        Left to us, that is when the last three calls made its fastest time no more than 2% faster, after 0.3 s at least
        and 5 s at most.
        """
        if self.num_warmup is not None:
            return len(times_ms) >= self.num_warmup
        spent_ms = sum(times_ms)
        return spent_ms >= MAX_WARMUP_MS or (spent_ms >= MIN_WARMUP_MS and has_settled(times_ms))

    def is_enough(self, num_rounds: int, spent_ms: float) -> bool:
        """Whether no further round is needed: left to us, after 10 s, but 5 rounds at least and 500 at most."""
        if self.num_rounds is not None:
            return num_rounds >= self.num_rounds
        return num_rounds >= MAX_ROUNDS or (num_rounds >= MIN_ROUNDS and spent_ms >= ROUNDS_MS)


@dataclass
class Times:
    """What one contestant took.

    Attributes:
        warmup_ms: the calls that do not count.
        samples_ms: those that do, in order.
    """

    warmup_ms: list[float] = field(default_factory=list)
    samples_ms: list[float] = field(default_factory=list)


def has_settled(times_ms: Sequence[float]) -> bool:
    """Whether the last `SETTLED_CALLS` calls were not faster, by more than `SETTLED_FALL`, than all before them."""
    before, last = times_ms[:-SETTLED_CALLS], times_ms[-SETTLED_CALLS:]
    return bool(before) and min(last) >= (1 - SETTLED_FALL) * min(before)


def measure(
    contestants: Mapping[Name, Callable[[], object]], watch: Watch, effort: Effort, stop: Callable[[], bool]
) -> dict[Name, Times]:
    """Warm up each contestant, then time them in turns, so that what disturbs the machine disturbs all of them.

    Every second round goes backwards: nobody always runs behind the same neighbour. The garbage collector is off.

    Args:
        contestants: what to time, by name.
        watch: the clock.
        effort: how often.
        stop: asked before every call; once true, what has been measured is returned.

    Returns:
        The times of each contestant; no samples where `stop` came first.
    """
    times = {name: Times() for name in contestants}
    if not contestants:
        return times
    with _garbage_collection_off():
        for name, call in contestants.items():
            while not effort.is_warm(times[name].warmup_ms) and not stop():
                times[name].warmup_ms.append(watch(call))
        spent_ms = 0.0
        for number in itertools.count():
            if effort.is_enough(number, spent_ms):
                break
            for name in list(contestants)[:: -1 if number % 2 else 1]:
                if stop():
                    return times
                elapsed_ms = watch(contestants[name])
                times[name].samples_ms.append(elapsed_ms)
                spent_ms += elapsed_ms
    return times


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the samples lie, interpolated linearly as by `numpy.percentile`.

    Args:
        samples: at least one, in any order.
        percent: 0 to 100.
    """
    ordered = sorted(samples)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
