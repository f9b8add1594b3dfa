"""How much of a training step is spent waiting for data, with the recipe `small` on this machine.

    python scripts/data_wait.py

Makes 80 videos of 320x240 and 10 s (H.264, a keyframe every 250 frames), trains a few epochs of each kind by the real
command, and prints the median over steps of the waiting's share, the first row left out: workers start in it.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

NUM_VIDEOS, NUM_DISTINCT = 80, 8
SHORT = {"optim.epochs": 6, "optim.warmup_epochs": 1, "run.log_steps": 1, "run.validate_epochs": 6}


def write_video(path: Path, seed: int) -> None:
    """Smooth noise that drifts."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (30, 40, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"g": "250", "preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(300):
            moved = np.ascontiguousarray(np.roll(picture, (number, 2 * number), axis=(0, 1)))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        out.mux(stream.encode(None))


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        videos = Path(work, "videos")
        for label in ("even", "odd"):
            (videos / label).mkdir(parents=True)
        for number in range(NUM_VIDEOS):
            path = videos / ("even", "odd")[number % 2] / f"{number}.mp4"
            if number < NUM_DISTINCT:
                write_video(path, number)
            else:
                of = number % NUM_DISTINCT
                shutil.copy(videos / ("even", "odd")[of % 2] / f"{of}.mp4", path)
        for command in ("finetune", "pretrain"):
            out = Path(work, command)
            settings = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
            options = ["--config", "small", "--data", str(videos), "-o", str(out), "-q", *settings]
            subprocess.run([sys.executable, "-m", "videomae_cli", command, *options], check=True, capture_output=True)
            rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            shares = [row["data_wait"] for row in rows if "data_wait" in row][1:]
            found = {"median": round(statistics.median(shares), 4), "highest": round(max(shares), 4)}
            print(json.dumps({"command": command, "steps": len(shares), "data_wait": found}))


if __name__ == "__main__":
    main()
