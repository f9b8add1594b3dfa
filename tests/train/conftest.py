"""Fixtures of training runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.runs import RECIPE, Forks, write_videos


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs command lines."""
    with Forks(tmp_path_factory.mktemp("forks")) as forks:
        yield forks


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of two classes."""
    return write_videos(tmp_path_factory.mktemp("training") / "videos")


@pytest.fixture(scope="session")
def finetune(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A command line that trains for eight steps, but for its -o."""
    recipe = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    recipe.write_text(RECIPE)
    return ("finetune", "-c", str(recipe), "--data", str(videos))


@pytest.fixture(scope="session")
def finished(forks: Forks, finetune: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted. Not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert forks.run(*finetune, "-o", folder).code == 0
    return folder
