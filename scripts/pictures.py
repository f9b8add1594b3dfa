"""Draw the pictures of the README: what the commands really print on a terminal, through rich's export to SVG.

    python scripts/pictures.py [FOLDER]

The commands run in the repository's root, with an empty model cache. Equal output gives equal files.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
COMMANDS = {"classify": ["classify", "demo", "-m", "camera-motion"], "models": ["models"]}
NUM_ROWS, NUM_COLUMNS = 40, 104


def print_on_terminal(arguments: list[str]) -> str:
    """What a command writes to stdout when that is a terminal, with its colours.

    Args:
        arguments: of `videomae`.

    Raises:
        CalledProcessError: the command fails.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", NUM_ROWS, NUM_COLUMNS, 0, 0))
    hidden = ("HF_", "VIDEOMAE_", "NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR")
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    command = [sys.executable, "-m", "videomae_cli", *arguments]
    chunks = []
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(
            command, cwd=ROOT, stdout=theirs, env={**env, "TERM": "xterm-256color", "HF_HOME": home}
        ) as process,
    ):
        os.close(theirs)
        while chunk := read(ours):
            chunks.append(chunk)
    os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return b"".join(chunks).decode().replace("\r", "")


def read(terminal: int) -> bytes:
    """Some bytes that were written to a terminal; none at the end."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: the other end is closed
        return b""


def draw(folder: Path) -> None:
    """Write a picture for each of the commands."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in COMMANDS.items():
        console = Console(record=True, width=NUM_COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(Text(f"$ videomae {' '.join(arguments)}", style="bold"))
        console.print(Text.from_ansi(print_on_terminal(arguments).rstrip("\n")))
        svg = console.export_svg(title="videomae", unique_id=name)
        (folder / f"{name}.svg").write_text(svg)
        print(folder / f"{name}.svg")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
