"""What the measuring scripts work on: short clips, hostile files among them, and a checkpoint of random weights.

Encoding thousands of clips takes longer than classifying them: some 150 different ones are encoded, once, and each has
many names (hard links), which are many files for a command that is given the folder.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import videos

NUM_DIFFERENT = 150
MIN_SECONDS, MAX_SECONDS, FPS = 2.2, 5.0, 30  # 16 frames, every 4th one, span 64 frames: they are in the shortest
KINDS = (  # encoder, suffix of the file
    *(("libx264", suffix) for suffix in (".mp4", ".mkv", ".mov", ".ts", ".flv")),
    *(("libx265", suffix) for suffix in (".mp4", ".mkv")),
    *(("mpeg4", suffix) for suffix in (".avi", ".mp4")),
    *(("libvpx", ".webm"), ("libvpx-vp9", ".webm"), ("libvpx-vp9", ".mkv")),
    *(("mjpeg", suffix) for suffix in (".avi", ".mov")),
    ("libsvtav1", ".mkv"),
)
SIZES_PX = ((160, 120), (320, 240), (320, 180), (240, 320), (426, 240), (640, 360), (640, 480), (1280, 720))
GOPS = (12, 30, 250)
LARGEST_OF_SLOW_PX = 320 * 240  # AV1 is cheap to encode up to here


def random_model(folder: Path) -> Path:
    """A checkpoint of the built-in model's shape with random weights; what is there already is kept."""
    if (folder / "preprocessor_config.json").exists():
        return folder
    import torch

    from videomae_cli import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor

    torch.manual_seed(0)
    shape = {"image_size": 64, "patch_size": 8, "num_frames": 16, "tubelet_size": 4}
    width = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 768}
    model = VideoMAEForVideoClassification(VideoMAEConfig(**shape, **width, num_labels=10))
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # scores that differ from label to label
    model.save_pretrained(folder)
    VideoMAEImageProcessor(size=64, crop_size=64).save_pretrained(folder)
    return folder


def model_option(model: str, folder: Path) -> str:
    """What to give to -m; the word `random` stands for a checkpoint that is made in the folder."""
    return str(random_model(folder / "model")) if model == "random" else model


def different_clips(folder: Path, number: int) -> list[Path]:
    """Encodes that many clips which differ in codec, container, size, length or keyframes; kept for the next time."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        return list(pool.map(_encode, itertools.repeat(folder), range(number)))


def _encode(folder: Path, k: int) -> Path:
    codec, suffix = KINDS[k % len(KINDS)]
    width, height = SIZES_PX[k % len(SIZES_PX)]
    if codec == "libsvtav1" and width * height > LARGEST_OF_SLOW_PX:
        width, height = 320, 240
    seconds = MIN_SECONDS + (MAX_SECONDS - MIN_SECONDS) * (k * 0.618 % 1)  # spread over the range
    path = folder / f"{k:03d}_{codec.removeprefix('lib')}_{width}x{height}{suffix}"
    if not path.exists():
        unfinished = path.with_name(f"unfinished_{path.name}")
        pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        gop = GOPS[k // len(KINDS) % len(GOPS)]
        videos.write_video(
            unfinished, round(seconds * FPS), width=width, height=height, codec=codec, fps=FPS, pix_fmt=pix_fmt, gop=gop
        )
        unfinished.replace(path)
    return path


def many_clips(folder: Path, clips: list[Path], number: int) -> list[Path]:
    """Fills a new folder with that many names of the clips, in subfolders of 500."""
    shutil.rmtree(folder, ignore_errors=True)
    names = []
    for k in range(number):
        clip = clips[k % len(clips)]
        name = folder / f"{k // 500:02d}" / f"{k:05d}{clip.suffix}"
        name.parent.mkdir(parents=True, exist_ok=True)
        os.link(clip, name)
        names.append(name)
    return names


# ---- hostile files -----------------------------------------------------------------------------------------------

Maker = Callable[[Path], object]


def _spoilt(path: Path) -> None:
    videos.spoil_packets(videos.write_video(path, 70), (20, 21, 40))


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(videos.write_video(path.with_suffix(".mp4")), "clip.mp4")


def _closed(path: Path) -> None:
    videos.write_random_bytes(path).chmod(0)  # root may read it, and finds noise


# The suffix is the one that the file is made under; it goes by .mp4 afterwards, so that a folder's search finds it.
ERRORS: dict[str, tuple[str, Maker]] = {
    "empty": (".mp4", Path.touch),
    "text": (".mp4", videos.write_text),
    "noise": (".mp4", videos.write_random_bytes),
    "zeros": (".mp4", lambda path: path.write_bytes(bytes(300_000))),
    "no moov": (".mp4", videos.write_without_moov),
    "sound": (".m4a", videos.write_audio_only),
    "cover": (".mp3", videos.write_cover_art_only),
    "still": (".png", videos.write_image),
    "bomb": (".gif", videos.write_huge_gif),
    "y4m bomb": (".y4m", lambda path: path.write_bytes(b"YUV4MPEG2 W65535 H65535 F30:1 C420\nFRAME\n" + bytes(9999))),
    "playlist": (".m3u8", lambda path: videos.write_playlist(path, Path("/etc/passwd"))),
    "concat": (".ffconcat", lambda path: videos.write_playlist(path, Path("/etc/passwd"))),
    "session": (".sdp", lambda path: videos.write_playlist(path, Path("/etc/passwd"))),
    "zip": (".zip", _zip),
    "page": (".mp4", lambda path: path.write_text("<!DOCTYPE html><title>404</title><p>No such video.\n" * 40)),
    "all packets noise": (".mp4", lambda path: videos.spoil_packets(videos.write_video(path, 12), range(12))),
    "closed": (".mp4", _closed),
    "dangling link": (".mp4", lambda path: path.symlink_to("nowhere")),
}
WARNINGS: dict[str, tuple[str, Maker]] = {  # videos all the same
    "cut mp4": (".mp4", videos.write_truncated),
    "cut mkv": (".mkv", videos.write_truncated),
    "cut webm": (".webm", lambda path: videos.write_truncated(path, codec="libvpx")),
    "spoilt packets": (".mp4", _spoilt),
    "one frame": (".mp4", lambda path: videos.write_video(path, 1)),
    "size changes": (".ts", videos.write_size_change),
}
NAMES = ("new\nline", "ünïcödé 影片 \N{CLAPPER BOARD}", os.fsdecode(b"latin-1 \xe9\xff"), "-dash", "a:colon", "%s *?[")


def hostile_files(folder: Path, number: int, clip: Path) -> dict[str, str]:
    """Puts that many hostile files into a folder of `many_clips`, all over it, and a FIFO that is to be skipped.

    Args:
        folder: with subfolders.
        number: of files; every kind comes up from 30 on.
        clip: a good one, to go by bad names.

    Returns:
        The path of each, and what the status of its record must be: "error", "ok", or "any".
    """
    kinds = [(what, *how, "error") for what, how in ERRORS.items()]
    kinds += [(what, *how, "any") for what, how in WARNINGS.items()]
    kinds += [(name, clip.suffix, lambda path: os.link(clip, path), "ok") for name in NAMES]
    random.Random(0).shuffle(kinds)
    places = [place for place in sorted(folder.iterdir()) if place.is_dir()]
    expected: dict[str, str] = {}
    for k in range(number):
        what, suffix, make, outcome = kinds[k % len(kinds)]
        place = places[k % len(places)]
        among = f"{500 * int(place.name) + 500 * k // number:05d} "  # sorted, it comes between two clips
        path = place / f"{'' if outcome == 'ok' else among}{what} {k}.mp4"
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch, f"made{suffix}")
            make(made)
            os.replace(made, path)
        expected[str(path)] = outcome
    os.mkfifo(places[0] / "pipe.mp4")
    return expected
