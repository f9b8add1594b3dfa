"""Clips per second of the command, beside the same command without its means, and beside a transformers pipeline.

    python scripts/throughput.py FOLDER MODEL [--clips 200] [--rounds 5]

FOLDER is that of `soak.py`, whose good clips are taken (they are made when absent). MODEL is a checkpoint folder, or
the word `random`. The contestants run in turn, each as a whole process, after a round to warm up that does not count:

- one by one: `videomae classify -j 1 -b 1`
- defaults: `videomae classify`
- transformers: a loop over its video-classification pipeline, which looks at the first 64 frames of each clip

Each runs over one clip too: the difference is the steady state. The goals are about the whole process (exit code 1 when
they are missed); starting takes seconds, so that more clips bring both figures together. The first two must give the
same records: the same labels, scores within 1e-3.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.material import NUM_DIFFERENT, different_clips, many_clips, model_option
from scripts.watching import ENVIRONMENT, VIDEOMAE, read_records, verdict

GOALS = {"one by one": 1.7, "transformers": 2.5}
PIPELINE = """
import sys
from transformers import pipeline
classify = pipeline("video-classification", model=sys.argv[1])
for path in sys.stdin.read().splitlines():
    print(path, classify(path, frame_sampling_rate=4, top_k=5))
"""
Contestant = Callable[[list[Path]], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    model = model_option(asked.model, asked.folder)
    if not Path(model, "config.json").exists():
        parser.error(f"{model} is no checkpoint folder, which transformers needs")
    different = different_clips(asked.folder / "different", min(NUM_DIFFERENT, asked.clips))
    clips = many_clips(asked.folder / "timed", different, asked.clips)

    with tempfile.TemporaryDirectory() as work:
        outputs = {name: Path(work, f"{name}.jsonl") for name in ("one by one", "defaults")}
        ours = [*VIDEOMAE, "classify", "--files-from", "-", "-m", model, "-q", "--overwrite", "-o"]
        contestants: dict[str, Contestant] = {
            "one by one": lambda paths: run([*ours, outputs["one by one"], "-j", "1", "-b", "1"], paths),
            "defaults": lambda paths: run([*ours, outputs["defaults"]], paths),
            "transformers": lambda paths: run([sys.executable, "-c", PIPELINE, model], paths),
        }
        alternate(contestants, clips[:1], 1)  # to warm up: the page cache, compiled Python
        start_seconds = alternate(contestants, clips[:1], asked.rounds)
        whole_seconds = alternate(contestants, clips, asked.rounds)
        broken = compare(read_records(outputs["one by one"]), read_records(outputs["defaults"]), len(clips))

    figures: dict[str, Any] = {"clips": f"{len(clips)} names of {len(different)}", "rounds": asked.rounds}
    steady = {}
    for name in contestants:
        steady[name] = (len(clips) - 1) / max(1e-9, whole_seconds[name] - start_seconds[name])
        rate = f"{len(clips) / whole_seconds[name]:.1f} clips/s, {steady[name]:.1f} once started"
        figures[name] = f"{rate} ({whole_seconds[name]:.2f} s; {start_seconds[name]:.2f} s for one clip)"
    for name, goal in GOALS.items():
        ratio = whole_seconds[name] / whole_seconds["defaults"]
        figures[f"defaults over {name}"] = (
            f"{ratio:.2f} (goal {goal}), {steady['defaults'] / steady[name]:.2f} once started"
        )
        if ratio < goal:
            broken.append(f"defaults are {ratio:.2f} times {name}, less than {goal}")
    return verdict(figures, broken)


def run(command: list[str | Path], paths: list[Path]) -> None:
    """One whole process, with the clips on its stdin; it must succeed.

    Raises:
        SystemExit: it failed; what it said.
    """
    listed = "".join(f"{path}\n" for path in paths)
    env = {**ENVIRONMENT, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    words = [os.fspath(word) for word in command]
    done = subprocess.run(words, input=listed, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode} of {' '.join(words)}\n{done.stderr[-2000:]}")


def alternate(contestants: dict[str, Contestant], clips: list[Path], num_rounds: int) -> dict[str, float]:
    """Median seconds of each contestant, timed in turn: A B C, A B C, ..."""
    times_seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(num_rounds):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant(clips)
            times_seconds[name].append(time.perf_counter() - start)
            print(f"{len(clips)} clips, {name}: {times_seconds[name][-1]:.2f} s", file=sys.stderr)
    return {name: statistics.median(times) for name, times in times_seconds.items()}


def compare(wanted: list[dict[str, Any]], found: list[dict[str, Any]], num_clips: int) -> list[str]:
    """Fast and wrong is worth nothing: the records of both runs must be the same."""
    if [record["path"] for record in wanted] != [record["path"] for record in found] or len(found) != num_clips:
        return [
            f"{len(wanted)} and {len(found)} records of {num_clips} clips, in different order or of different files"
        ]
    broken = []
    for one, other in zip(wanted, found, strict=True):
        if (one["status"], other["status"]) != ("ok", "ok"):
            broken.append(f"not classified: {one} {other}")
            continue
        scores, others = ({p["label"]: p["score"] for p in record["predictions"]} for record in (one, other))
        if max(abs(scores.get(label, 0) - others.get(label, 0)) for label in scores) > 1e-3:
            broken.append(f"{one['path']}: {scores} one by one, {others} by default")
    return broken


if __name__ == "__main__":
    sys.exit(main())
