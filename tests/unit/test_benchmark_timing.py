"""When warm-up ends, when a measurement ends, and who takes a turn when; with a clock that reads from a list."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

from videomae_cli.benchmark.timing import Effort, has_settled, measure, percentile


class Clock:
    """Runs a call, and pretends that it took the next of the times that are told for it."""

    def __init__(self, **times_ms: list[float]) -> None:
        self.log: list[str] = []
        self._times = {name: iter(times) for name, times in times_ms.items()}

    def contestant(self, name: str) -> Callable[[], str]:
        def call() -> str:
            self.log.append(name)
            return name

        return call

    def watch(self, call: Callable[[], object]) -> float:
        return next(self._times[str(call())])


def never() -> bool:
    return False


@pytest.mark.parametrize(
    ("times_ms", "settled"),
    [
        ([], False),
        ([10], False),
        ([10, 10, 10], False),  # nothing before the last three
        ([10, 10, 10, 10], True),
        ([100, 10, 10, 10], False),  # 90% down within the last three
        ([100, 10, 10, 10, 10], True),
        ([10, 9.9, 9.9, 9.9], True),  # 1% down
        ([10, 9.9, 9.9, 9.7], False),  # 3% down
        ([10, 12, 12, 12], True),  # slower is not falling
    ],
)
def test_times_have_settled_when_they_fall_no_further(times_ms: list[float], settled: bool) -> None:
    assert has_settled(times_ms) is settled


@pytest.mark.parametrize(
    ("times_ms", "warm"),
    [
        ([10] * 29, False),  # settled, but the clocks of a GPU are still rising
        ([10] * 30, True),
        ([400, 300], False),
        ([400, 200, 200, 200], False),
        ([400, 200, 200, 200, 200], True),
        ([3000], False),
        ([3000, 2500], True),  # falling still, and 5 s are spent
    ],
)
def test_warm_up_is_left_when_times_settle(times_ms: list[float], warm: bool) -> None:
    assert Effort().is_warm(times_ms) is warm
    assert Effort(num_warmup=len(times_ms) + 1).is_warm(times_ms) is False
    assert Effort(num_warmup=len(times_ms)).is_warm(times_ms) is True


@pytest.mark.parametrize(
    ("num_rounds", "spent_ms", "enough"),
    [(4, 60_000, False), (5, 9_999, False), (5, 10_000, True), (499, 100, False), (500, 100, True)],
)
def test_rounds_fill_ten_seconds(num_rounds: int, spent_ms: float, enough: bool) -> None:
    assert Effort().is_enough(num_rounds, spent_ms) is enough
    assert Effort(num_rounds=3).is_enough(num_rounds, 0) is True
    assert Effort(num_rounds=501).is_enough(num_rounds, 1e9) is False


def test_contestants_take_turns_every_second_round_backwards() -> None:
    clock = Clock(a=[9, 1, 2, 3], b=[9, 4, 5, 6])
    times = measure({name: clock.contestant(name) for name in "ab"}, clock.watch, Effort(1, 3), never)
    assert "".join(clock.log) == "ab" + "ab" + "ba" + "ab"
    assert (times["a"].warmup_ms, times["a"].samples_ms) == ([9], [1, 2, 3])
    assert (times["b"].warmup_ms, times["b"].samples_ms) == ([9], [4, 5, 6])


def test_each_contestant_warms_up_as_long_as_it_needs() -> None:
    falling, steady = [900.0, 800, 700, 600, 600, 600, 600], [200.0] * 4
    clock = Clock(a=falling + [2000.0] * 5, b=steady + [2000.0] * 5)
    times = measure({name: clock.contestant(name) for name in "ab"}, clock.watch, Effort(), never)
    assert times["a"].warmup_ms == falling
    assert times["b"].warmup_ms == steady
    assert len(times["a"].samples_ms) == len(times["b"].samples_ms) == 5


@pytest.mark.parametrize(
    ("num_calls", "warmup", "samples"),
    [(0, (0, 0), (0, 0)), (1, (1, 0), (0, 0)), (2, (1, 1), (0, 0)), (3, (1, 1), (1, 0)), (5, (1, 1), (1, 2))],
)
def test_an_interruption_keeps_what_was_measured(
    num_calls: int, warmup: tuple[int, int], samples: tuple[int, int]
) -> None:
    clock = Clock(a=[1.0] * 9, b=[1.0] * 9)
    contestants = {name: clock.contestant(name) for name in "ab"}
    times = measure(contestants, clock.watch, Effort(1, 4), lambda: len(clock.log) >= num_calls)
    assert (len(times["a"].warmup_ms), len(times["b"].warmup_ms)) == warmup
    assert (len(times["a"].samples_ms), len(times["b"].samples_ms)) == samples


def test_nobody_to_measure_is_no_endless_loop() -> None:
    assert measure({}, Clock().watch, Effort(), never) == {}


@pytest.mark.parametrize("was_on", [True, False])
def test_the_garbage_collector_is_off_meanwhile_and_then_as_before(was_on: bool) -> None:
    seen: list[bool] = []
    (gc.enable if was_on else gc.disable)()
    try:
        measure({"a": lambda: seen.append(gc.isenabled())}, lambda call: float(call() is None), Effort(1, 2), never)
        assert gc.isenabled() is was_on
    finally:
        gc.enable()
    assert seen == [False] * 3


def test_the_garbage_collector_is_on_again_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        measure({"a": lambda: 1 / 0}, lambda call: float(str(call())), Effort(), never)
    assert gc.isenabled()


@pytest.mark.parametrize("percent", [0, 5, 25, 50, 75, 95, 100])
@pytest.mark.parametrize("samples", [[3.0], [2.0, 1.0], [5.0, 1.0, 4.0, 2.0, 3.0], list(map(float, range(40)))])
def test_percentiles_are_those_of_numpy(samples: list[float], percent: float) -> None:
    assert percentile(samples, percent) == pytest.approx(float(np.percentile(samples, percent)))
