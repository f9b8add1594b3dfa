"""The lines at the end of a run."""

from __future__ import annotations

from tests.unit.test_formats import BAD, GOOD
from videomae_cli.inference.records import Failure, Prediction, ScoredLabel
from videomae_cli.inference.times import Times
from videomae_cli.report.summary import Summary


def labelled(name: str, count: int) -> list[Prediction]:
    return [Prediction(f"{name}{k}.mp4", (ScoredLabel(name, 0, 0.5),), GOOD.sampling, GOOD.video) for k in range(count)]


def summary_of(*records: Prediction | Failure, num_skipped: int = 0) -> Summary:
    summary = Summary(num_skipped)
    for record in records:
        summary.add(record)
    return summary


def test_what_failed_and_what_was_skipped() -> None:
    summary = summary_of(GOOD, BAD, BAD, Failure("c.mp4", "empty", "x"), num_skipped=7)
    assert (summary.num_done, summary.num_failed) == (4, 3)
    assert summary.render(2.0) == ["1 classified, 3 failed (2 no_video, 1 empty), 7 skipped, 2.0 s, 2 clips/s"]


def test_nothing_done() -> None:
    assert Summary().render(0.0, bars=True) == ["0 classified, 0 failed, 0.0 s"]


def test_where_the_time_went() -> None:
    lines = summary_of(GOOD, GOOD).render(10.0, Times(12.34, 0.96, 5.0, 0.01))
    assert lines == [
        "2 classified, 0 failed, 10.0 s, 0.2 clips/s",
        "time: decode 12.3 s, preprocess 1.0 s, forward 5.0 s, wait 0.0 s",
    ]


def test_labels_as_bars() -> None:
    lines = summary_of(*labelled("surfing", 2), *labelled("a\x1b[31m", 1), *labelled("running", 10)).render(
        1, bars=True
    )
    assert lines[1:] == [
        "10  ━━━━━━━━━━━━━━━━━━━━  running",
        " 2  ━━━━                  surfing",
        " 1  ━━                    a\\x1b[31m",
    ]


def test_labels_in_a_line() -> None:
    records = [record for k in range(12) for record in labelled(f"label {k}", 20 - k)]
    assert summary_of(*records).render(1)[1] == "labels: 20 label 0, 19 label 1, 18 label 2 and 9 more"
    assert len(summary_of(*records).render(1, bars=True)) == 1 + 10
