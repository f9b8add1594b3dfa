"""Outputs on a disk that fills up (case 30), with a limit on the size of files in its place."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

WRITER = """
import resource, sys
from pathlib import Path
from videomae_cli.cli.output import RecordOutput
from videomae_cli.errors import MachineError
from videomae_cli.inference.records import Failure
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with RecordOutput(sys.argv[1], Path(sys.argv[2])) as out:
        for k in range(10_000):
            out.write(Failure(f"{k}.mp4", "empty", f"{k * k * 7919 ** 9}"))
except MachineError as error:
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("name", ["jsonl", "json", "csv", "parquet"])
def test_30_what_was_written_is_whole(name: str, tmp_path: Path) -> None:
    """Parquet cannot be read without its end, so there is no file of it."""
    output = tmp_path / f"out.{name}"
    done = subprocess.run([sys.executable, "-c", WRITER, name, str(output)], check=False, timeout=120)
    assert done.returncode == 4
    assert [path.name for path in tmp_path.iterdir()] == ([] if name == "parquet" else [output.name])
    if name == "jsonl":
        paths = [json.loads(line)["path"] for line in output.read_text().splitlines()]
    elif name == "json":
        paths = [record["path"] for record in json.loads(output.read_text())]
    elif name == "csv":
        paths = [row["path"] for row in csv.DictReader(output.read_text().splitlines())]
    else:
        return
    assert len(paths) > 100
    assert paths == [f"{k}.mp4" for k in range(len(paths))]
