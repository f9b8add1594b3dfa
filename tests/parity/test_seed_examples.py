"""The documentation's examples, as a user pastes them: only the import of the model and processor is changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import transformers

from tests.clips import CLIPS, SHARED, needs_clips
from tests.hub_server import HubServer

IMAGENET = '"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]'
PROCESSOR = f'{{"do_resize": true, "size": 224, "resample": 2, {IMAGENET}}}'.encode()  # as the hub's files have it

CONFIGURATION = """
from videomae_cli import VideoMAEConfig, VideoMAEModel

# Initializing a VideoMAE videomae-base style configuration
configuration = VideoMAEConfig()

# Randomly initializing a model from the configuration
model = VideoMAEModel(configuration)

# Accessing the model configuration
configuration = model.config
print(configuration.hidden_size, configuration.num_hidden_layers, sum(p.numel() for p in model.parameters()))
"""

SDPA = """
import torch
from videomae_cli import VideoMAEForVideoClassification
model = VideoMAEForVideoClassification.from_pretrained(
    "MCG-NJU/videomae-base-finetuned-kinetics", attn_implementation="sdpa", torch_dtype=torch.float16
)
print(model.dtype, model.config.num_labels)
"""

READ_VIDEO = '''
np.random.seed(0)


def read_video_pyav(container, indices):
    """
    Decode the video with PyAV decoder.
    """
    frames = []
    container.seek(0)
    start_index = indices[0]
    end_index = indices[-1]
    for i, frame in enumerate(container.decode(video=0)):
        if i > end_index:
            break
        if i >= start_index and i in indices:
            frames.append(frame)
    return np.stack([x.to_ndarray(format="rgb24") for x in frames])


def sample_frame_indices(clip_len, frame_sample_rate, seg_len):
    """
    Sample a given number of frame indices from the video.
    """
    converted_len = int(clip_len * frame_sample_rate)
    end_idx = np.random.randint(converted_len, seg_len)
    start_idx = end_idx - converted_len
    indices = np.linspace(start_idx, end_idx, num=clip_len)
    indices = np.clip(indices, start_idx, end_idx - 1).astype(np.int64)
    return indices


# video clip consists of 300 frames (10 seconds at 30 FPS)
file_path = hf_hub_download(
    repo_id="nielsr/video-demo", filename="eating_spaghetti.mp4", repo_type="dataset"
)
container = av.open(file_path)

# sample 16 frames
indices = sample_frame_indices(clip_len=16, frame_sample_rate=1, seg_len=container.streams.video[0].frames)
video = read_video_pyav(container, indices)
'''

ENCODER = f"""
import av
import numpy as np

from videomae_cli import VideoMAEImageProcessor as AutoImageProcessor, VideoMAEModel
from huggingface_hub import hf_hub_download
{READ_VIDEO}
image_processor = AutoImageProcessor.from_pretrained("MCG-NJU/videomae-base")
model = VideoMAEModel.from_pretrained("MCG-NJU/videomae-base")

# prepare video for the model
inputs = image_processor(list(video), return_tensors="pt")

# forward pass
outputs = model(**inputs)
last_hidden_states = outputs.last_hidden_state
print(list(last_hidden_states.shape))
"""

PRETRAINING = """
from videomae_cli import VideoMAEImageProcessor as AutoImageProcessor, VideoMAEForPreTraining
import numpy as np
import torch

num_frames = 16
video = list(np.random.randint(0, 256, (num_frames, 3, 224, 224)))

image_processor = AutoImageProcessor.from_pretrained("MCG-NJU/videomae-base")
model = VideoMAEForPreTraining.from_pretrained("MCG-NJU/videomae-base")

pixel_values = image_processor(video, return_tensors="pt").pixel_values

num_patches_per_frame = (model.config.image_size // model.config.patch_size) ** 2
seq_length = (num_frames // model.config.tubelet_size) * num_patches_per_frame
bool_masked_pos = torch.randint(0, 2, (1, seq_length)).bool()

outputs = model(pixel_values, bool_masked_pos=bool_masked_pos)
loss = outputs.loss
print(list(loss.shape), bool(loss > 0))
"""

CLASSIFICATION = f"""
import av
import torch
import numpy as np

from videomae_cli import VideoMAEImageProcessor as AutoImageProcessor, VideoMAEForVideoClassification
from huggingface_hub import hf_hub_download
{READ_VIDEO}
image_processor = AutoImageProcessor.from_pretrained("MCG-NJU/videomae-base-finetuned-kinetics")
model = VideoMAEForVideoClassification.from_pretrained("MCG-NJU/videomae-base-finetuned-kinetics")

inputs = image_processor(list(video), return_tensors="pt")

with torch.no_grad():
    outputs = model(**inputs)
    logits = outputs.logits

# model predicts one of the 400 Kinetics-400 classes
predicted_label = logits.argmax(-1).item()
print(model.config.id2label[predicted_label])
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """The repositories that the examples name: base size with one block, random weights."""
    folder = tmp_path_factory.mktemp("repos")
    labels = dict(enumerate((SHARED / "labels" / "kinetics400.txt").read_text().splitlines()))
    depth = {"num_hidden_layers": 1, "decoder_num_hidden_layers": 1}
    base = transformers.VideoMAEConfig(**depth, use_mean_pooling=False)
    kinetics = transformers.VideoMAEConfig(**depth, id2label=labels, label2id={v: k for k, v in labels.items()})
    transformers.set_seed(0)
    transformers.VideoMAEForPreTraining(base).save_pretrained(folder / "base")
    classifier = transformers.VideoMAEForVideoClassification(kinetics)
    classifier.classifier.bias.data[[*labels.values()].index("eating spaghetti")] = 100.0
    classifier.save_pretrained(folder / "kinetics")
    with HubServer() as server:
        for name, repo in {"base": "videomae-base", "kinetics": "videomae-base-finetuned-kinetics"}.items():
            (folder / name / "preprocessor_config.json").write_bytes(PROCESSOR)
            server.add(f"MCG-NJU/{repo}", folder / name)
        video = {"eating_spaghetti.mp4": (CLIPS / "eating_spaghetti.mp4").read_bytes()}
        server.add("nielsr/video-demo", video, dataset=True)
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@needs_clips
@pytest.mark.parametrize(
    ("example", "printed"),
    [
        (CONFIGURATION, "768 12 86225664"),
        (SDPA, "torch.float16 400"),
        (ENCODER, "[1, 1568, 768]"),
        (PRETRAINING, "[] True"),
        (CLASSIFICATION, "eating spaghetti"),
    ],
    ids=["configuration", "sdpa", "encoder", "pretraining", "classification"],
)
def test_example(hub: HubServer, home: Path, example: str, printed: str) -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", example],
        env=hub.env(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"{printed}\n"
