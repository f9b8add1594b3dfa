"""Make the clips in demo/: pictures that the project draws itself, filmed by its own virtual camera.

    python scripts/demo_clips.py [FOLDER]

The same versions of the packages give the same bytes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from videomae_cli.data.camera_film import film
from videomae_cli.data.camera_recording import write_video
from videomae_cli.data.procedural_pictures import procedural_picture

# A movement, and the seed of the picture, the path and the flaws of the recording: some that look good.
CLIPS = {"pan left": 0, "zoom in": 6, "roll clockwise": 4}
PICTURE_PX = 1024
NUM_FRAMES, FPS = 64, 30  # as long as the default sampling looks at
HEIGHT_PX, WIDTH_PX = 240, 320
QUALITY = 0.6


def make(folder: Path) -> None:
    """Write the clips into a folder; those of the same name are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for movement, seed in CLIPS.items():
        rng = np.random.default_rng(seed)
        picture = procedural_picture(rng, PICTURE_PX)
        frames = film(picture, movement, rng, num_frames=NUM_FRAMES, height_px=HEIGHT_PX, width_px=WIDTH_PX, least=0.5)
        path = folder / f"{movement.replace(' ', '-')}.mp4"
        unfinished = path.with_name(f".{path.name}")
        write_video(unfinished, frames, "libx264", quality=QUALITY, fps=FPS)
        os.replace(unfinished, path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "demo")
