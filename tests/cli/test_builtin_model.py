"""The model that is part of the package: no network, and labels that name what the camera does, seen from behind it.

The clips are rendered here, by numpy and PyAV alone: the package's own virtual camera, which the model learnt from,
has no part in them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.stream import VideoStream

from tests.conftest import Ended
from videomae_cli.errors import UsageError
from videomae_cli.weights.catalogue import BUILT_IN
from videomae_cli.weights.hub import locate

ROOT = Path(__file__).parents[2]
FPS, NUM_FRAMES, HEIGHT, WIDTH = 30, 64, 96, 128
SIDE = 512  # of a picture, in pixels; at zoom 1 it is seen pixel by pixel
LARGEST_BYTES = 8_000_000

Floats = npt.NDArray[np.float32]

# What the camera does by the end: how far it went to the right and down (in pixels), the logarithm of its zoom, and how
# far it turned clockwise (in radians). All for a movement of strength 1; the clips have others too.
MOVEMENTS = {
    "static": (0, 0, 0, 0),
    "pan left": (-48, 0, 0, 0),
    "pan right": (48, 0, 0, 0),
    "tilt up": (0, -48, 0, 0),
    "tilt down": (0, 48, 0, 0),
    "zoom in": (0, 0, 0.6, 0),
    "zoom out": (0, 0, -0.6, 0),
    "roll clockwise": (0, 0, 0, 0.8),
    "roll counter-clockwise": (0, 0, 0, -0.8),
    "handheld shake": (0, 0, 0, 0),
}
STRENGTHS = (0.7, 1.0, 1.4)


def draw_picture(seed: int) -> Floats:
    """Discs and boxes in many sizes and shades, each with a texture; (SIDE, SIDE, 3) levels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    picture = np.full((SIDE, SIDE, 3), rng.uniform(60, 190, 3), np.float32)
    for radius in np.geomspace(120, 6, 150):
        cy, cx = rng.uniform(0, SIDE, 2)
        top, left = max(0, int(cy - radius)), max(0, int(cx - radius))
        part = np.s_[top : int(cy + radius) + 1, left : int(cx + radius) + 1]
        dy, dx = y[part] - cy, x[part] - cx
        inside = (dy**2 + dx**2 < radius**2) if rng.random() < 0.5 else (abs(dy) < radius) & (abs(dx) < radius / 2)
        waves = np.sin(dx * rng.uniform(0.05, 0.5) + dy * rng.uniform(-0.5, 0.5)) * rng.uniform(0, 25)
        picture[part][inside] = (rng.uniform(10, 245, 3) + waves[..., None])[inside]
    soft = picture.copy()
    for axis in (0, 1):  # no edge is sharper than a pixel
        soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    return soft.clip(0, 255)


def look(picture: Floats, x: float, y: float, zoom: float, roll: float) -> Floats:
    """What a camera above the place (x, y), turned clockwise by `roll`, sees: (HEIGHT, WIDTH, 3) levels, bilinear."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    u, v = (u - (WIDTH - 1) / 2) / zoom, (v - (HEIGHT - 1) / 2) / zoom
    px, py = x + u * np.cos(roll) - v * np.sin(roll), y + u * np.sin(roll) + v * np.cos(roll)
    assert px.min() >= 0 and py.min() >= 0 and max(px.max(), py.max()) < SIDE - 1, "the camera sees beyond the picture"
    left, top = px.astype(int), py.astype(int)
    fx, fy = (px - left)[..., None], (py - top)[..., None]
    upper = picture[top, left] * (1 - fx) + picture[top, left + 1] * fx
    lower = picture[top + 1, left] * (1 - fx) + picture[top + 1, left + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, np.float32)


def shoot(picture: Floats, movement: str, strength: float, num_frames: int = NUM_FRAMES) -> list[Floats]:
    """The frames of a clip, from the middle of a picture."""
    right, down, log_zoom, roll = (strength * amount for amount in MOVEMENTS[movement])
    frames = []
    for time in np.linspace(0, 1, num_frames):
        way = time - 0.5
        x, y = SIDE / 2 + right * way, SIDE / 2 + down * way
        turn = roll * way
        if movement == "handheld shake":
            x += 4 * strength * np.sin(2 * np.pi * (3.1 * time)) + 2 * strength * np.sin(2 * np.pi * (5.3 * time + 0.2))
            y += 4 * strength * np.sin(2 * np.pi * (3.7 * time + 0.4)) + 2 * strength * np.sin(2 * np.pi * 4.9 * time)
            turn += 0.015 * strength * np.sin(2 * np.pi * (4.1 * time + 0.7))
        frames.append(look(picture, x, y, np.exp(0.25 + log_zoom * way), turn))
    return frames


def write_clip(path: Path, frames: list[Floats]) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23", "threads": "1"})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture.round().astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def place_of_dot(movement: str, time: int) -> npt.NDArray[np.float64]:
    """Where the first (0) or last (-1) frame shows a dot that lies 20 pixels to the right of the picture's middle."""
    picture = np.zeros((SIDE, SIDE, 3), np.float32)
    picture[SIDE // 2 - 1 : SIDE // 2 + 2, SIDE // 2 + 19 : SIDE // 2 + 22] = 255
    frame = shoot(picture, movement, 1.0, num_frames=2)[time][..., 0]
    return (np.argwhere(frame > 100) - [(HEIGHT - 1) / 2, (WIDTH - 1) / 2]).mean(axis=0)  # (down, right)


@pytest.mark.parametrize(
    ("movement", "is_so"),
    [
        ("pan left", lambda way, first, last: way[1] > 30 and abs(way[0]) < 1),  # the picture moves right
        ("pan right", lambda way, first, last: way[1] < -30 and abs(way[0]) < 1),
        ("tilt up", lambda way, first, last: way[0] > 30 and abs(way[1]) < 1),  # down
        ("tilt down", lambda way, first, last: way[0] < -30 and abs(way[1]) < 1),
        ("zoom in", lambda way, first, last: last[1] > 1.5 * first[1] > 0),  # it grows
        ("zoom out", lambda way, first, last: first[1] > 1.5 * last[1] > 0),
        ("roll clockwise", lambda way, first, last: way[0] < -10),  # what is on the right rises: counter-clockwise
        ("roll counter-clockwise", lambda way, first, last: way[0] > 10),
    ],
)
def test_the_clips_show_what_their_names_say(movement: str, is_so: Callable[..., bool]) -> None:
    first, last = place_of_dot(movement, 0), place_of_dot(movement, -1)
    assert is_so(last - first, first, last)


def test_thirty_clips_are_named_by_what_the_camera_does(videomae: Callable[..., Ended], tmp_path: Path) -> None:
    for number, strength in enumerate(STRENGTHS):
        for place, movement in enumerate(MOVEMENTS):
            picture = draw_picture(seed=10 * number + place)
            write_clip(tmp_path / f"{movement}-{number}.mp4", shoot(picture, movement, strength))
    ended = videomae("classify", tmp_path, "-m", BUILT_IN.name, "-f", "jsonl", "-k", "1", "-q")
    assert (ended.code, ended.err) == (0, "")
    records = [json.loads(line) for line in ended.text.splitlines()]
    named = {Path(record["path"]).stem: record["predictions"][0]["label"] for record in records}
    wrong = {clip: label for clip, label in named.items() if clip.rpartition("-")[0] != label}
    assert len(named) == 30
    assert len(wrong) <= 3, wrong
    assert {clip.rpartition("-")[0] for clip in named.keys() - wrong.keys()} == set(MOVEMENTS), wrong


def test_the_demo_clips_are_named_rightly_without_a_network(tmp_path: Path) -> None:
    """With a hub that is not there and an empty home; huggingface_hub is not even imported."""
    code = "import sys; from videomae_cli.cli.app import app; from videomae_cli.cli.boundary import run; "
    code += "code = run(app, sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    command = [sys.executable, "-c", code, "classify", "demo", "-m", BUILT_IN.name, "-f", "jsonl", "-q"]
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "huggingface_hub" not in done.stderr.split()
    assert list(tmp_path.iterdir()) == []
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) >= 2
    for record in records:
        assert record["predictions"][0]["label"].replace(" ", "-") == Path(record["path"]).stem
        assert record["warnings"] == []


def test_what_is_shipped_is_small() -> None:
    assert BUILT_IN.folder is not None
    names = {path.name for path in BUILT_IN.folder.iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"} <= names
    assert sum(path.stat().st_size for path in BUILT_IN.folder.iterdir()) <= LARGEST_BYTES
    clips = list((ROOT / "demo").iterdir())
    assert 2 <= len(clips) <= 3
    assert sum(path.stat().st_size for path in clips) < 500_000


def test_a_folder_of_that_name_wins_as_with_all_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside = locate(BUILT_IN.name, offline=True)
    assert inside.config is not None and inside.config.is_relative_to(ROOT / "videomae_cli")
    folder = tmp_path / BUILT_IN.name
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert locate(BUILT_IN.name, need=()).config == Path(BUILT_IN.name, "config.json")


def test_it_has_no_revisions() -> None:
    with pytest.raises(UsageError, match="only hub models have revisions"):
        locate(BUILT_IN.name, revision="v1")
