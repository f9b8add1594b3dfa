"""Against transformers' Pillow-backed processor and Pillow itself: pixels within one level of 255."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoImageProcessor
from transformers.image_utils import ChannelDimension, PILImageResampling
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from videomae_cli import VideoMAEImageProcessor
from videomae_cli.video.resize import RESAMPLE_NAMES, resize

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def frames_of(height: int, width: int, num_frames: int = 2, seed: int = 0) -> np.ndarray:
    """Noise with smooth and saturated parts, (T, H, W, 3) uint8."""
    noise = np.random.default_rng(seed).normal(128, 90, (num_frames, height, width, 3))
    return np.clip(noise + np.linspace(-80, 80, width)[:, None], 0, 255).astype(np.uint8)


def levels(pixels: Any, options: dict[str, Any]) -> np.ndarray:
    """Undo rescaling and normalisation, (B, T, C, h, w) -> levels of 255."""
    merged = VideoMAEImageProcessor(**options)
    pixels = np.asarray(pixels, dtype=np.float64)
    if merged.do_normalize:
        mean, std = (np.reshape(v, (-1, 1, 1)) for v in (merged.image_mean, merged.image_std))
        pixels = pixels * std + mean
    return pixels / merged.rescale_factor if merged.do_rescale else pixels


def assert_within_a_level(frames: Any, options: dict[str, Any], **call: Any) -> None:
    ours = VideoMAEImageProcessor(**options)(frames, return_tensors="np", **call).pixel_values
    theirs = VideoMAEImageProcessorPil(**options)(frames, return_tensors="np", **call).pixel_values
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert np.abs(levels(ours, options) - levels(theirs, options)).max() <= 1.001


@pytest.mark.parametrize(
    ("height", "width"),
    [(720, 1280), (360, 640), (640, 360), (224, 224), (224, 300), (225, 227), (240, 320), (99, 57), (5, 7), (500, 16)],
)
def test_sizes(height: int, width: int) -> None:
    assert_within_a_level(list(frames_of(height, width)), IMAGENET)


OPTIONS: dict[str, dict[str, Any]] = {
    "mean and std of 0.5": {},
    "bare size, as published": {"size": 160, "crop_size": 128},
    "shortest edge": {"size": {"shortest_edge": 100}, "crop_size": {"height": 100, "width": 100}},
    "stretched": {"size": {"height": 60, "width": 200}, "crop_size": {"height": 60, "width": 200}},
    "size as a pair": {"size": [64, 48], "crop_size": [64, 48]},
    "crop of another shape": {"crop_size": {"height": 64, "width": 192}},
    "odd crop of an even frame": {"size": 100, "crop_size": 63},
    "even margin": {"size": 100, "crop_size": 200},
    "odd margin": {"size": 101, "crop_size": 226},
    "margin at the sides, crop at the top": {"size": {"height": 90, "width": 50}, "crop_size": 71},
    "no resize": {"do_resize": False},
    "no resize, margin": {"do_resize": False, "crop_size": 325},
    "no crop": {"do_center_crop": False},
    "no rescale": {"do_rescale": False},
    "other factor": {"rescale_factor": 1 / 127.5},
    "no normalisation": {"do_normalize": False},
    "neither": {"do_rescale": False, "do_normalize": False},
    "one mean for all": {"image_mean": 0.4, "image_std": 0.3},
    "nothing": {"do_resize": False, "do_center_crop": False, "do_rescale": False, "do_normalize": False},
    "Pillow enumeration": {"resample": PILImageResampling.BICUBIC},
} | {f"resample {number}": {"resample": number} for number in range(6)}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options(options: dict[str, Any]) -> None:
    frames = list(frames_of(180, 323))
    assert_within_a_level(frames, options)
    own = VideoMAEImageProcessor(**options)(frames, return_tensors="np").pixel_values
    per_call = VideoMAEImageProcessor()(frames, return_tensors="np", **options).pixel_values
    assert np.array_equal(own, per_call)


def test_float_error_is_all_that_differs_without_a_resize() -> None:
    frames = list(frames_of(224, 224))
    ours = VideoMAEImageProcessor(**IMAGENET)(frames, return_tensors="np").pixel_values
    theirs = VideoMAEImageProcessorPil(**IMAGENET)(frames, return_tensors="np").pixel_values
    assert np.abs(ours - theirs).max() < 1e-6


def inputs() -> dict[str, Any]:
    frames = frames_of(60, 90, num_frames=4)
    first = np.moveaxis(frames, -1, 1)
    return {
        "one frame": frames[0],
        "4-D": frames,
        "4-D, channels first": first,
        "list": list(frames),
        "batch of lists": [list(frames[:2]), list(frames[2:])],
        "batch of 4-D": [frames[:2], frames[2:]],
        "tensors": list(torch.from_numpy(frames)),
        "4-D tensor": torch.from_numpy(first.copy()),
        "Pillow": [PIL.Image.fromarray(frame) for frame in frames],
        "one Pillow image": PIL.Image.fromarray(frames[0]),
        "batch of Pillow": [[PIL.Image.fromarray(frame)] for frame in frames],
        "frames of several sizes": [frames[0], frames[1, :50], frames[2, :, :70]],
        "int64, as in the documentation": list(np.random.default_rng(0).integers(0, 256, (4, 3, 60, 90))),
        "whole floats": list(frames.astype(np.float32)),
        "reversed rows": frames[:, ::-1],
    }


@pytest.mark.parametrize("name", inputs())
def test_inputs(name: str) -> None:
    assert_within_a_level(inputs()[name], {"size": 44, "crop_size": 44} | IMAGENET)


def test_fractions() -> None:
    options = {"size": 44, "crop_size": 44, "do_rescale": False}
    frames = list(frames_of(60, 90).astype(np.float32) / 255)
    ours = VideoMAEImageProcessor(**options)(frames, return_tensors="np").pixel_values
    theirs = VideoMAEImageProcessorPil(**options)(frames, return_tensors="np").pixel_values
    assert np.abs(ours - theirs).max() * 0.5 * 255 <= 1.001


def test_other_channels() -> None:
    frames = list(frames_of(60, 90)[..., :1])
    options = {"size": 44, "crop_size": 44, "image_mean": [0.5], "image_std": [0.5]}
    assert_within_a_level(frames, options)
    assert_within_a_level(frames, options, input_data_format=ChannelDimension.LAST)
    assert_within_a_level([PIL.Image.fromarray(frame[..., 0]) for frame in frames], options)


def test_lists_of_arrays_when_no_tensors_are_asked_for() -> None:
    frames = list(frames_of(60, 90, num_frames=3))
    ours = VideoMAEImageProcessor()(frames).pixel_values
    theirs = VideoMAEImageProcessorPil()(frames).pixel_values
    assert [[frame.shape for frame in video] for video in ours] == [[f.shape for f in video] for video in theirs]
    assert type(ours[0][0]) is type(theirs[0][0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    resample=st.integers(0, len(RESAMPLE_NAMES) - 1),
    source=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    target=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    num_channels=st.sampled_from([1, 3]),
)
@example(RESAMPLE_NAMES.index("bicubic"), (120, 20), (50, 30), 3)  # Pillow takes the vertical pass first
@example(RESAMPLE_NAMES.index("nearest"), (83, 386), (70, 9), 3)  # ties, decided by Pillow's rounding
@example(RESAMPLE_NAMES.index("bilinear"), (11, 30), (1, 1), 3)
def test_every_filter(resample: int, source: tuple[int, int], target: tuple[int, int], num_channels: int) -> None:
    frame = frames_of(*source, num_frames=1)[0, ..., :num_channels]
    pillow = PIL.Image.fromarray(frame.squeeze(-1) if num_channels == 1 else frame)
    theirs = np.array(pillow.resize(target[::-1], resample)).reshape(*target, num_channels)
    ours = resize(torch.from_numpy(frame.copy()).movedim(-1, 0)[None], *target, resample)[0].movedim(0, -1).numpy()
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    # bilinear is torch's; the last bit of a sine or cosine may tell in hamming and lanczos
    assert difference.max() <= {"bilinear": 2, "hamming": 1, "lanczos": 1}.get(RESAMPLE_NAMES[resample], 0)


def test_ratios_of_small_numbers_make_ties() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (280, 400, 3), dtype=np.uint8)
    theirs = np.array(PIL.Image.fromarray(frame).resize((320, 224), PIL.Image.Resampling.BILINEAR))
    ours = resize(torch.from_numpy(frame).movedim(-1, 0)[None], 224, 320)[0].movedim(0, -1).numpy()
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-4


def test_files_cross_both_ways(tmp_path: Path) -> None:
    options: dict[str, Any] = {"size": {"shortest_edge": 100}, "crop_size": 96, "resample": 3, "do_normalize": False}
    frames = list(frames_of(120, 150))
    VideoMAEImageProcessor(**options, **IMAGENET).save_pretrained(tmp_path / "ours")
    VideoMAEImageProcessorPil(**options, **IMAGENET).save_pretrained(tmp_path / "theirs")
    assert json.loads((tmp_path / "ours/preprocessor_config.json").read_text()) == json.loads(
        (tmp_path / "theirs/preprocessor_config.json").read_text()
    )
    reference = VideoMAEImageProcessor(**options, **IMAGENET)(frames, return_tensors="np").pixel_values
    read_back = VideoMAEImageProcessor.from_pretrained(tmp_path / "theirs")(frames, return_tensors="np").pixel_values
    assert np.array_equal(read_back, reference)
    auto = AutoImageProcessor.from_pretrained(tmp_path / "ours", use_fast=False, backend="pil")
    assert isinstance(auto, VideoMAEImageProcessorPil)
    assert auto.to_dict() == VideoMAEImageProcessorPil.from_pretrained(tmp_path / "theirs").to_dict()
