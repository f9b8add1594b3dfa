"""Label a two-hour video, and measure: memory, decoding against ffmpeg, and windows against windows by themselves.

Writes a 360p film that changes every few seconds (half a minute is encoded, and its packets are repeated with
later times), and checks that frames keep their numbers. Then, in this order:

1. `videomae classify --window 2.1 --hop 1.0` as a process: wall time, and the peak memory of the whole process tree.
2. The decode pass alone (one thread decodes, another makes RGB, resizes and crops) against
   `ffmpeg -threads 1 -i FILE -f null -`, in turns; the median of each.
3. Random windows, each read and scored by itself: scores, and the label of the timeline.

    python scripts/long_video.py MODEL [--minutes 120] [--folder /tmp/long] [--windows 50]

Exit code 1 when a bound is broken: 1.2 GB, 0.7 of ffmpeg's speed, another label.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

WIDTH, HEIGHT, FPS, GOP = 640, 360, 30, 60
ROUND = 30 * FPS  # frames that are encoded; the film is these over and over
MAX_GIGABYTES, MIN_SHARE_OF_FFMPEG = 1.2, 0.7
WINDOW_SECONDS, HOP_SECONDS = 2.1, 1.0


def write_round(path: Path) -> Path:
    """Random waves that pan, tilt, zoom or rest, something else every five seconds."""
    rng = np.random.default_rng(0)
    y, x = np.linspace(-1, 1, HEIGHT), np.linspace(-16 / 9, 16 / 9, WIDTH)
    waves = rng.uniform(-6, 6, (3, 6, 2))  # of three channels: how fast they go across and down
    shift_x, shift_y, zoom, move, speed = 0.0, 0.0, 1.0, "", 0.0
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "33", "bf": "2"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", GOP
        for k in range(ROUND):
            if k % (5 * FPS) == 0:
                move, speed = rng.choice(["pan", "tilt", "zoom", "rest"]), rng.choice([-1, 1]) * rng.uniform(0.01, 0.03)
            shift_x += speed * (move == "pan")
            shift_y += speed * (move == "tilt")
            zoom *= 1 + speed * (move == "zoom") / 2
            across = waves[..., :1] * (x * zoom + shift_x)  # (3, 6, W)
            down = waves[..., 1:] * (y * zoom + shift_y)  # (3, 6, H)
            # sin(a + d) is sin a cos d + cos a sin d: a small product of matrices, not a sine of each pixel
            sums = np.cos(down).mT @ np.sin(across) + np.sin(down).mT @ np.cos(across)  # (3, H, W)
            picture = (128 + 20 * np.moveaxis(sums, 0, -1)).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def repeat(path: Path, source: Path, times: int) -> Path:
    """The packets of a video over and over, each round later by its length."""
    with av.open(str(source)) as container, av.open(str(path), "w") as out:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert stream.time_base is not None
        length = int(Fraction(ROUND, FPS) / stream.time_base)
        payloads = [(bytes(p), p.pts or 0, p.dts or 0, p.duration, p.is_keyframe) for p in packets]
        copy = out.add_stream_from_template(stream)
        for number in range(times):
            for payload, pts, dts, duration, is_keyframe in payloads:
                packet = av.Packet(payload)
                packet.time_base, packet.duration, packet.is_keyframe = stream.time_base, duration, is_keyframe
                packet.pts, packet.dts, packet.stream = pts + number * length, dts + number * length, copy
                out.mux(packet)
    return path


def check_numbers(path: Path, source: Path, times: int) -> None:
    """Frame k of the long video is frame k of the short one, round after round."""
    from videomae_cli import probe, read_frames

    assert probe(path).num_frames == times * ROUND, probe(path)
    places = [0, 1, 777, ROUND - 1]
    expected = read_frames(source, places).frames
    for number in {0, times // 2, times - 1}:
        found = read_frames(path, [number * ROUND + place for place in places]).frames
        assert np.array_equal(found, expected), f"round {number}"


def tree_of(process_id: int) -> list[int]:
    """A process and all below it."""
    found = [process_id]
    for task in Path(f"/proc/{process_id}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree_of(int(child))
    return found


def resident_bytes(process_id: int) -> int:
    """Memory of a process and all below it, shared pages counted once for each."""
    total = 0
    for number in tree_of(process_id):
        try:
            total += int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue  # it ended
    return total


def classify(path: Path, model: str, output: Path) -> tuple[float, int]:
    """Runs the command; returns wall seconds and the peak of the memory of its process tree, looked at every 0.1 s."""
    command = [sys.executable, "-m", "videomae_cli", "classify", str(path), "-m", model, "-o", str(output)]
    command += ["--overwrite", "--window", str(WINDOW_SECONDS), "--hop", str(HOP_SECONDS)]
    start, peak, done = time.monotonic(), 0, threading.Event()
    with subprocess.Popen(command) as process:
        waiter = threading.Thread(target=lambda: (process.wait(), done.set()))
        waiter.start()
        while not done.wait(0.1):
            try:
                peak = max(peak, resident_bytes(process.pid))
            except OSError:
                continue  # it ended
        waiter.join()
    if process.returncode:
        sys.exit(f"classify ended with {process.returncode}")
    return time.monotonic() - start, peak


def decode_seconds(path: Path, model: str) -> float:
    """One decode pass as `classify --window` makes it; torch's operators have one thread."""
    import torch

    from videomae_cli import VideoMAEImageProcessor
    from videomae_cli.inference.windowed_video import WindowedVideo
    from videomae_cli.inference.windows import Windowing
    from videomae_cli.video.sampling import Sampling

    torch.set_num_threads(1)
    processor = VideoMAEImageProcessor.from_pretrained(model)
    start = time.monotonic()
    with WindowedVideo(str(path), Windowing(WINDOW_SECONDS, HOP_SECONDS), Sampling(), processor) as video:
        num_windows = sum(1 for _ in video.clips())
        assert num_windows == len(video.windows)
    return time.monotonic() - start


def ffmpeg_seconds(path: Path) -> float:
    """What ffmpeg takes to decode the file in one thread."""
    start = time.monotonic()
    subprocess.run(["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"], check=True)
    return time.monotonic() - start


def compare(path: Path, model: str, record: dict[str, object], count: int) -> tuple[float, int]:
    """Random windows by themselves: the largest difference of a score, and how often the best label differs."""
    from videomae_cli import VideoClassifier, read_frames

    classifier = VideoClassifier.from_pretrained(model)
    windows, frames = record["windows"], record["sampling"]["frames"]  # type: ignore[index]
    assert isinstance(windows, list)
    largest, num_other = 0.0, 0
    for place in random.Random(0).sample(range(len(windows)), min(count, len(windows))):
        pixel_values = classifier.processor.crops(read_frames(path, frames[place], num_threads=1).frames)
        scores = classifier.logits(pixel_values).softmax(-1)[0]
        told = windows[place]["predictions"]
        largest = max(largest, *(abs(p["score"] - float(scores[p["index"]])) for p in told))
        num_other += told[0]["index"] != int(scores.argmax())
    return largest, num_other


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--windows", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    source, times = write_round(options.folder / "round.mp4"), 2 * options.minutes
    path = repeat(options.folder / f"{options.minutes}-minutes.mp4", source, times)
    check_numbers(path, source, times)
    print(f"{path}: {options.minutes} minutes of {WIDTH}x{HEIGHT}, {path.stat().st_size / 1e6:.1f} MB", flush=True)

    output = options.folder / "labels.jsonl"
    seconds, peak = classify(path, options.model, output)
    record = json.loads(output.read_text())
    labels = len({segment["label"] for segment in record["segments"]})
    print(
        f"classify: {seconds:.1f} s, {len(record['windows'])} windows, {len(record['segments'])} segments of {labels}"
    )
    print(f"peak memory: {peak / 1e9:.3f} GB (bound {MAX_GIGABYTES})", flush=True)

    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(decode_seconds(path, options.model))
        theirs.append(ffmpeg_seconds(path))
        print(f"decode pass {ours[-1]:.2f} s, ffmpeg {theirs[-1]:.2f} s", flush=True)
    share = statistics.median(theirs) / statistics.median(ours)
    print(f"speed of the decode pass: {share:.2f} of ffmpeg's (bound {MIN_SHARE_OF_FFMPEG})", flush=True)

    largest, num_other = compare(path, options.model, record, options.windows)
    print(f"windows by themselves: largest difference of a score {largest:.1e}, another label in {num_other}")
    broken = peak > MAX_GIGABYTES * 1e9 or share < MIN_SHARE_OF_FFMPEG or num_other > 0
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
