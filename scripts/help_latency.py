"""Time `videomae --help` as a whole process: median of 10 runs, beside a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 10


def median_ms(command: list[str]) -> float:
    """Median wall time of a command in milliseconds, after one run to warm the disk cache."""
    times_ms = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times_ms.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times_ms[1:])


if __name__ == "__main__":
    videomae = str(Path(sys.executable).with_name("videomae"))
    print(f"videomae --help           {median_ms([videomae, '--help']):6.0f} ms")
    print(f"videomae classify --help  {median_ms([videomae, 'classify', '--help']):6.0f} ms")
    print(f"python -c pass            {median_ms([sys.executable, '-c', 'pass']):6.0f} ms")
