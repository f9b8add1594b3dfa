"""VideoClassifier: which frames reach the model, how views become scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.videos import frame_numbers, write_video
from videomae_cli import VideoClassifier, VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor
from videomae_cli.errors import ModelError, UsageError
from videomae_cli.inference.classifier import to_scores
from videomae_cli.inference.prepare import PreparedVideo


@pytest.fixture(scope="module")
def classifier(checkpoint: Path) -> VideoClassifier:
    return VideoClassifier.from_pretrained(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mkv", 130, width=160, height=120)


def pixel_values(classifier: VideoClassifier, prepared: PreparedVideo) -> torch.Tensor:
    assert prepared.pixels.dtype == torch.uint8
    return classifier.processor.finish(prepared.pixels)


@pytest.mark.parametrize(
    ("views", "stride", "segments"),
    [
        ((1, 1), None, [range(33, 97, 4)]),
        ((1, 1), 2, [range(49, 81, 2)]),
        ((3, 1), None, [range(0, 64, 4), range(33, 97, 4), range(66, 130, 4)]),
        ((1, 1), 8, [range(1, 129, 8)]),
    ],
)
def test_the_model_sees_the_frames_that_the_record_names(
    views: tuple[int, int], stride: int | None, segments: list[range], classifier: VideoClassifier, video: Path
) -> None:
    prepared = classifier.preparer(views=views, stride=stride)(video)
    assert prepared.sampling.frames == tuple(tuple(segment) for segment in segments)
    seen = pixel_values(classifier, prepared).permute(0, 1, 3, 4, 2).numpy()  # (V, T, H, W, C)
    assert [frame_numbers(view) for view in seen] == [list(segment) for segment in segments]


def test_spatial_views_lie_along_the_longer_side(classifier: VideoClassifier, video: Path) -> None:
    left, centre, right = classifier.preparer(views=(1, 3))(video).pixels
    (only,) = classifier.preparer()(video).pixels
    assert torch.equal(centre, only)
    assert not torch.equal(left, centre)
    assert not torch.equal(right, centre)


def test_logits_are_those_of_the_model(classifier: VideoClassifier, video: Path) -> None:
    prepared = classifier.preparer()(video)
    with torch.inference_mode():
        expected = classifier.model(pixel_values(classifier, prepared)).logits
    logits = classifier.logits_of_pixels(prepared.pixels)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    assert logits.shape == (1, 10)


def test_scores_are_the_mean_of_the_views_probabilities(classifier: VideoClassifier, video: Path) -> None:
    prepared = classifier.preparer(views=(2, 3))(video)
    expected = classifier.logits_of_pixels(prepared.pixels).softmax(-1).mean(0)
    prediction = classifier.classify(video, top_k=10, views=(2, 3))
    assert {p.index: p.score for p in prediction.predictions} == pytest.approx(dict(enumerate(expected.tolist())))
    assert prediction.label == classifier.labels[int(expected.argmax())]
    assert prediction.score == prediction.predictions[0].score


def test_one_classifier_serves_a_prediction_by_default_of_five_labels(classifier: VideoClassifier, video: Path) -> None:
    prediction = classifier.classify(str(video))
    assert len(prediction.predictions) == 5
    assert prediction.path == str(video)


@pytest.mark.parametrize(
    ("problem_type", "num_labels", "expected"),
    [
        (None, 2, [[0.5, 0.5], [0.9525741, 0.0474259]]),
        ("single_label_classification", 2, [[0.5, 0.5], [0.9525741, 0.0474259]]),
        ("multi_label_classification", 2, [[0.5, 0.5], [0.9525741, 0.5]]),
        ("regression", 2, [[0.0, 0.0], [3.0, 0.0]]),
        (None, 1, [[0.0, 0.0], [3.0, 0.0]]),
    ],
)
def test_scores_by_the_kind_of_problem(problem_type, num_labels: int, expected: list[list[float]]) -> None:
    config = VideoMAEConfig(num_labels=num_labels, problem_type=problem_type)
    scores = to_scores(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), config)
    assert scores.tolist() == [pytest.approx(row, abs=1e-6) for row in expected]


def test_something_something_checkpoints_look_at_equal_segments(video: Path) -> None:
    config = VideoMAEConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=174
    )
    classifier = VideoClassifier(
        VideoMAEForVideoClassification(config), VideoMAEImageProcessor(), [str(k) for k in range(174)]
    )
    assert classifier.preparer()(video).sampling.frames == (tuple(int(130 / 16 * (k + 0.5)) for k in range(16)),)
    assert classifier.preparer()(video).sampling.stride is None
    assert classifier.preparer(stride=4)(video).sampling.frames == (tuple(range(33, 97, 4)),)


def test_eight_frame_checkpoints_are_given_eight_frames(video: Path) -> None:
    config = VideoMAEConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=3, num_frames=8
    )
    classifier = VideoClassifier(VideoMAEForVideoClassification(config), VideoMAEImageProcessor(), "abc")
    assert classifier.preparer()(video).sampling.frames == (tuple(range(49, 81, 4)),)
    assert len(classifier.classify(video).predictions) == 3


@pytest.mark.parametrize("views", [(0, 1), (1, 0), (-1, 1)])
def test_views_must_be_positive(views: tuple[int, int], classifier: VideoClassifier, video: Path) -> None:
    with pytest.raises(UsageError):
        classifier.classify(video, views=views)


def test_top_k_must_be_positive(classifier: VideoClassifier, video: Path) -> None:
    with pytest.raises(UsageError):
        classifier.classify(video, top_k=0)


def test_a_checkpoint_that_does_not_take_rgb_is_refused(tmp_path: Path) -> None:
    config = VideoMAEConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=3, num_channels=4
    )
    VideoMAEForVideoClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="4 channels"):
        VideoClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("told", "frames"),
    [
        ({"kind": "dense", "stride": 2}, range(49, 81, 2)),
        ({"kind": "dense", "stride": 8}, range(1, 129, 8)),
        ({"kind": "segments", "stride": 4}, [130 * (2 * k + 1) // 32 for k in range(16)]),
    ],
)
def test_frames_are_chosen_as_the_processor_file_says(
    told: dict[str, object], frames: list[int], classifier: VideoClassifier, video: Path, tmp_path: Path
) -> None:
    """What `finetune` writes; transformers passes over it."""
    classifier.model.save_pretrained(tmp_path)
    VideoMAEImageProcessor(frame_sampling=told).save_pretrained(tmp_path)
    trained = VideoClassifier.from_pretrained(tmp_path, device="cpu")
    assert trained.preparer()(video).sampling.frames == (tuple(frames),)
    assert trained.preparer(stride=4)(video).sampling.frames == (tuple(range(33, 97, 4)),)


@pytest.mark.parametrize(
    "told", ["dense", {}, {"kind": "dense"}, {"kind": "x", "stride": 4}, {"kind": "dense", "stride": 0}]
)
def test_a_sampling_that_cannot_be_is_refused(told: object, classifier: VideoClassifier, tmp_path: Path) -> None:
    classifier.model.save_pretrained(tmp_path)
    VideoMAEImageProcessor(frame_sampling=told).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="frame_sampling is"):
        VideoClassifier.from_pretrained(tmp_path, device="cpu")
