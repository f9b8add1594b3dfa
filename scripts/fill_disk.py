"""A disk that fills up under a run of classify, and the run that goes on when there is room again. Needs root.

    python scripts/fill_disk.py [MODEL] [--size-kib 64] [--clips 400]

MODEL is what -m takes; the default, `random`, makes a checkpoint of the built-in model's shape with random weights.
The output is on a tmpfs that is too small for it. What must hold (exit code 1 when it does not): the run stops with
exit code 4 and says why, its output is whole lines of JSON, each of another file; given more room, --resume adds the
others. Exit code 2 when nothing can be mounted here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.material import many_clips, model_option
from scripts.watching import VIDEOMAE, read_records, verdict, watch
from tests.videos import write_video


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="random")
    parser.add_argument("--size-kib", type=int, default=64)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--limit-seconds", type=float, default=600)
    asked = parser.parse_args()
    if os.geteuid() != 0:
        print("needs root: a small tmpfs is mounted", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="fill-disk-") as work:
        model = model_option(asked.model, Path(work))
        tree = Path(work, "videos")
        many_clips(tree, [write_video(Path(work, "clip.mp4"), 20)], asked.clips)
        disk = Path(work, "disk")
        disk.mkdir()
        mounted = mount(disk, f"size={asked.size_kib}k", "-t", "tmpfs", "tmpfs")
        if mounted.returncode:
            print(f"cannot mount a tmpfs here: {mounted.stderr.strip()}", file=sys.stderr)
            return 2
        try:
            command = [*VIDEOMAE, "classify", tree, "-m", model, "-q", "-o", disk / "labels.jsonl"]
            return measure(command, disk, asked.clips, asked.limit_seconds)
        finally:
            subprocess.run(["umount", disk], check=True)


def mount(disk: Path, options: str, *kind: str) -> subprocess.CompletedProcess[str]:
    """Mount, or change what is mounted."""
    return subprocess.run(["mount", "-o", options, *kind, disk], capture_output=True, text=True, check=False)


def measure(command: list[str | Path], disk: Path, num_clips: int, limit_seconds: float) -> int:
    """Fill it, look, make room, go on, look again."""
    output = disk / "labels.jsonl"
    broken: list[str] = []
    full = watch(command, output, limit_seconds=limit_seconds)
    if full.code != 4:
        broken.append(f"on a full disk: exit code {full.code}, not 4 (None: it hung): {full.said[-1500:]}")
    if "No space left" not in full.said or "Traceback" in full.said:
        broken.append(f"it should say that no space is left, and no more: {full.said[-1500:]}")
    first = different_records(output, broken)
    if not 0 < len(first) < num_clips:
        broken.append(f"{len(first)} of {num_clips} records on a full disk: some, and not all, should be there")
    size_bytes = output.stat().st_size if output.exists() else 0
    mount(disk, "remount,size=16m").check_returncode()
    resumed = watch([*command, "--resume"], output, limit_seconds=limit_seconds)
    second = different_records(output, broken)
    if resumed.code != 0 or len(second) != num_clips:
        broken.append(
            f"resumed: exit code {resumed.code}, {len(second)} of {num_clips} records: {resumed.said[-1500:]}"
        )
    if second[: len(first)] != first:
        broken.append("resumed: the records that were there have changed")
    figures = {
        "exit code on a full disk": full.code,
        "records on a full disk": f"{len(first)} of {num_clips}, {size_bytes} bytes",
        "exit code resumed": resumed.code,
        "records resumed": len(second),
        "left processes": len(full.left) + len(resumed.left),
    }
    return verdict(figures, broken + full.left + resumed.left)


def different_records(output: Path, broken: list[str]) -> list[dict[str, Any]]:
    """The records, if all of them are whole and each is of another file."""
    try:
        records = read_records(output)
    except ValueError as error:
        broken.append(str(error))
        return []
    if len({record["path"] for record in records}) < len(records):
        broken.append("a file has several records")
    return records


if __name__ == "__main__":
    sys.exit(main())
