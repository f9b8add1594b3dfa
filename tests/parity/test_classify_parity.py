"""`videomae classify` on a real clip against transformers: same checkpoint, same 16 frames, same top 5."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.clips import CLIPS, SHARED, needs_clips
from tests.conftest import Ended
from videomae_cli import VideoClassifier

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def base_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VideoMAE-base with random weights and the Kinetics-400 labels, as the peer comparisons write it."""
    sys.path.insert(0, str(SHARED / "peers"))
    try:
        from common import hf_checkpoint

        return hf_checkpoint(tmp_path_factory.mktemp("peer"))
    finally:
        sys.path.remove(str(SHARED / "peers"))


@needs_clips
def test_the_top_5_of_a_real_clip_are_those_of_transformers(base_checkpoint: Path, videomae: Run) -> None:
    from transformers import VideoMAEForVideoClassification
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    clip = CLIPS / "eating_spaghetti.mp4"
    ended = videomae("classify", clip, "-m", base_checkpoint, "-f", "json")
    assert ended.code == 0
    (record,) = json.loads(ended.text)
    (indices,) = record["sampling"]["frames"]
    assert indices == list(range(118, 182, 4))

    with av.open(str(clip)) as container:
        frames = [f.to_ndarray(format="rgb24") for k, f in enumerate(container.decode(video=0)) if k in indices]
    pixel_values = VideoMAEImageProcessorPil.from_pretrained(base_checkpoint)(
        list(np.stack(frames)), return_tensors="pt"
    ).pixel_values
    model = VideoMAEForVideoClassification.from_pretrained(base_checkpoint, attn_implementation="eager").eval()
    with torch.inference_mode():
        logits = model(pixel_values).logits
    best = logits[0].softmax(-1).topk(5)
    assert [p["label"] for p in record["predictions"]] == [model.config.id2label[k] for k in best.indices.tolist()]
    assert [p["score"] for p in record["predictions"]] == pytest.approx(best.values.tolist(), abs=1e-3)

    ours = VideoClassifier.from_pretrained(base_checkpoint, device="cpu").logits(pixel_values)
    assert (ours - logits).abs().max() / logits.abs().max() < 1e-5  # base, 16 frames, the same pixels
