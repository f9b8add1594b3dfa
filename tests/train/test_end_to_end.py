"""From videos to a classifier by the command line, with and without pretraining: what is learnt is motion.

The videos are those of tests/motion.py: four classes, and no single frame tells which.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from tests.conftest import Ended
from tests.motion import DIRECTIONS, motion_frames, write_motions
from videomae_cli import VideoClassifier, read_frames

Run = Callable[..., Ended]

MODEL = """
model: {image_size: 32, patch_size: 8, num_frames: 8, hidden_size: 64, num_hidden_layers: 3, num_attention_heads: 2,
  intermediate_size: 256, decoder_hidden_size: 64, decoder_num_hidden_layers: 1, decoder_num_attention_heads: 2,
  decoder_intermediate_size: 256, drop_path: 0.0}
data: {stride: 1}
"""
PRETRAIN = f"""{MODEL}
mask: {{ratio: 0.75, target: raw, scales: [1.0]}}
optim: {{lr: 1.6e-2, min_lr: 8e-5, batch_size: 32, micro_batch: 32, epochs: 25, warmup_epochs: 2}}
run: {{checkpoint_epochs: 25, validate_epochs: 25, device: cpu}}
"""  # 400 steps
FINETUNE = f"""{MODEL}
views: 1x1
augment: {{area: [1.0, 1.0], aspect: [1.0, 1.0], flip: 0.0, rand_augment: null, erasing: 0.0, mixup: 0.0, cutmix: 0.0}}
optim: {{lr: 1.2e-2, min_lr: 8e-5, batch_size: 32, micro_batch: 32, epochs: 8, warmup_epochs: 1, layer_decay: 1.0}}
run: {{checkpoint_epochs: 8, validate_epochs: 8, device: cpu}}
"""  # 128 steps


def test_videos_differ_in_motion_alone() -> None:
    """Each begins with the same picture in all classes, and goes on with another."""
    for seed in range(3):
        videos = [motion_frames(direction, seed) for direction in DIRECTIONS]
        assert all(np.array_equal(video[0], videos[0][0]) for video in videos)
        lasts = [video[-1].astype(int) for video in videos]
        assert all(np.abs(a - b).max() > 40 for k, a in enumerate(lasts) for b in lasts[:k])


def test_from_videos_to_a_classifier(tmp_path: Path, videomae: Run) -> None:
    """About a minute: one test, since `pytest -n` would train once for each."""
    training = write_motions(tmp_path / "training", range(128))
    validation = write_motions(tmp_path / "validation", range(1000, 1040))  # 160 that are never trained on
    stills = write_motions(tmp_path / "stills", range(1000, 1040), still=True)
    (tmp_path / "pretrain.yaml").write_text(PRETRAIN)
    (tmp_path / "finetune.yaml").write_text(FINETUNE)

    def train(command: str, name: str, *more: str | Path) -> Path:
        config, out = tmp_path / f"{command}.yaml", tmp_path / name
        ended = videomae(command, "-q", "--config", config, "--data", training, "-o", out, *more)
        assert ended.code == 0, ended.err
        return out

    pretrained = train("pretrain", "pretrained")
    tuned = train("finetune", "tuned", "--init", pretrained, "--validation", validation)
    alone = train("finetune", "alone", "--validation", validation)

    accuracies = {
        "pretrained": top1(videomae, tuned, validation),
        "random": top1(videomae, alone, validation),
        "pretrained, on still frames": top1(videomae, tuned, stills),
    }
    assert accuracies["pretrained"] >= 0.95
    assert accuracies["random"] >= 0.95
    assert accuracies["pretrained, on still frames"] <= 0.4  # chance is 1/4; 0.4 is 4 deviations of 160 draws above

    records = read_lines(tuned / "records.jsonl")
    right = [record for record in records if label(record) == record["label"]]
    clips = [Path(next(record["path"] for record in right if record["label"] == d)) for d in DIRECTIONS]
    ended = videomae("classify", "-q", *clips, "-m", tuned, "--device", "cpu", "-f", "jsonl")
    assert [label(json.loads(line)) for line in ended.text.splitlines()] == list(DIRECTIONS)
    assert_transformers_agrees(tuned, clips)
    print(accuracies)  # last: each command takes what was printed before it


def top1(videomae: Run, model: Path, videos: Path) -> float:
    """What `videomae evaluate` finds."""
    ended = videomae("evaluate", "-q", "-m", model, "--data", videos, "--device", "cpu", "-f", "json")
    assert ended.code == 0, ended.err
    return float(json.loads(ended.text)["top1"])


def label(record: dict[str, Any]) -> str:
    return str(record["predictions"][0]["label"])


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_transformers_agrees(folder: Path, clips: Sequence[Path]) -> None:
    """It loads the folder as it is, and prepares and classifies the same frames the same way."""
    processor = VideoMAEImageProcessorPil.from_pretrained(folder)
    theirs = transformers.VideoMAEForVideoClassification.from_pretrained(folder, attn_implementation="eager").eval()
    ours = VideoClassifier.from_pretrained(folder, device="cpu")
    assert theirs.config.id2label == dict(enumerate(sorted(DIRECTIONS)))
    for clip in clips:
        prepared = ours.preparer()(clip)
        (indices,) = prepared.sampling.frames
        pixel_values = processor(list(read_frames(clip, indices).frames), return_tensors="pt").pixel_values
        assert (pixel_values - ours.processor.finish(prepared.pixels)).abs().max() < 1e-5
        with torch.inference_mode():
            logits = theirs(pixel_values).logits
        assert (ours.logits_of_pixels(prepared.pixels) - logits).abs().max() < 1e-4
