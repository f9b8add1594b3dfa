"""RELIABILITY 39-43 and 46: damaged, hostile and unfitting checkpoints are refused by name (exit code 3)."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from videomae_cli.errors import ModelError
from videomae_cli.weights.hub import locate
from videomae_cli.weights.read import MAX_JSON_BYTES, read_json, read_tensors

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def safetensors(header: object, data: bytes, header_bytes: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if header_bytes is None else header_bytes) + text + data


def at(first: int, last: int) -> dict[str, object]:
    return {**ENTRY, "data_offsets": [first, last]}


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 346\n"
HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"
BAD_SAFETENSORS = {
    "empty": (b"", "is empty"),
    "tiny": (b"abc", "header claims"),
    "huge header": (safetensors({"a": ENTRY}, bytes(8), 10**12), "header claims 1000000000000 bytes, .* file has"),
    "header past the end": (safetensors({"a": ENTRY}, bytes(8), 5000), "header claims 5000 bytes"),
    "bad JSON": (safetensors(b"{nope", b""), "invalid JSON"),
    "bad UTF-8": (safetensors(b"\xff\xfe{}", b""), "invalid UTF-8"),
    "short": (safetensors({"a": ENTRY}, bytes(5)), r"promises \d+ bytes, and it has \d+"),
    "trailing bytes": (safetensors({"a": ENTRY}, bytes(9)), r"promises \d+ bytes, and it has \d+"),
    "overlap": (safetensors({"a": ENTRY, "b": at(4, 12)}, bytes(12)), "invalid offset for tensor `b`"),
    "hole": (safetensors({"a": ENTRY, "b": at(12, 20)}, bytes(20)), "invalid offset for tensor `b`"),
    "wrong shape": (safetensors({"a": {**ENTRY, "shape": [3]}}, bytes(8)), "invalid shape"),
    "negative shape": (safetensors({"a": {**ENTRY, "shape": [-2]}}, bytes(8)), "invalid JSON"),
    "overflowing shape": (safetensors({"a": {**ENTRY, "shape": [2**62, 2**62]}}, bytes(8)), "overflow"),
    "unknown dtype": (safetensors({"a": {**ENTRY, "dtype": "X9"}}, bytes(8)), "unknown variant `X9`"),
    "offset that is text": (safetensors({"a": {**ENTRY, "data_offsets": [0, "x"]}}, bytes(8)), "invalid JSON"),
    "offset that is a list": (safetensors({"a": {**ENTRY, "data_offsets": [[0], [3]]}}, bytes(8)), "invalid JSON"),
    "web page": (HTML, "is a web page"),
    "LFS pointer": (LFS, "is a Git LFS pointer"),
}


@pytest.mark.parametrize("case", BAD_SAFETENSORS)
def test_bad_safetensors(tmp_path: Path, case: str) -> None:
    content, message = BAD_SAFETENSORS[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        read_tensors([path])
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 3


class Bomb:
    """Unpickling it would run a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["top", "model", "beside"])
def test_pickle_bomb_never_goes_off(tmp_path: Path, zipped: bool, where: str) -> None:
    bomb = Bomb(tmp_path / "marker")
    weights = {"a": torch.zeros(1)}
    content = {"top": bomb, "model": {"model": {**weights, "b": bomb}}, "beside": {"model": weights, "args": bomb}}
    path = tmp_path / "checkpoint.pth"
    torch.save(content[where], path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"refused: to load it would run \w+\.system") as caught:
        read_tensors([path])
    assert caught.value.exit_code == 3
    assert not (tmp_path / "marker").exists()
    torch.load(path, weights_only=False)  # it is armed
    assert (tmp_path / "marker").exists()


BAD_PICKLED = {
    "empty": (b"", "is empty"),
    "text": (b"abc", "neither safetensors nor"),
    "not tensors": (b"\x80\x02}q\x00.", "neither safetensors nor|no dictionary"),
    "zip without an end": (b"PK\x03\x04 and no more", "neither safetensors nor"),
    "noise": (random.Random(0).randbytes(1000), "neither safetensors nor|refused"),
    "web page": (HTML, "is a web page"),
    "LFS pointer": (LFS, "is a Git LFS pointer"),
}


@pytest.mark.parametrize("case", BAD_PICKLED)
def test_bad_pickled_file(tmp_path: Path, case: str) -> None:
    content, message = BAD_PICKLED[case]
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        read_tensors([path])
    assert str(path) in caught.value.message


def test_truncated_pickled_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"a": torch.zeros(10000)}, path)
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(ModelError, match="neither safetensors nor"):
        read_tensors([path])


@pytest.mark.parametrize(
    "content",
    [{}, [torch.zeros(1)], {"epoch": 3}, {"a": torch.zeros(2).to_sparse()}, {"a": torch.zeros(2, device="meta")}],
)
def test_file_of_something_else(tmp_path: Path, content: object) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"no dictionary of tensors|among its weights"):
        read_tensors([path])


BAD_JSON = {
    "empty": (b"", "is empty"),
    "broken": (b"{", "not valid JSON"),
    "bad UTF-8": (b"\xff", "not valid JSON"),
    "list": (b"[1]", "a JSON list, not an object"),
    "nested": (b"[" * 100_000, "not valid JSON"),
    "too large": (b" " * (MAX_JSON_BYTES + 1), "is larger than"),
    "web page": (HTML, "is a web page"),
    "LFS pointer": (LFS, "is a Git LFS pointer"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json(tmp_path: Path, case: str) -> None:
    content, message = BAD_JSON[case]
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_json(path)


def test_unreadable_files(tmp_path: Path) -> None:
    for path in (tmp_path / "no.json", tmp_path):
        with pytest.raises(ModelError, match="cannot read"):
            read_json(path)
    for path in (tmp_path / "no.safetensors", tmp_path / "no.pth", tmp_path):
        with pytest.raises(ModelError, match="cannot read"):
            read_tensors([path])


@pytest.mark.parametrize(
    "name",
    ["../w.safetensors", "/w.safetensors", "a/w.safetensors", "..", "", "w.pth", "a\\w.safetensors", ".safetensors", 3],
)
def test_index_that_leads_out_of_its_folder(tmp_path: Path, name: object) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "w.safetensors").write_bytes(safetensors({"a": ENTRY}, bytes(8)))
    index = {"weight_map": {"a": "w.safetensors", "b": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"points to .* which is not the name of a safetensors file") as caught:
        locate(folder)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": ["w.safetensors"]}'])
def test_index_without_a_map(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match="has no weight_map"):
        locate(tmp_path)
