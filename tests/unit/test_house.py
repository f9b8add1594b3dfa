"""The rooms import only downwards, and the light ones stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "videomae_cli"

ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "weights": {"errors"},
    "config": {"errors"},
    "model": {"errors", "weights"},
    "video": {"errors", "weights"},
    "data": {"errors", "video"},
    "inference": {"errors", "model", "video"},
    "train": {"errors", "model", "video", "data", "config", "inference", "weights"},
    "benchmark": {"errors", "inference", "model", "video"},
    "report": {"errors", "inference"},
    "cli": {"errors", "weights", "config", "model", "video", "data", "inference", "train", "benchmark", "report"},
}

# Arrows that only these files may use.
ONLY_IN = {
    ("model", "weights"): {"model/pretrained.py", "model/config.py"},
    ("video", "weights"): {"video/processor.py"},
}

FILES = sorted(PACKAGE.rglob("*.py"))


def imported_modules(file: Path) -> set[str]:
    """Dotted names of what a file imports, relative imports resolved; also what is imported inside functions."""
    package = ["videomae_cli", *file.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "videomae_cli" and len(parts) > 1 and parts[1] in ARROWS else None


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(file: Path) -> None:
    name = str(file.relative_to(PACKAGE))
    room = name.split("/", maxsplit=1)[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    targets = {room_of(module) for module in imported_modules(file)} - {None, room}
    assert targets <= ARROWS[room], f"{name} imports {targets - ARROWS[room]}"
    for target in targets:
        assert name in ONLY_IN.get((room, target), {name}), f"{name} may not import {target}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_files_stay_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 350


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_only_cli_prints(file: Path) -> None:
    names, attributes = {"print"}, {"print_exc", "print_exception", "stdout", "stderr"}
    lines = [
        node.lineno
        for node in ast.walk(ast.parse(file.read_text()))
        if (isinstance(node, ast.Name) and node.id in names)
        or (isinstance(node, ast.Attribute) and node.attr in attributes)
    ]
    assert not lines or file.relative_to(PACKAGE).parts[0] == "cli", f"lines {lines} print"


def loaded_by(code: str) -> set[str]:
    """Top-level modules that are loaded after `code` ran in a new interpreter."""
    program = f"{code}\nimport sys\nprint(*{{m.split('.')[0] for m in sys.modules}}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import videomae_cli",
        "from videomae_cli import VideoMAEConfig; VideoMAEConfig()",
        "from videomae_cli.inference import records",
        "from videomae_cli.report import formats",
        "from videomae_cli.cli.app import app; app(['--help'], standalone_mode=False)",
        "from videomae_cli.cli.app import app; app(['classify', '--help'], standalone_mode=False)",
        "from videomae_cli.cli.app import app; app(['benchmark', '--help'], standalone_mode=False)",
        "from videomae_cli.benchmark import baseline, columns, published",
        "from videomae_cli.report import grid, plot",
    ],
)
def test_light_things_import_nothing_heavy(code: str) -> None:
    heavy = {"torch", "av", "huggingface_hub", "numpy", "transformers", "safetensors", "matplotlib"}
    assert not loaded_by(code) & heavy


def test_the_runtime_packages_are_these_and_no_others() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    names = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert names == {"torch", "numpy", "av", "typer", "rich", "safetensors", "huggingface_hub", "pyyaml"}
