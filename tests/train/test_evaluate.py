"""Evaluation: what is counted, and that nothing is counted for something else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.videos import write_text, write_video
from videomae_cli import VideoClassifier, read_frames
from videomae_cli.data.manifest import Manifest, Sample, read_manifest
from videomae_cli.errors import UsageError
from videomae_cli.inference.records import Failure, Prediction, Record, SampledFrames, ScoredLabel
from videomae_cli.train.evaluate import ClassAccuracy, evaluate, merge
from videomae_cli.video.picture_file import encode_png
from videomae_cli.video.reader import VideoInfo
from videomae_cli.video.sampling import segment_indices

LABELS = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def classifier(checkpoint: Path) -> VideoClassifier:
    return VideoClassifier.from_pretrained(checkpoint, device="cpu")


def said(path: str, best: str) -> Prediction:
    """A prediction of some labels, the best first."""
    scored = tuple(ScoredLabel(label, LABELS.index(label), 0.5**k) for k, label in enumerate(best, start=1))
    video = VideoInfo(30, 30.0, 1.0, 64, 48, "h264", 0)
    return Prediction(path, scored, SampledFrames("1x1", 4, ((0, 4),)), video)


def manifest_of(classes: dict[str, str], labels: tuple[str, ...] = LABELS) -> Manifest:
    samples = (Sample(path, labels.index(label), "list.csv:1") for path, label in classes.items())
    return Manifest(tuple(samples), labels)


VIDEOS = manifest_of({"x/1.mp4": "a", "y/1.mp4": "a", "x/2.mp4": "b", "x/3.mp4": "c", "x/4.mp4": "f"})
SAID: list[Record] = [
    said("x/1.mp4", "abcde"),
    said("y/1.mp4", "cedba"),  # wrong, and right among five
    said("x/2.mp4", "bacde"),
    Failure("x/3.mp4", "empty", "'x/3.mp4' is empty"),
    said("x/4.mp4", "abcde"),  # not even among five
]


def test_what_is_counted() -> None:
    found = merge(VIDEOS, SAID)
    assert (found.num_videos, found.num_failed) == (5, 1)
    assert (found.top1, found.top5) == (2 / 5, 3 / 5)
    assert found.per_class == (("a", 2, 0.5), ("b", 1, 1.0), ("c", 1, 0.0), ("f", 1, 0.0))
    assert found.mean_class == (0.5 + 1 + 0 + 0) / 4
    assert found.confusion == [
        [1, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
    ]
    assert found.records == tuple(SAID)
    assert [found.labels[truth] for truth in found.truths] == ["a", "a", "b", "c", "f"]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_records_come_changes_nothing(seed: int) -> None:
    shuffled = random.Random(seed).sample(SAID, len(SAID))
    assert merge(VIDEOS, shuffled) == merge(VIDEOS, SAID)


def test_names_alike_in_two_folders_are_two_videos() -> None:
    videos = manifest_of({"x/1.mp4": "a", "y/1.mp4": "b"})
    swapped = merge(videos, [said("y/1.mp4", "ab"), said("x/1.mp4", "ba")])
    straight = merge(videos, [said("y/1.mp4", "ba"), said("x/1.mp4", "ab")])
    assert (swapped.top1, straight.top1) == (0.0, 1.0)


def test_with_fewer_than_five_classes_all_of_them_are_the_best_five() -> None:
    labels = ("a", "b", "c")
    videos = manifest_of({"1": "c", "2": "b"}, labels)
    found = merge(videos, [said("1", "abc"), said("2", "abc")])
    assert (found.top1, found.top5) == (0.0, 1.0)
    assert found.per_class == (ClassAccuracy("b", 1, 0.0), ClassAccuracy("c", 1, 0.0))


def test_a_video_that_cannot_be_read_is_a_failure_and_no_other_takes_its_place(
    classifier: VideoClassifier, tmp_path: Path
) -> None:
    for name in ("class 3", "class 7"):
        write_video(tmp_path / name / "clip.mp4", 30)
    write_text(tmp_path / "class 7" / "broken.mp4")
    manifest = read_manifest(str(tmp_path), labels=classifier.labels)
    told: list[Record] = []
    found = evaluate(classifier, manifest, progress=told.append)
    assert (found.num_videos, found.num_failed) == (3, 1)
    assert [record.path for record in found.records] == [sample.path for sample in manifest.samples]
    assert [record.status for record in found.records] == ["ok", "error", "ok"]
    assert sum(map(sum, found.confusion)) == 2
    assert tuple(told) == found.records
    assert found == evaluate(classifier, manifest)
    whole = classifier.classify(tmp_path / "class 3" / "clip.mp4")
    assert found.records[0] == whole


def test_views_stride_and_sampling_reach_the_videos(classifier: VideoClassifier, tmp_path: Path) -> None:
    write_video(tmp_path / "class 0" / "clip.mp4", 50)
    manifest = read_manifest(str(tmp_path), labels=classifier.labels)

    def frames(**how: object) -> tuple[tuple[int, ...], ...]:
        (record,) = evaluate(classifier, manifest, **how).records  # type: ignore[arg-type]
        assert isinstance(record, Prediction)
        return record.sampling.frames

    assert frames(stride=2, views=(2, 3)) == (tuple(range(0, 32, 2)), tuple(range(18, 50, 2)))
    assert frames(stride=2, sampling="segments") == tuple(map(tuple, segment_indices(50)))
    assert frames(stride=3, sampling="dense") == (tuple(range(1, 49, 3)),)


def test_a_folder_of_pictures_is_a_video(classifier: VideoClassifier, tmp_path: Path) -> None:
    video = write_video(tmp_path / "class 0" / "clip.mp4", 20)
    frames = tmp_path / "class 1" / "frames"
    frames.mkdir(parents=True)
    for number, picture in enumerate(read_frames(video, range(20)).frames):
        (frames / f"{number}.png").write_bytes(encode_png(picture))
    manifest = read_manifest(str(tmp_path), labels=classifier.labels)
    of_video, of_frames = evaluate(classifier, manifest).records
    assert isinstance(of_video, Prediction)
    assert isinstance(of_frames, Prediction)
    assert of_frames.path == str(frames)
    assert of_frames.predictions == of_video.predictions
    assert of_frames.sampling == of_video.sampling


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (("class 0", "jump"), r"2 classes, the model of 10: the model does not know 'jump'"),
        (tuple(f"class {k}" for k in reversed(range(10))), "the order is another"),
    ],
)
def test_other_classes_than_the_models_are_refused(
    labels: tuple[str, ...], named: str, classifier: VideoClassifier
) -> None:
    with pytest.raises(UsageError, match=named):
        evaluate(classifier, manifest_of({"missing.mp4": labels[0]}, labels))


def test_no_video_is_refused(classifier: VideoClassifier) -> None:
    with pytest.raises(UsageError, match="no video"):
        evaluate(classifier, Manifest((), classifier.labels))
