"""Checkpoint files into dictionaries: what is read, and that reading is safe and lazy."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from videomae_cli.errors import ModelError
from videomae_cli.weights.read import read_json, read_shard_names, read_tensors

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_safetensors_single_and_sharded(tmp_path: Path) -> None:
    paths = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    for path, (name, tensor) in zip(paths, WEIGHTS.items(), strict=True):
        save_file({name: tensor}, path)
    assert_equal(read_tensors(paths[:1]), {"a": WEIGHTS["a"]})
    assert_equal(read_tensors(paths), WEIGHTS)


def test_the_same_name_in_two_shards_is_refused(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "1.safetensors")
    save_file(WEIGHTS, tmp_path / "2.safetensors")
    with pytest.raises(ModelError, match="holds 'a' again"):
        read_tensors([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"model": WEIGHTS},
        {"module": WEIGHTS, "epoch": 3},
        {"state_dict": WEIGHTS},
        {"model": WEIGHTS, "args": argparse.Namespace(lr=1e-3), "optimizer": {"state": {}}},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_files_of_all_kinds(tmp_path: Path, content: dict, zipped: bool) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_equal(read_tensors([path]), WEIGHTS)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_writing_to_a_tensor_never_alters_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    if suffix == ".pth":
        torch.save(WEIGHTS, path)
    else:
        save_file(WEIGHTS, path)
    before = path.read_bytes()
    read_tensors([path])["a"].fill_(7)
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="/proc lists the mappings of a process on Linux only")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_are_mapped_not_copied(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    weights = {"a": torch.zeros(10000)}
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    tensors = read_tensors([path])
    assert str(path) in Path("/proc/self/maps").read_text()
    assert torch.equal(tensors["a"], weights["a"])


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": [1, 2.5, "é"]}', encoding="utf-8")
    assert read_json(path) == {"a": [1, 2.5, "é"]}


def test_shard_names(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"weight_map": {"a": "model-00002-of-2.safetensors", "b": "m.safetensors", "c": "m.safetensors"}}')
    assert read_shard_names(path) == ("m.safetensors", "model-00002-of-2.safetensors")


def test_reading_json_does_not_import_torch() -> None:
    code = "import sys, videomae_cli.weights.hub, videomae_cli.weights.read; print('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout == "False\n"
