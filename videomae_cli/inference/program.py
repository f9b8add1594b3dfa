"""Programs of this package that are started anew, where a fork would not do."""

from __future__ import annotations

import os
import sys


def command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """How to run a module of this package as a program that finds what this process found.

    Args:
        module: its dotted name.
        arguments: of the program.

    Returns:
        The command line, and the environment for it.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    return [sys.executable, "-P", "-m", module, *arguments], os.environ | {"PYTHONPATH": paths}
