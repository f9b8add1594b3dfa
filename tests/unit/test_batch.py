"""classify_files: what shares a forward pass changes no record; failures stay with their file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from tests.models import small_model
from tests.videos import write_video
from videomae_cli import VideoClassifier, VideoMAEImageProcessor
from videomae_cli.errors import MachineError
from videomae_cli.inference.batch import classify_files
from videomae_cli.inference.look import Look
from videomae_cli.inference.records import Failure, Prediction, Record

KNOWN = Failure("known", "unreadable", "it was known before")
Forward = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of several lengths, so that no two look alike to the model."""
    folder = tmp_path_factory.mktemp("videos")
    return [str(write_video(folder / f"{k}.mp4", 6 + 3 * k)) for k in range(7)]


@pytest.fixture
def classifier() -> VideoClassifier:
    """32 px and 4 frames: 8 tokens a view."""
    model = small_model("VideoMAEForVideoClassification", num_labels=7)
    size = {"height": 32, "width": 32}
    return VideoClassifier(model, VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size=size), "abcdefg")


def watched(classifier: VideoClassifier, rule: Callable[[Tensor], object] = lambda clips: None) -> list[int]:
    """Put `rule` before the forward pass; the list fills with the numbers of views in the passes that came through."""
    sizes: list[int] = []
    forward: Forward = classifier.forward

    def call(clips: Tensor) -> Tensor:
        rule(clips)
        sizes.append(len(clips))
        return forward(clips)

    classifier.forward = call  # type: ignore[misc]
    return sizes


def classify(classifier: VideoClassifier, items: list[str | Failure], look: Look, *, forked: bool) -> list[Record]:
    if forked:
        if sys.platform != "linux":
            pytest.skip("processes are forked on Linux only")
        from videomae_cli.inference.decode_processes import DecodeProcesses
        from videomae_cli.inference.decode_worker import serve
    with DecodeProcesses(serve) if forked else nullcontext() as processes:
        return list(classify_files(classifier, items, look, processes=processes))


@pytest.mark.parametrize("views", [(1, 1), (2, 3)])
@pytest.mark.parametrize("forked", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_workers_and_batches_change_nothing(
    views: tuple[int, int], forked: bool, ordered: bool, videos: list[str], classifier: VideoClassifier
) -> None:
    """To the last bit, and the records keep the order of the inputs unless they need not."""
    items = [*videos[:3], KNOWN, *videos[3:], "missing.mp4"]
    alone = classify(classifier, items, Look(views=views, batch_size=1, num_workers=1), forked=False)
    assert [record.path for record in alone] == [*videos[:3], "known", *videos[3:], "missing.mp4"]
    assert [record.status for record in alone] == ["ok"] * 3 + ["error"] + ["ok"] * 4 + ["error"]
    look = Look(views=views, batch_size=8, num_workers=2, ordered=ordered)
    together = classify(classifier, items, look, forked=forked)
    by_path = {record.path: record for record in together}
    assert [by_path[record.path] for record in alone] == alone
    assert not ordered or together == alone
    assert all(isinstance(record, Failure) or len(record.predictions) == 5 for record in together)


def test_views_of_several_videos_share_a_pass(videos: list[str], classifier: VideoClassifier) -> None:
    """Six views each, four to a pass: 42 views are eleven passes, and no view is lost."""
    sizes = watched(classifier)
    classify(classifier, [*videos], Look(views=(2, 3), batch_size=4), forked=False)
    assert (sum(sizes), max(sizes)) == (42, 4)


@pytest.mark.parametrize("limit", [3, 1])
def test_out_of_memory_halves_the_batch(limit: int, videos: list[str], classifier: VideoClassifier) -> None:
    look = Look(views=(2, 3), batch_size=6)
    expected = classify(classifier, [*videos], look, forked=False)

    def rule(clips: Tensor) -> None:
        if len(clips) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    sizes = watched(classifier, rule)
    assert classify(classifier, [*videos], look, forked=False) == expected
    assert (sum(sizes), set(sizes)) == (42, {limit})


def test_out_of_memory_with_a_single_view_ends_the_run(videos: list[str], classifier: VideoClassifier) -> None:
    """What was known before has been told."""

    def rule(clips: Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    watched(classifier, rule)
    found: list[Record] = []
    with pytest.raises(MachineError, match="out of memory"):
        for record in classify_files(classifier, [KNOWN, *videos], Look(batch_size=8)):
            found.append(record)
    assert found == [KNOWN]


def spoil_one(classifier: VideoClassifier, path: str, spoil: Callable[[Tensor], object]) -> None:
    """Let `spoil` have the pixel values of every pass that holds the view of this video."""
    target = classifier.processor.finish(classifier.preparer()(path).pixels)[0]

    def rule(clips: Tensor) -> None:
        for clip in clips:
            if torch.equal(clip, target):
                spoil(clip)

    watched(classifier, rule)


def test_57_what_is_not_finite_is_one_file_of_a_batch(videos: list[str], classifier: VideoClassifier) -> None:
    expected = classify(classifier, [*videos], Look(), forked=False)
    spoil_one(classifier, videos[2], lambda clip: clip.fill_(float("nan")))
    found = classify(classifier, [*videos], Look(batch_size=8), forked=False)
    assert isinstance(found[2], Failure)
    assert found[2].kind == "non_finite"
    assert found[:2] + found[3:] == expected[:2] + expected[3:]


def test_a_bug_with_one_file_is_its_record(videos: list[str], classifier: VideoClassifier) -> None:
    def spoil(clip: Tensor) -> None:
        raise ZeroDivisionError

    expected = classify(classifier, [*videos], Look(), forked=False)
    spoil_one(classifier, videos[4], spoil)
    found = classify(classifier, [*videos], Look(batch_size=8), forked=False)
    assert isinstance(found[4], Failure)
    assert found[4].kind == "internal"
    assert isinstance(found[4].cause, ZeroDivisionError)
    assert found[:4] + found[5:] == expected[:4] + expected[5:]


def test_a_halt_leaves_the_rest(videos: list[str], classifier: VideoClassifier) -> None:
    """ "drain" finishes what is begun; "now" does not even that, but tells what it knows."""
    wishes = iter(["", ""])
    items = videos * 20
    drained = list(classify_files(classifier, items, Look(batch_size=1), halt=lambda: next(wishes, "drain")))
    assert [record.path for record in drained] == items[: len(drained)]
    assert 1 <= len(drained) <= 5
    wishes = iter(["", ""])
    stopped = list(classify_files(classifier, items, Look(batch_size=1), halt=lambda: next(wishes, "now")))
    assert len(stopped) <= 2
    assert all(isinstance(record, Prediction) for record in drained + stopped)


def test_a_pass_has_the_precision_that_its_caller_asks_for(videos: list[str], classifier: VideoClassifier) -> None:
    """Validation while training runs under autocast, which belongs to a thread."""
    seen = []
    watched(classifier, lambda clips: seen.append(torch.is_autocast_enabled("cpu")))
    with torch.autocast("cpu", torch.bfloat16):
        assert len(list(classify_files(classifier, videos[:2], Look()))) == 2
    assert set(seen) == {True}


def test_a_wish_to_stop_after_a_bug_keeps_what_is_known(videos: list[str], classifier: VideoClassifier) -> None:
    """The shared pass fails, and then each video is looked at alone, until the wish comes after the second."""
    sizes = watched(classifier, lambda clips: 1 // (len(clips) == 1))
    found = list(classify_files(classifier, videos, Look(batch_size=7), halt=lambda: "now" if len(sizes) >= 2 else ""))
    assert [(type(record), record.path) for record in found] == [(Prediction, path) for path in videos[:2]]
