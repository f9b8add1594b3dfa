"""The cases of the reliability promise that `classify` meets, through the command line, each with its exit code.

Numbers are those of the promise. The checkpoint is small and random; the files are real.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from tests.checkpoints import change_config, change_tensors
from tests.conftest import Ended
from tests.videos import (
    spoil_packets,
    write_audio_only,
    write_cover_art_only,
    write_huge_gif,
    write_image,
    write_playlist,
    write_random_bytes,
    write_size_change,
    write_text,
    write_truncated,
    write_video,
    write_without_moov,
)
from videomae_cli.errors import MachineError, UsageError
from videomae_cli.inference import device
from videomae_cli.inference.device import check_dtype
from videomae_cli.inference.ledger import read_ledger
from videomae_cli.video import reader

Run = Callable[..., Ended]


def records(ended: Ended) -> list[dict]:
    return [json.loads(line) for line in ended.out.splitlines()]


# ---- one bad file: an error record, exit 1 ----


def spoil_everything(path: Path) -> Path:
    return spoil_packets(write_video(path, 12), range(12))


BAD_FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "1 zero byte": ("a.mp4", lambda p: p.write_bytes(b""), "empty"),
    "2 text": ("a.mp4", write_text, "not_video"),
    "3 random bytes": ("a.mp4", write_random_bytes, "not_video"),
    "4 mp4 without moov": ("a.mp4", write_without_moov, "damaged"),
    "5 audio only": ("a.m4a", write_audio_only, "no_video"),
    "6 cover art only": ("a.mp3", write_cover_art_only, "no_video"),
    "9 nothing decodable": ("a.mp4", spoil_everything, "damaged"),
    "13 decompression bomb": ("a.gif", write_huge_gif, "too_large"),
    "15 still image": ("a.png", write_image, "image"),
    "17 playlist": ("a.m3u8", lambda p: write_playlist(p, p.with_name("b.mp4")), "refused"),
    "17 concat": ("a.ffconcat", lambda p: write_playlist(p, p.with_name("b.mp4")), "refused"),
    "17 session description": ("a.sdp", lambda p: write_playlist(p, p.with_name("b.mp4")), "refused"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_an_error_record(case: str, tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    name, make, kind = BAD_FILES[case]
    write_video(tmp_path / "b.mp4")
    make(tmp_path / name)
    ended = videomae("classify", tmp_path / name, tmp_path / "b.mp4", "-m", checkpoint, "-f", "jsonl")
    first, second = records(ended)
    assert ended.code == 1
    assert (first["path"], first["status"], first["kind"]) == (str(tmp_path / name), "error", kind)
    assert second["status"] == "ok"
    assert f"error: {first['message']}\n" in ended.err
    assert name in first["message"]


def test_13_max_pixels(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4", width=64, height=48)
    assert videomae("classify", video, "-m", checkpoint, "--max-pixels", 64 * 48).code == 0
    ended = videomae("classify", video, "-m", checkpoint, "--max-pixels", 64 * 48 - 1, "-f", "jsonl")
    assert ended.code == 1
    assert records(ended)[0]["kind"] == "too_large"


def test_15_images_are_taken_when_asked_for(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    write_image(tmp_path / "a.png")
    ended = videomae("classify", tmp_path, "-m", checkpoint, "--allow-images", "-f", "jsonl")
    (record,) = records(ended)
    assert ended.code == 0
    assert record["sampling"]["frames"] == [[0] * 16]


@pytest.mark.parametrize("error", [KeyError("bug"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bug")], ids=repr)
def test_10_a_demuxer_that_raises_anything(
    error: Exception, tmp_path: Path, checkpoint: Path, videomae: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is known that makes FFmpeg do it every time, so the scan of one file raises in its place."""
    real = reader.scan

    def scan(container: av.container.InputContainer, *rest: Any) -> Any:
        if container.name.endswith("bad.mp4"):
            raise error
        return real(container, *rest)

    monkeypatch.setattr(reader, "scan", scan)
    bad, good = write_video(tmp_path / "bad.mp4", 4), write_video(tmp_path / "good.mp4", 4)
    ended = videomae("classify", bad, good, "-m", checkpoint, "-f", "jsonl")
    assert ended.code == 1
    assert [(r["status"], r.get("kind")) for r in records(ended)] == [("error", "damaged"), ("ok", None)]


def test_15_the_hint_of_an_error_is_told(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    write_image(tmp_path / "a.png")
    ended = videomae("classify", tmp_path / "a.png", "-m", checkpoint)
    assert ended.err.splitlines()[1].startswith("hint: Pass --allow-images")


# ---- damaged, but a video: classified with a warning, exit 0; --strict 1 ----

DAMAGED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "7 truncated mp4": ("a.mp4", write_truncated, "truncated"),
    "7 truncated mkv": ("a.mkv", write_truncated, "truncated"),
    "8 corrupt packets": ("a.mp4", lambda p: spoil_packets(write_video(p, 90, gop=10), [33, 34]), "corrupt"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_video_is_classified_with_a_warning(
    case: str, tmp_path: Path, checkpoint: Path, videomae: Run
) -> None:
    name, make, kind = DAMAGED[case]
    make(tmp_path / name)
    lenient = videomae("classify", tmp_path / name, "-m", checkpoint, "-f", "jsonl")
    assert lenient.code == 0
    assert any(warning.startswith(kind) for warning in records(lenient)[0]["warnings"])
    strict = videomae("classify", tmp_path / name, "-m", checkpoint, "-f", "jsonl", "--strict")
    assert strict.code == 1
    assert records(strict)[0]["kind"] == kind


@pytest.mark.parametrize("num_frames", [1, 5, 15, 40])
def test_14_short_videos_are_padded_and_marked(
    num_frames: int, tmp_path: Path, checkpoint: Path, videomae: Run
) -> None:
    video = write_video(tmp_path / "a.mp4", num_frames)
    ended = videomae("classify", video, "-m", checkpoint, "-f", "jsonl")
    (record,) = records(ended)
    (frames,) = record["sampling"]["frames"]
    assert ended.code == 0
    assert len(frames) == 16
    assert frames == sorted(frames)
    assert frames[-1] == num_frames - 1
    assert record["warnings"] == [
        f"padded: the video has {num_frames} frames, a view spans 64; its last frame is repeated"
    ]


def test_16_size_changes_mid_stream(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video = write_size_change(tmp_path / "a.ts", 40)
    ended = videomae("classify", video, "-m", checkpoint, "-f", "jsonl", "--views", "1x3")
    assert ended.code == 0
    assert records(ended)[0]["status"] == "ok"


# ---- names ----

ODD_NAMES = [
    b"12:30 clip.mp4",
    b"-leading-dash.mp4",
    b"new\nline.mp4",
    b"tab\tand\x1b[31mred.mp4",
    "\u4f60\u597d \U0001f600.mp4".encode(),
    b"not-utf8-\xff\xfe.mp4",
    b"http:x.mp4",
    b"%03d.mp4",
    b"[bracket]*.mp4",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
def test_18_odd_names(name: bytes, tmp_path: Path, checkpoint: Path, videomae: Run, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.rename(write_video(tmp_path / "plain.mp4"), os.fsencode(tmp_path) + b"/" + name)
    ended = videomae("classify", "-m", checkpoint, "-f", "jsonl", "--", os.fsdecode(name))
    (record,) = records(ended)
    assert ended.code == 0
    assert os.fsencode(record["path"]) == name  # lossless
    text = videomae("classify", "-m", checkpoint, "-k", 3, "--", os.fsdecode(name))
    assert [line.count(b"\t") for line in text.out.splitlines()] == [2, 2, 2]  # one line a label, whatever the name
    assert b"\x1b" not in text.out
    assert text.out.decode("utf-8")


# ---- what is asked for ----


def test_19_a_missing_named_path_is_a_usage_error_before_the_model_loads(tmp_path: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    ended = videomae("classify", video, tmp_path / "nope.mp4", "-m", tmp_path / "no-model")
    assert ended.code == 2
    assert "nope.mp4" in ended.err
    assert "no-model" not in ended.err
    assert ended.out == b""


def test_20_a_missing_path_in_a_list_is_a_record(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'nope.mp4'}\n\n{video}\n")
    ended = videomae("classify", "--files-from", tmp_path / "list.txt", "-m", checkpoint, "-f", "jsonl")
    assert ended.code == 1
    assert [(r["status"], r.get("kind")) for r in records(ended)] == [("error", "missing"), ("ok", None)]


def drop_override() -> None:
    """Even for root, permissions count again (PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (1, 2):
            assert libc.prctl(24, capability, 0, 0, 0) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="drops capabilities by a Linux call")
def test_21_22_unreadable_file_and_folder(tmp_path: Path, checkpoint: Path, videomae_process: Run) -> None:
    write_video(tmp_path / "tree" / "c.mp4")
    write_video(tmp_path / "tree" / "locked" / "a.mp4")
    forbidden = write_video(tmp_path / "tree" / "b.mp4")
    forbidden.chmod(0)
    (tmp_path / "tree" / "locked").chmod(0)
    try:
        ended = videomae_process(
            "classify", tmp_path / "tree", "-m", checkpoint, "-f", "jsonl", preexec_fn=drop_override
        )
    finally:
        (tmp_path / "tree" / "locked").chmod(0o755)
    assert ended.code == 1
    found = {Path(r["path"]).name: (r["status"], r.get("kind")) for r in records(ended)}
    assert found == {"b.mp4": ("error", "unreadable"), "locked": ("error", "unreadable"), "c.mp4": ("ok", None)}


def test_23_a_symlink_loop_is_walked_once(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    write_video(tmp_path / "tree" / "deep" / "a.mp4")
    (tmp_path / "tree" / "deep" / "up").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "self").symlink_to(tmp_path / "tree" / "self")
    ended = videomae("classify", tmp_path / "tree", "-m", checkpoint, "-f", "jsonl")
    assert ended.code == 0
    assert [r["path"] for r in records(ended)] == [str(tmp_path / "tree" / "deep" / "a.mp4")]


def test_24_pipes_and_sockets(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "tree" / "a.mp4")
    os.mkfifo(tmp_path / "tree" / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "tree" / "socket.mp4"))
        folder = videomae("classify", tmp_path / "tree", "-m", checkpoint, "-f", "jsonl")
        assert folder.code == 0
        assert [r["path"] for r in records(folder)] == [str(video)]
        for named in (tmp_path / "tree" / "pipe.mp4", tmp_path / "tree" / "socket.mp4", Path("/dev/null")):
            ended = videomae("classify", named, "-m", checkpoint)
            assert ended.code == 2
            assert str(named) in ended.err


def test_25_nothing_to_classify(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    assert videomae("classify", tmp_path / "empty", "-m", checkpoint).code == 2
    assert videomae("classify", tmp_path, "-m", checkpoint).code == 2
    assert videomae("classify", str(tmp_path / "*.mp4"), "-m", checkpoint).code == 2
    nothing = videomae("classify", "-m", checkpoint)
    assert (nothing.code, nothing.err.splitlines()[0]) == (2, "error: no input is given")


def test_26_a_file_that_grows_while_it_is_read(
    tmp_path: Path, checkpoint: Path, videomae: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes to it between its opening and the reading of its frames."""
    real = reader.VideoReader.read

    def read(self: reader.VideoReader, indices: list[int]) -> Any:
        if Path(str(self._path)).name == "moving.mp4":
            with (tmp_path / "moving.mp4").open("ab") as file:
                file.write(b"more")
        return real(self, indices)

    monkeypatch.setattr(reader.VideoReader, "read", read)
    moving, still = write_video(tmp_path / "moving.mp4", 4), write_video(tmp_path / "still.mp4", 4)
    ended = videomae("classify", moving, still, "-m", checkpoint, "-f", "jsonl")
    assert ended.code == 1
    assert [(r["status"], r.get("kind")) for r in records(ended)] == [("error", "changed"), ("ok", None)]


def test_27_the_same_file_twice(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to(video)
    ended = videomae("classify", video, tmp_path, video, "-m", checkpoint, "-f", "jsonl")
    assert ended.code == 0
    assert [r["path"] for r in records(ended)] == [str(video)]
    assert "once" in ended.err


# ---- where it goes ----


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_28_an_output_that_exists(suffix: str, tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video, output = write_video(tmp_path / "a.mp4"), tmp_path / f"labels.{suffix}"
    output.write_text("precious")
    ended = videomae("classify", video, "-m", tmp_path / "no-model", "-o", output)
    assert ended.code == 2
    assert "--overwrite" in ended.err
    assert output.read_text() == "precious"
    assert videomae("classify", video, "-m", checkpoint, "-o", output, "--overwrite").code == 0
    assert "precious" not in output.read_text()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_28_a_run_that_goes_on(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    first, second = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4")
    output = tmp_path / "labels.jsonl"
    assert videomae("classify", first, "-m", checkpoint, "-o", output).code == 0
    whole = output.read_bytes()
    output.write_bytes(whole + b'{"path": "torn')
    assert videomae("classify", first, second, "-m", checkpoint, "-o", output, "--resume").code == 0
    assert output.read_bytes().startswith(whole)
    assert [json.loads(line)["path"] for line in output.read_text().splitlines()] == [str(first), str(second)]
    again = videomae("classify", first, second, "-m", checkpoint, "-o", output, "--resume", "--device", "nonsense")
    assert again.code == 0  # so no model was loaded
    assert "nothing to do" in again.err


def test_28_an_earlier_failure_still_counts(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    write_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"")
    output = tmp_path / "labels.jsonl"
    for _ in range(2):
        assert videomae("classify", tmp_path, "-m", checkpoint, "-o", output, "--resume").code == 1
    write_video(tmp_path / "c.mp4")
    assert videomae("classify", tmp_path, "-m", checkpoint, "-o", output, "--resume").code == 1
    assert len(output.read_text().splitlines()) == 3


def test_29_an_output_that_cannot_be_written(tmp_path: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    for output in (tmp_path / "no-folder" / "x.jsonl", Path("/proc/x.jsonl")):
        ended = videomae("classify", video, "-m", tmp_path / "no-model", "-o", output)
        assert ended.code == 4
        assert str(output) in ended.err


def test_29_an_output_that_is_no_file(tmp_path: Path, videomae: Run) -> None:
    """A pipe would block, a device would be replaced by a file."""
    video = write_video(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for output in (tmp_path / "pipe", tmp_path / "folder", Path("/dev/null")):
        ended = videomae("classify", video, "-m", tmp_path / "no-model", "-o", output, "-f", "csv", "--overwrite")
        assert ended.code == 4
        assert str(output) in ended.err
    assert Path("/dev/null").is_char_device()


def test_an_output_through_a_link_leaves_the_link(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert videomae("classify", video, "-m", checkpoint, "-o", tmp_path / "link.csv", "--overwrite").code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("path,status")


def test_an_output_that_is_an_input_is_refused(tmp_path: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    (tmp_path / "list.txt").write_text(f"{video}\n")
    before = video.read_bytes()
    for arguments in (
        (video, "-o", video, "-f", "jsonl", "--overwrite"),
        ("--files-from", tmp_path / "list.txt", "-o", tmp_path / "list.txt", "--overwrite"),
    ):
        assert videomae("classify", *arguments, "-m", tmp_path / "no-model").code == 2
    assert video.read_bytes() == before
    assert (tmp_path / "list.txt").read_text() == f"{video}\n"


RECORD = b'{"path": "a.mp4", "status": "ok"}\n'


@pytest.mark.parametrize(
    ("content", "is_ours"),
    [
        (RECORD, True),
        (RECORD + b'{"path": "b', True),
        (RECORD + b'{"pa', True),
        (RECORD + bytes(100), True),
        (b'{"important": 1}', False),
        (RECORD + b"junk", False),
        (b"junk\n" + RECORD, False),
        (b'{"path": 1, "status": "ok"}\n', False),
        (b'{"path": "a.mp4"}\n', False),
        (b"[" * 100_000 + b"\n", False),
        (b"\xff\n", False),
    ],
)
def test_only_a_torn_record_is_cut(content: bytes, is_ours: bool, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(content)
    if is_ours:
        ledger = read_ledger(path)
        assert {name: entry.status for name, entry in ledger.entries.items()} == {"a.mp4": "ok"}
        ledger.cut_torn()
        assert path.read_bytes() == RECORD
    else:
        with pytest.raises(UsageError, match="is not a record"):
            read_ledger(path)
        assert path.read_bytes() == content


def test_31_a_closed_pipe_is_a_silent_0(tmp_path: Path, checkpoint: Path, videomae_process: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "videomae_cli", "classify", str(video), "-m", str(checkpoint), "-f", "jsonl"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


# ---- the machine and the model ----


def overlapping(folder: Path) -> None:
    """Two tensors on the same bytes."""
    entries = {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}
    header = json.dumps(entries).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def bombed(folder: Path) -> None:
    """A pickle that would make a file when it is loaded."""
    (folder / "model.safetensors").unlink()
    torch.save({"model": {"x": torch.zeros(1)}, "args": Bomb(folder / "exploded")}, folder / "bomb.pth")


def with_traversal(folder: Path) -> None:
    """An index that points out of its folder."""
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"a": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def spoil_one_weight(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors["classifier.weight"].fill_(torch.nan))


BAD_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "39 pickle bomb": (bombed, "to load it would run"),
    "40 bad header": (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 99), "header claims"),
    "40 overlap": (overlapping, "invalid offset"),
    "40 short": (lambda f: os.truncate(f / "model.safetensors", 20_000), "header promises"),
    "40 web page": (lambda f: (f / "model.safetensors").write_bytes(b"<!DOCTYPE html><html>"), "web page"),
    "40 LFS pointer": (lambda f: (f / "model.safetensors").write_bytes(b"version https://git-lfs.x\n"), "Git LFS"),
    "41 NaN": (spoil_one_weight, "NaN or infinite values: classifier.weight"),
    "42 missing": (lambda f: change_tensors(f, lambda t: t.pop("fc_norm.weight")), "missing: fc_norm.weight"),
    "42 extra": (lambda f: change_tensors(f, lambda t: t.update(x=torch.zeros(1))), "unexpected: x"),
    "42 shape": (lambda f: change_config(f, patch_size=8), "of another shape"),
    "43 head": (lambda f: change_config(f, id2label={"0": "a"}, label2id={"a": 0}), "classifier.weight"),
    "46 traversal": (with_traversal, "'../model.safetensors'"),
    "absurd width": (lambda f: change_config(f, hidden_size=10**12), "hidden_size"),
    "absurd depth": (lambda f: change_config(f, num_hidden_layers=10**9), "num_hidden_layers"),
    "no head": (lambda f: change_config(f, id2label={}, label2id={}), "classifier"),
    "labels that are none": (lambda f: change_config(f, id2label={"0": ["a"]}), "id2label"),
    "not JSON": (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "bad processor": (lambda f: (f / "preprocessor_config.json").write_text('{"size": -1}'), "size is -1"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_bad_model_is_3(case: str, tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    change, named = BAD_MODELS[case]
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    change(folder)
    ended = videomae("classify", write_video(tmp_path / "a.mp4", 4), "-m", folder)
    assert ended.code == 3
    assert named in ended.err
    assert ended.err.startswith("error: ")
    assert "\nhint: " in ended.err
    assert ended.out == b""
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(
    ("processor", "named"),
    [
        ({"crop_size": 30}, "30 x 30 does not divide into patches"),
        ({"crop_size": 8192}, "tokens, more than"),
        ({"image_mean": [0.5, 0.5]}, "image_mean has 2 values"),
        ({"image_std": 10**400}, "image_std"),
    ],
    ids=str,
)
def test_a_processor_that_does_not_fit_is_3(
    processor: dict[str, object], named: str, tmp_path: Path, checkpoint: Path, videomae: Run
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    ended = videomae("classify", write_video(tmp_path / "a.mp4", 4), "-m", folder)
    assert ended.code == 3
    assert named in ended.err


def test_a_video_that_does_not_fit_the_model_stops_nothing(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    """Without a centre crop the frames' size is the file's business."""
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    (folder / "preprocessor_config.json").write_text('{"size": 32, "do_center_crop": false}')
    wide, square = write_video(tmp_path / "a.mp4", 16, width=80, height=64), write_video(tmp_path / "b.mp4", 16)
    write_video(square, 16, width=64, height=64)
    ended = videomae("classify", wide, square, "-m", folder, "-f", "jsonl")
    assert ended.code == 1
    assert [(r["status"], r.get("kind")) for r in records(ended)] == [("error", "unfit"), ("ok", None)]


def test_a_crop_of_another_size_than_trained_on_is_warned_of(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    (folder / "preprocessor_config.json").write_text('{"size": 64, "crop_size": 64}')
    ended = videomae("classify", write_video(tmp_path / "a.mp4"), "-m", folder)
    assert ended.code == 0
    assert "warning: the processor crops to 64 x 64 px, the model was trained on 32 x 32 px" in ended.err


def test_the_configuration_does_not_change_what_classify_asks_for(
    tmp_path: Path, checkpoint: Path, videomae: Run
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    change_config(folder, return_dict=False, output_attentions=True, output_hidden_states=True)
    video = write_video(tmp_path / "a.mp4", 4)
    assert videomae("classify", video, "-m", folder).out == videomae("classify", video, "-m", checkpoint).out


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_52_a_device_that_is_absent(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    ended = videomae("classify", video, "-m", checkpoint, "--device", "cuda")
    assert ended.code == 4
    assert "hint:" in ended.err
    assert videomae("classify", video, "-m", checkpoint, "--device", "auto").code == 0


@pytest.mark.parametrize("option", ["--device", "--dtype", "--attention"])
def test_53_a_choice_that_is_none(option: str, tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    video = write_video(tmp_path / "a.mp4")
    ended = videomae("classify", video, "-m", checkpoint, option, "nonsense")
    assert ended.code == 2
    assert "nonsense" in ended.err


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_53_what_the_cpu_can_do_works(
    dtype: str, attention: str, tmp_path: Path, checkpoint: Path, videomae: Run
) -> None:
    video = write_video(tmp_path / "a.mp4")
    assert videomae("classify", video, "-m", checkpoint, "--dtype", dtype, "--attention", attention).code == 0


def test_53_a_dtype_that_the_device_cannot_compute_in() -> None:
    """What --dtype offers, every CPU computes in; float8 stands for what an accelerator may lack."""
    with pytest.raises(MachineError, match="cpu does not compute in float8_e4m3fn") as caught:
        check_dtype("float8_e4m3fn", torch.float8_e4m3fn, torch.device("cpu"))
    assert caught.value.exit_code == 4
    assert caught.value.hint


def test_53_a_dtype_that_the_device_lacks_is_4(
    tmp_path: Path, checkpoint: Path, videomae: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(device.DTYPES, "bfloat16", torch.float8_e4m3fn)
    ended = videomae("classify", write_video(tmp_path / "a.mp4", 4), "-m", checkpoint, "--dtype", "bfloat16")
    assert ended.code == 4
    assert "cpu does not compute in bfloat16" in ended.err


def limit_memory() -> None:
    """3 GiB of address space, in the child."""
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))


@pytest.mark.parametrize(("size", "views"), [((1280, 720), "99x1"), ((64, 48), "20x40")])
def test_more_views_than_memory_is_4(
    size: tuple[int, int], views: str, tmp_path: Path, checkpoint: Path, videomae_process: Run
) -> None:
    """1,584 large frames, which the reader would hold; 800 views, which the processor would."""
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    (folder / "preprocessor_config.json").write_text('{"size": 224, "crop_size": 224}')
    video = write_video(tmp_path / "a.mp4", 20, width=size[0], height=size[1])
    ended = videomae_process("classify", video, "-m", folder, "--views", views, preexec_fn=limit_memory)
    assert (ended.code, ended.out) == (4, b"")
    assert "out of memory" in ended.err
    assert "--views" in ended.err


def test_57_logits_that_are_not_finite(tmp_path: Path, checkpoint: Path, videomae: Run) -> None:
    """Finite weights, huge enough that float32 overflows on the way."""
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    change_tensors(folder, lambda tensors: tensors["classifier.weight"].fill_(3e38))
    ended = videomae("classify", write_video(tmp_path / "a.mp4"), "-m", folder, "-f", "jsonl")
    assert ended.code == 1
    assert records(ended)[0]["kind"] == "non_finite"
