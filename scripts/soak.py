"""A folder of thousands of short clips with hostile files among them, classified by the real command.

    python scripts/soak.py FOLDER MODEL [--clips 2000] [--hostile 60] [-- OPTIONS OF CLASSIFY]

FOLDER is where clips are made and kept (2,000 names of 150 different ones, 100 MB), and where the run's output goes.
MODEL is what -m takes, or the word `random`: a checkpoint of the built-in model's shape with random weights. The run is
watched from outside, and this must hold (exit code 1 when it does not):

- it ends by itself, with exit code 1 (0 without hostile files), and without a traceback;
- one record for every file and no other; good clips are classified, hostile ones are not, nothing is a bug of ours;
- resident memory of the command grows to at most 1.15 of what it was after 100 records;
- no process of the run is left.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.material import NUM_DIFFERENT, different_clips, hostile_files, many_clips, model_option
from scripts.watching import VIDEOMAE, Watched, read_records, verdict, watch

MAX_GROWTH = 1.15
SETTLED = 100  # records after which memory is looked at first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--hostile", type=int, default=60)
    parser.add_argument("--limit-seconds", type=float, default=3600, help="the run counts as hung after this")
    parser.add_argument("options", nargs="*", help="for classify, after --")
    asked = parser.parse_args()

    model = model_option(asked.model, asked.folder)
    different = different_clips(asked.folder / "different", min(NUM_DIFFERENT, asked.clips))
    tree = asked.folder / "videos"
    expected = {str(path): "ok" for path in many_clips(tree, different, asked.clips)}
    expected |= hostile_files(tree, asked.hostile, different[0])
    output = asked.folder / "labels.jsonl"
    for old in asked.folder.glob(f"{output.name}*"):
        old.unlink()

    command = [*VIDEOMAE, "classify", tree, "-m", model, "-o", output, "-q", *asked.options]
    run = watch(command, output, limit_seconds=asked.limit_seconds)
    figures = {
        "files": f"{len(expected)} ({asked.clips} names of {len(different)} clips, {asked.hostile} hostile)",
        "exit code": run.code,
        "seconds": run.seconds,
        "files/s": len(expected) / run.seconds,
    }
    broken = [*check_end(run, 1 if asked.hostile else 0), *check_memory(run, len(expected), figures)]
    try:
        broken += check_records(read_records(output), expected, figures)
    except ValueError as error:
        broken.append(str(error))
    return verdict(figures, broken)


def check_end(run: Watched, code: int) -> list[str]:
    """How it ended, and what it left behind."""
    broken = []
    if run.code != code:
        ending = "it hung, and was killed" if run.code is None else f"exit code {run.code}, not {code}"
        broken.append(f"{ending}; its last words: {run.said[-1500:]}")
    if "Traceback" in run.said:
        broken.append(f"a traceback: {run.said[run.said.index('Traceback') :][:1500]}")
    if run.left:
        broken.append(f"left behind: {run.left}")
    return broken


def check_memory(run: Watched, num_files: int, figures: dict[str, Any]) -> list[str]:
    """Memory of the command after the first hundred records against the last part of the run."""
    settled = min(SETTLED, num_files // 2)
    early = [moment.parent_mib for moment in run.moments if moment.num_records >= settled]
    late = [moment.parent_mib for moment in run.moments if moment.num_records >= 0.95 * num_files]
    if not run.moments or not early or not late:
        return [f"the run was never seen with {settled} records or near its end: no memory to compare"]
    growth = max(late) / early[0]
    figures[f"memory after {settled} records, MiB"] = round(early[0])
    figures["memory at the end, MiB"] = round(max(late))
    figures["growth"] = growth
    figures["highest memory of the command, MiB"] = round(max(moment.parent_mib for moment in run.moments))
    figures["highest memory of all processes, MiB"] = round(max(moment.tree_mib for moment in run.moments))
    figures["most processes"] = max(moment.num_processes for moment in run.moments)
    return [f"memory grew to {growth:.3f} of what it was, more than {MAX_GROWTH}"] if growth > MAX_GROWTH else []


def check_records(records: list[dict[str, Any]], expected: dict[str, str], figures: dict[str, Any]) -> list[str]:
    """One record for each file, with the status that it must have."""
    kinds = Counter(record.get("kind", record["status"]) for record in records)
    figures["records"] = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())
    broken = []
    paths = Counter(record["path"] for record in records)
    if missing := [path for path in expected if path not in paths]:
        broken.append(f"{len(missing)} files without a record, such as {missing[:3]}")
    if foreign := [path for path in paths if path not in expected]:
        broken.append(f"{len(foreign)} records of other files, such as {foreign[:3]}")
    if double := [path for path, number in paths.items() if number > 1]:
        broken.append(f"{len(double)} files with several records, such as {double[:3]}")
    for record in records:
        wanted = expected.get(record["path"], "any")
        if wanted not in (record["status"], "any") or record.get("kind") == "internal":
            broken.append(
                f"{record['path']!r} should be {wanted}: {record.get('kind', '')} {record.get('message', '')}"
            )
    return broken


if __name__ == "__main__":
    sys.exit(main())
