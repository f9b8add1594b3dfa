"""Files that are whole or absent, never half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from videomae_cli.errors import MachineError, UsageError
from videomae_cli.weights.hub import locate
from videomae_cli.weights.read import read_tensors
from videomae_cli.weights.write import write_atomically, write_tensors

WEIGHTS = {"a": torch.arange(100.0), "b": torch.arange(200.0), "c": torch.ones(50, dtype=torch.bfloat16)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_atomically_makes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    write_atomically(path, b"one")
    write_atomically(path, lambda temporary: temporary.write_text("two"))
    assert path.read_text() == "two"
    assert names(path.parent) == ["file.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def fail(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(MachineError, match=r"cannot write .*file: No space left on device"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the same write fails in the same place."""
    write_tensors(tmp_path, {"a": torch.zeros(10)})
    before = (tmp_path / "model.safetensors").read_bytes()
    code = (
        "import resource, sys, torch; from pathlib import Path; from videomae_cli.weights.write import write_tensors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "write_tensors(Path(sys.argv[1]), {'a': torch.zeros(5000)})"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "MachineError: cannot write" in process.stderr
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert names(tmp_path) == ["model.safetensors"]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot write"):
        write_tensors(tmp_path / "file" / "folder", WEIGHTS)


def test_single_file(tmp_path: Path) -> None:
    assert write_tensors(tmp_path, WEIGHTS) == [tmp_path / "model.safetensors"]
    found = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items())
    (tmp_path / "probe").touch()
    assert os.stat(tmp_path / "model.safetensors").st_mode == os.stat(tmp_path / "probe").st_mode


@pytest.mark.parametrize(
    ("size", "files"),
    [(10_000, 1), ("1KB", 2), (900, 2), (800, 3), (500, 3), (1, 3)],  # the tensors have 400, 800 and 100 bytes
)
def test_shards(tmp_path: Path, size: int | str, files: int) -> None:
    written = write_tensors(tmp_path, WEIGHTS, size)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert len(written) == (files if files == 1 else files + 1)
    if files > 1:
        index = json.loads(written[-1].read_text())
        assert index["metadata"] == {"total_size": 1300}
        assert set(index["weight_map"]) == set(WEIGHTS)
    found = read_tensors(locate(tmp_path).weights)
    assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items())


def test_saving_again_leaves_no_stale_file(tmp_path: Path) -> None:
    (tmp_path / "model.bak").touch()
    for size in ("5GB", 500, 900, "5GB"):
        written = write_tensors(tmp_path, WEIGHTS, size)
        assert names(tmp_path) == sorted(["model.bak", *(path.name for path in written)])


def test_a_tensor_may_be_saved_over_the_file_it_is_mapped_from(tmp_path: Path) -> None:
    write_tensors(tmp_path, WEIGHTS)
    mapped = read_tensors([tmp_path / "model.safetensors"])
    write_tensors(tmp_path, {"a": mapped["a"] + 1})
    assert torch.equal(mapped["b"], WEIGHTS["b"])
    assert torch.equal(read_tensors([tmp_path / "model.safetensors"])["a"], WEIGHTS["a"] + 1)


@pytest.mark.parametrize("size", ["", "5 bananas", "-1GB", 0, "0MB"])
def test_sizes_that_are_none(tmp_path: Path, size: int | str) -> None:
    with pytest.raises(UsageError, match="max_shard_size"):
        write_tensors(tmp_path, WEIGHTS, size)
