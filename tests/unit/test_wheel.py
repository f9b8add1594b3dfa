"""What a user gets from `pip install`."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_all_that_the_package_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    suffixes = (".py", ".txt", ".html", ".css", ".js")
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "videomae_cli").rglob("*") if p.suffix in suffixes}
    recipes = {f"videomae_cli/{p.relative_to(ROOT)}" for p in (ROOT / "configs").rglob("*") if p.is_file()}
    assets = {str(p.relative_to(ROOT)) for p in (ROOT / "videomae_cli/assets").rglob("*") if p.is_file()}
    assert "videomae_cli/assets/camera-motion/model.safetensors" in assets
    assert sources | recipes | assets | {"videomae_cli/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "videomae = videomae_cli.cli.app:main" in entry_points
    assert not any(name.startswith(("tests/", "scripts/")) for name in names)


def test_the_source_archive_holds_the_model_and_what_the_two_commands_need(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    folders = ("videomae_cli/assets/camera-motion", "demo")
    needed = {str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).iterdir()}
    assert {"Makefile", "pyproject.toml", "constraints.txt", "tests/conftest.py", *needed} <= names
