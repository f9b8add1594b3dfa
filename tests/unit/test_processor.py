"""The processor by itself: options, forms of input and output, files. Pixels against transformers: tests/parity."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videomae_cli import VideoMAEFeatureExtractor, VideoMAEImageProcessor
from videomae_cli.errors import ModelError, UsageError, VideoError

RAW = {"do_resize": False, "do_center_crop": False, "do_rescale": False, "do_normalize": False}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_by_hand() -> None:
    # 2x4 levels; shortest edge 2 keeps them; the centre 2x2 stays; (x / 255 - 0.5) / 0.25
    frame = np.array([[[9], [0], [255], [9]], [[9], [51], [102], [9]]], dtype=np.uint8)
    processor = VideoMAEImageProcessor(size=2, crop_size=2, image_mean=0.5, image_std=0.25)
    pixels = processor(frame, input_data_format="channels_last", return_tensors="pt").pixel_values
    assert pixels.shape == (1, 1, 1, 2, 2)
    assert torch.allclose(pixels.flatten(), torch.tensor([-2.0, 2.0, -1.2, -0.4]))


def test_defaults_are_those_of_the_class_in_transformers() -> None:
    assert VideoMAEImageProcessor().to_dict() == {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 2,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"shortest_edge": 30}, (30, 47)),  # 30 * 101 / 64 = 47.3, truncated
        (30, (30, 47)),
        ({"height": 20, "width": 50}, (20, 50)),
        ([20, 50], (20, 50)),
    ],
)
def test_spellings_of_size(size: Any, expected: tuple[int, int]) -> None:
    pixels = VideoMAEImageProcessor(size=size, do_center_crop=False)(
        noise(64, 101, 3), return_tensors="np"
    ).pixel_values
    assert pixels.shape == (1, 1, 3, *expected)


# --- forms of input and output


@pytest.mark.parametrize(
    ("shape", "input_data_format", "expected"),
    [
        ((8, 9, 3), None, (1, 1, 3, 8, 9)),
        ((3, 8, 9), None, (1, 1, 3, 8, 9)),
        ((5, 8, 9, 3), None, (1, 5, 3, 8, 9)),
        ((2, 5, 3, 8, 9), None, (2, 5, 3, 8, 9)),
        ((8, 9), None, (1, 1, 1, 8, 9)),
        ((8, 9), "none", (1, 1, 1, 8, 9)),
        ((5, 8, 9), "none", (1, 5, 1, 8, 9)),
        ((2, 5, 8, 9), "none", (2, 5, 1, 8, 9)),
        ((8, 9, 6), "channels_last", (1, 1, 6, 8, 9)),
        ((5, 7, 8, 9), "channels_first", (1, 5, 7, 8, 9)),
        ((3, 9, 3), None, (1, 1, 3, 9, 3)),
        ((3, 9, 3), "channels_last", (1, 1, 3, 3, 9)),
    ],
)
def test_shapes(shape: tuple[int, ...], input_data_format: str | None, expected: tuple[int, ...]) -> None:
    frames = noise(*shape)
    processor = VideoMAEImageProcessor(**RAW)
    as_array = processor(frames, input_data_format=input_data_format, return_tensors="pt").pixel_values
    assert as_array.shape == expected
    if len(shape) > 3:
        as_list = processor(list(frames), input_data_format=input_data_format, return_tensors="pt").pixel_values
        assert torch.equal(as_list, as_array)


def test_channels_of_the_result() -> None:
    video = noise(2, 8, 9, 3)
    processor = VideoMAEImageProcessor(**RAW)
    for data_format in ("channels_last", None):  # None: as the input has them
        assert np.array_equal(processor(video, data_format=data_format, return_tensors="np").pixel_values[0], video)
    first = processor(video.transpose(0, 3, 1, 2), data_format=None, return_tensors="np").pixel_values
    assert np.array_equal(first[0], video.transpose(0, 3, 1, 2))


def test_the_input_is_left_alone() -> None:
    for frames in (torch.rand(2, 3, 8, 9), torch.from_numpy(noise(2, 8, 9, 3))):
        before = frames.clone()
        VideoMAEImageProcessor(do_resize=False, do_center_crop=False)(frames, return_tensors="pt").pixel_values.zero_()
        VideoMAEImageProcessor(**RAW)(frames, return_tensors="pt").pixel_values.zero_()
        assert torch.equal(frames, before)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float16, np.float32, np.float64, ">i4"])
def test_whole_numbers_of_any_type_are_levels(dtype: Any) -> None:
    frames = noise(2, 20, 30, 3)
    processor = VideoMAEImageProcessor(size=16, crop_size=16)
    expected = processor(frames, return_tensors="pt").pixel_values
    assert torch.equal(processor(frames.astype(dtype), return_tensors="pt").pixel_values, expected)


def test_read_only_frames_give_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    frames = noise(2, 20, 30, 3)
    frames.flags.writeable = False
    assert VideoMAEImageProcessor(size=16, crop_size=16).crops(frames).shape == (1, 2, 3, 16, 16)
    assert not recwarn.list


def test_pillow_images_of_any_mode_and_no_import_without_them() -> None:
    image = pytest.importorskip("PIL.Image").fromarray(noise(20, 30, 3))
    processor = VideoMAEImageProcessor(size=16, crop_size=16)
    expected = processor(np.asarray(image), return_tensors="pt").pixel_values
    assert torch.equal(processor(image, return_tensors="pt").pixel_values, expected)
    assert torch.equal(processor([image.convert("RGBA")], return_tensors="pt").pixel_values, expected)
    script = (
        "import sys, numpy; from videomae_cli import VideoMAEImageProcessor as P;"
        "P()(numpy.zeros((9, 9, 3), 'uint8')); sys.exit('PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_batch_feature() -> None:
    batch = VideoMAEImageProcessor()(noise(1, 9, 9, 3), return_tensors="pt")
    assert batch.pixel_values is batch["pixel_values"]
    assert {**batch}.keys() == {"pixel_values"}
    assert batch.to(torch.float16) is batch
    assert batch.pixel_values.dtype == torch.float16
    assert pickle.loads(pickle.dumps(batch)).keys() == batch.keys()
    with pytest.raises(AttributeError, match="labels"):
        _ = batch.labels


@pytest.mark.parametrize(("kind", "package"), [("jax", "jax"), ("tf", "tensorflow")])
def test_arrays_of_other_packages(kind: str, package: str) -> None:
    def call() -> Any:
        return VideoMAEImageProcessor()(noise(1, 9, 9, 3), return_tensors=kind).pixel_values

    if find_spec(package):
        assert call().shape == (1, 1, 3, 224, 224)
        assert type(call()).__module__.startswith(package)
    else:
        with pytest.raises(UsageError, match=f"needs {package}"):
            call()


# --- crops


def test_one_crop_is_what_a_call_gives() -> None:
    frames = noise(3, 90, 160, 3)
    for processor in (
        VideoMAEImageProcessor(),
        VideoMAEImageProcessor(**RAW),
        VideoMAEImageProcessor(resample="lanczos"),
    ):
        crops = processor.crops(frames)
        assert torch.equal(crops, processor(list(frames), return_tensors="pt").pixel_values)
        assert torch.equal(crops, processor(frames, return_tensors="pt").pixel_values)
        assert crops.is_contiguous()


@pytest.mark.parametrize("turned", [False, True])
def test_several_crops_lie_along_the_longer_side(turned: bool) -> None:
    position = np.broadcast_to(np.arange(0, 200, 2, dtype=np.uint8)[:, None], (40, 100, 1))  # level 2x at column x
    frames = np.repeat(position.transpose(1, 0, 2) if turned else position, 3, axis=-1)[None]
    processor = VideoMAEImageProcessor(do_resize=False, crop_size=40, do_rescale=False, do_normalize=False)
    crops = processor.crops(frames, num_crops=3)
    assert crops.shape == (3, 1, 3, 40, 40)
    assert crops[:, 0, 0, 0, 0].tolist() == [0, 60, 120]
    assert torch.equal(crops[1], processor.crops(frames)[0])


def test_several_crops_need_cropping() -> None:
    with pytest.raises(UsageError, match="do_center_crop"):
        VideoMAEImageProcessor(do_center_crop=False).crops(noise(1, 9, 9, 3), num_crops=3)


# --- files


def write(folder: Path, content: Any) -> Path:
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return folder


def test_a_published_file(tmp_path: Path) -> None:
    published = {
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "VideoMAEFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 2,
        "size": 224,
    }
    processor = VideoMAEImageProcessor.from_pretrained(write(tmp_path, published))
    assert processor.size == {"shortest_edge": 224}
    assert processor.crop_size == {"height": 224, "width": 224}
    assert (processor.image_mean, processor.image_std) == (published["image_mean"], published["image_std"])
    assert "feature_extractor_type" not in processor.to_dict()


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert VideoMAEImageProcessor.from_pretrained(tmp_path).to_dict() == VideoMAEImageProcessor().to_dict()


def test_round_trip_keeps_unknown_keys(tmp_path: Path) -> None:
    processor = VideoMAEImageProcessor(size=96, image_mean=0.4, resample="nearest", processor_class=None, note=[1])
    processor.save_pretrained(tmp_path / "a")
    again = VideoMAEImageProcessor.from_pretrained(tmp_path / "a")
    assert again.to_dict() == processor.to_dict()
    assert again.extra == {"processor_class": None, "note": [1]}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "edge": ({"size": {"shortest_edge": 0}}, "size is {'shortest_edge': 0}"),
    "key of size": ({"size": {"longest_edge": 224}}, "size is {'longest_edge': 224}"),
    "size": ({"size": "224"}, "size is '224'"),
    "boolean size": ({"size": True}, "size is True"),
    "crop_size": ({"crop_size": {"shortest_edge": 224}}, "crop_size is"),
    "enormous": ({"crop_size": 10**9}, "crop_size is"),
    "resample": ({"resample": 6}, "resample is 6"),
    "name of resample": ({"resample": "cubic"}, "resample is 'cubic'"),
    "flag": ({"do_resize": "yes"}, "do_resize is 'yes'"),
    "factor": ({"rescale_factor": "1/255"}, "rescale_factor is '1/255'"),
    "mean": ({"image_mean": [0.5, None, 0.5]}, "image_mean is None"),
    "std": ({"image_std": [0.2, 0.0, 0.2]}, "image_std is"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_values(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message.replace("{", r"\{")):
        VideoMAEImageProcessor(**options)
    with pytest.raises(UsageError):
        VideoMAEImageProcessor()(noise(9, 9, 3), **options)
    with pytest.raises(ModelError, match=r"preprocessor_config\.json: ") as caught:
        VideoMAEImageProcessor.from_pretrained(write(tmp_path, options))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("videos", "options", "message"),
    [
        ([], {}, "no frame"),
        ([[]], {}, "no frame"),
        (["clip.mp4"], {}, "of type str"),
        (np.array(["a"]), {}, "of type <U1"),
        (noise(9, 9, 5), {}, r"shape \(9, 9, 5\)"),
        (noise(0, 9, 3), {}, r"shape \(0, 9, 3\)"),
        (noise(9), {"input_data_format": "channels_last"}, r"shape \(9,\)"),
        (np.full((9, 9, 3), 256), {}, "from 256 to 256"),
        (np.full((9, 9, 3), -0.5), {}, "from -0.5 to -0.5"),
        (np.full((9, 9, 3), np.nan), {}, "from nan to nan"),
        (noise(9, 9, 1), {}, "image_mean has 3 values, the frames have 1 channels"),
        (
            [noise(2, 9, 9, 3), noise(3, 9, 9, 3)],
            {"return_tensors": "pt"},
            r"\(2, 3, 224, 224\) and \(3, 3, 224, 224\)",
        ),
        ([noise(9, 9, 3), noise(9, 8, 3)], {"do_center_crop": False}, r"\(3, 224, 224\) and \(3, 252, 224\)"),
        (noise(9, 9, 3), {"return_tensors": "torch"}, "return_tensors is 'torch'"),
        (noise(9, 9, 3), {"data_format": "none"}, "data_format is 'none'"),
        (noise(9, 9, 3), {"input_data_format": "last"}, "input_data_format is 'last'"),
    ],
)
def test_refused(videos: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VideoMAEImageProcessor()(videos, **options)


def test_a_strip_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(VideoError, match="8192x1 would be resized to 1835008x224") as caught:
        VideoMAEImageProcessor().crops(noise(1, 1, 8192, 3))
    assert caught.value.kind == "too_large"


def test_feature_extractor_is_the_processor_with_a_warning(tmp_path: Path) -> None:
    frames = noise(2, 30, 40, 3)
    with pytest.warns(FutureWarning, match="VideoMAEImageProcessor"):
        extractor = VideoMAEFeatureExtractor(size=96)
    expected = VideoMAEImageProcessor(size=96)(list(frames), return_tensors="pt").pixel_values
    assert torch.equal(extractor(images=list(frames), return_tensors="pt").pixel_values, expected)
    assert torch.equal(extractor.preprocess(videos=list(frames), return_tensors="pt").pixel_values, expected)
    extractor.save_pretrained(tmp_path)
    with pytest.warns(FutureWarning):
        assert isinstance(VideoMAEFeatureExtractor.from_pretrained(tmp_path), VideoMAEFeatureExtractor)


def test_a_checkpoint_without_a_processor_file_says_what_is_assumed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "original.pth").write_bytes(b"x")
    theirs = VideoMAEImageProcessor.from_pretrained(tmp_path)
    assert (theirs.image_mean, theirs.image_std) == ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    assert "0.5" in theirs.load_warnings[0]
    (tmp_path / "config.json").unlink()  # an original checkpoint has none
    original = VideoMAEImageProcessor.from_pretrained(tmp_path / "original.pth")
    assert (original.image_mean, original.image_std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert "ImageNet" in original.load_warnings[0]
    original.save_pretrained(tmp_path)
    assert VideoMAEImageProcessor.from_pretrained(tmp_path).load_warnings == ()
