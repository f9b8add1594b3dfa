"""Command-line inputs -> the list of files."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from videomae_cli.cli.inputs import collect_inputs
from videomae_cli.errors import UsageError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b/2.MKV", "b/1.mp4", "a.webm", "c.txt", "d.png", ".hidden/x.mp4", "b/.x.mp4", "z.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["."], ["./a.webm", "./z.mp4", "./b/1.mp4", "./b/2.MKV"]),
        (["b"], ["b/1.mp4", "b/2.MKV"]),
        (["z.mp4", "a.webm"], ["z.mp4", "a.webm"]),  # as named
        (["z.mp4", "."], ["z.mp4", "./a.webm", "./b/1.mp4", "./b/2.MKV"]),  # once each
        (["c.txt"], ["c.txt"]),  # a named file is tried, whatever its suffix
        (["*.mp4"], ["z.mp4"]),
        (["**/*.mp4"], ["b/1.mp4", "z.mp4"]),
        (["b*"], ["b/1.mp4", "b/2.MKV"]),  # a pattern may match folders
        ([".hidden"], [".hidden/x.mp4"]),  # named, so it is meant
        ([".hidden/x.mp4"], [".hidden/x.mp4"]),
    ],
)
def test_what_is_found(arguments: list[str], found: list[str], tree: Path) -> None:
    assert collect_inputs(arguments).items == found


def test_images_are_found_only_when_asked_for(tree: Path) -> None:
    assert "./d.png" not in collect_inputs(["."]).items
    assert "./d.png" in collect_inputs(["."], allow_images=True).items


@pytest.mark.parametrize("arguments", [["nope.mp4"], ["z.mp4", "nope.mp4"], ["*.avi"], ["z.mp4", "*.avi"], []])
def test_what_is_refused(arguments: list[str], tree: Path) -> None:
    with pytest.raises(UsageError):
        collect_inputs(arguments)


def test_a_name_with_brackets_is_a_name_first(tree: Path) -> None:
    Path("[z].mp4").touch()
    assert collect_inputs(["[z].mp4"]).items == ["[z].mp4"]


def test_repeats_are_counted(tree: Path) -> None:
    Path("link.mp4").symlink_to("z.mp4")
    found = collect_inputs(["z.mp4", "./z.mp4", "link.mp4", str(tree / "z.mp4")])
    assert found.items == ["z.mp4"]
    assert found.num_repeated == 3


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfz.mp4\nb/1.mp4\n",
        b"z.mp4\nb/1.mp4\n",
        b"z.mp4\r\nb/1.mp4\r\n",
        b"\n\nz.mp4\n\nb/1.mp4",
        b"z.mp4\nb/1.mp4\nz.mp4\n",
    ],
)
def test_lists(text: bytes, tree: Path) -> None:
    Path("list.txt").write_bytes(text)
    assert collect_inputs([], "list.txt").items == ["z.mp4", "b/1.mp4"]


def test_a_list_on_stdin(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"z.mp4\nmissing-\xff.mp4\n")))
    items = collect_inputs(["a.webm"], "-").items
    assert [os.fsencode(str(item)) for item in items] == [b"a.webm", b"z.mp4", b"missing-\xff.mp4"]


@pytest.mark.parametrize("text", [b"z.mp4\0b/1.mp4", "z.mp4\n".encode("utf-16")])
def test_a_list_that_is_no_text(text: bytes, tree: Path) -> None:
    Path("list.txt").write_bytes(text)
    with pytest.raises(UsageError, match="zero bytes"):
        collect_inputs([], "list.txt")


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "a\0b.mp4", "loop.mp4", ""])
def test_a_name_that_names_nothing(name: str, tree: Path) -> None:
    Path("loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(UsageError, match="no such file or folder"):
        collect_inputs([name])


def test_a_list_that_is_not_there(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"no-list\.txt"):
        collect_inputs([], "no-list.txt")
