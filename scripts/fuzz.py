"""Thousands of damaged variants of real clips, classified by the real command under a watchdog.

    python scripts/fuzz.py CLIPS MODEL [--variants 3000] [--seed 0] [--batch 300] [-- OPTIONS OF CLASSIFY]

CLIPS is a folder of good clips (../shared/clips), MODEL what -m takes, or the word `random`. Variant number k has bits
flipped, its end cut off, a piece cut out, the end of another clip, or zeros; it depends on seed and k alone. Each batch
is one run. What must hold (exit code 1 when it does not): every run ends within its limit with exit code 0 or 1 and
leaves no process, every variant has one record, and none is of kind internal, crashed or timeout. The variants that
break this are kept in `--keep`; of a run that died or hung, all those without a record.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.material import model_option
from scripts.watching import VIDEOMAE, read_records, verdict, watch
from tests.fuzzing import variants
from videomae_cli.video.suffixes import VIDEO_SUFFIXES

BUGS = {"internal", "crashed", "timeout"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("model")
    parser.add_argument("--variants", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=300, help="variants in one run")
    parser.add_argument("--seconds-each", type=float, default=5.0, help="a run may take 60 s and this for each variant")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("options", nargs="*", help="for classify, after --")
    asked = parser.parse_args()
    originals = sorted(path for path in asked.clips.iterdir() if path.suffix in VIDEO_SUFFIXES)
    if not originals:
        parser.error(f"no clips in {asked.clips}")

    endless = variants(originals, asked.seed)
    kinds: Counter[str] = Counter()
    broken: list[str] = []
    seconds = slowest_seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        command = [*VIDEOMAE, "classify", "-q", "-m", model_option(asked.model, Path(work)), *asked.options]
        for start in range(0, asked.variants, asked.batch):
            batch = Path(work, f"{start:05d}")
            batch.mkdir()
            files = {}
            for name, data in islice(endless, min(asked.batch, asked.variants - start)):
                files[str(batch / name)] = name
                (batch / name).write_bytes(data)
            output = batch / "labels.jsonl"
            limit_seconds = 60 + asked.seconds_each * len(files)
            run = watch([*command, batch, "-o", output], output, limit_seconds=limit_seconds)
            seconds += run.seconds
            slowest_seconds = max(slowest_seconds, run.seconds)
            if run.code not in (0, 1):
                how = "hung and was killed" if run.code is None else f"ended with exit code {run.code}"
                broken.append(f"the run from variant {start} on {how}: {run.said[-1500:]}")
            if run.left:
                broken.append(f"the run from variant {start} on left processes: {run.left}")
            broken += judge(output, files, kinds, asked.keep)
            shutil.rmtree(batch)
            print(f"{start + len(files)} variants, {seconds:.0f} s", file=sys.stderr)
    figures = {
        "variants": f"{asked.variants} of {len(originals)} clips, seed {asked.seed}",
        "seconds": seconds,
        "slowest run, seconds": slowest_seconds,
        "records": kinds.total(),
        **{f"  {kind}": number for kind, number in kinds.most_common()},
    }
    return verdict(figures, broken)


def judge(output: Path, files: dict[str, str], kinds: Counter[str], keep: Path) -> list[str]:
    """One record for each variant, none of them a bug; counts kinds, and keeps the files that are at fault."""
    try:
        records = read_records(output)
    except ValueError as error:
        return [str(error)]
    broken = []
    at_fault: dict[str, str] = {}
    paths = Counter(record["path"] for record in records)
    for record in records:
        warned = " with warnings" if record.get("warnings") else ""
        kinds[record.get("kind", record["status"] + warned)] += 1
        if record.get("kind") in BUGS:
            at_fault[record["path"]] = f"{record['kind']}: {record['message']}"
    at_fault |= dict.fromkeys(files.keys() - paths.keys(), "no record")
    at_fault |= {path: f"{number} records" for path, number in paths.items() if number > 1}
    if foreign := paths.keys() - files.keys():
        broken.append(f"records of what was not asked for: {sorted(foreign)[:3]}")
    for path in sorted(at_fault.keys() & files.keys()):
        keep.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, keep)
        broken.append(f"{keep / files[path]}: {at_fault[path]}")
    return broken


if __name__ == "__main__":
    sys.exit(main())
