"""The index of an mp4 or mov file tells what its packets tell, or is not used; and what a picture's bytes tell."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Stream

from tests.unit.test_reader_formats import FORMATS, OPEN_GOP, X265
from tests.videos import hide_first_frames, reference_decode, write_video
from videomae_cli.video import index, reader
from videomae_cli.video.index import PacketIndex
from videomae_cli.video.reader import VideoReader

FAST_START = {"container_options": {"movflags": "faststart"}}


def scanned(path: Path, monkeypatch: pytest.MonkeyPatch, *, by_table: bool = True) -> tuple[PacketIndex, int]:
    """What a scan tells, and how many packets of video it took."""
    packets: list[av.Packet[Stream]] = []
    demux = index.demux

    def counted(*arguments: Any) -> Any:
        for packet in demux(*arguments):
            packets.append(packet)
            yield packet

    with monkeypatch.context() as patched:
        patched.setattr(index, "demux", counted)
        if not by_table:
            patched.setattr(index, "_from_table", lambda *args: [])
        with VideoReader(path) as video:
            return video._index, len(packets)


# ---- the table tells it all ------------------------------------------------------------------------------------------

TABULATED: dict[str, dict[str, Any]] = {
    **{name: FORMATS[name] for name in ("h264.mp4", "h264.mov", "no_b_frames.mp4", "long_gop.mp4", "all_key.mp4")},
    **{name: FORMATS[name] for name in ("irregular.mp4", "late_start.mp4", "open_gop_hevc.mp4", "ten_bit.mp4")},
    "fast_start.mp4": {**FAST_START, "audio": True},
    "negative_offsets.mp4": {"container_options": {"movflags": "negative_cts_offsets"}},
    "leading.mp4": {"codec": "libx265", "options": {"x265-params": f"{X265}:open-gop=0:radl=2:b-adapt=0"}},
    "slices.mp4": {"options": {"x264-params": "slices=4"}, "width": 128, "height": 128},
}


@pytest.mark.parametrize("name", TABULATED)
def test_a_plain_table_is_the_same_as_all_packets(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / name, 90, **TABULATED[name])
    by_packets, num_packets = scanned(path, monkeypatch, by_table=False)
    assert num_packets == by_packets.num_frames == 90
    assert scanned(path, monkeypatch) == (by_packets, 32)


# ---- the table does not tell it all ----------------------------------------------------------------------------------


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


def patch(path: Path, box: bytes, offset: int, value: int) -> None:
    """Overwrites 32 bits of the first box of this kind; the offset counts from the end of its name."""
    data = bytearray(path.read_bytes())
    place = data.index(box) + 4 + offset
    data[place : place + 4] = value.to_bytes(4, "big")
    path.write_bytes(data)


NOT_TOLD: dict[str, tuple[dict[str, Any], Callable[[Path], object]]] = {
    "trimmed.mp4": ({}, lambda path: hide_first_frames(path, num_hidden=17)),
    "two_edits.mp4": (FORMATS["late_start.mp4"], lambda path: patch(path, b"elst", 12, 45 * 640)),
    "fragments.mp4": (FORMATS["fragments.mp4"], lambda path: None),
    "cut.mp4": (FAST_START, cut_off),
    "cut_with_sound.mp4": ({**FAST_START, "audio": True}, cut_off),
    "sync_sample_that_is_none.mp4": ({}, lambda path: patch(path, b"stss", 12, 18)),
    "shown_before_the_start.mp4": ({}, lambda path: patch(path, b"ctts", 8 + 8 * 40 + 4, 2**32 - 60_000)),
    "recovery_points.mp4": ({"options": {"x264-params": OPEN_GOP}}, lambda path: None),
    "av1.mp4": ({"codec": "libsvtav1"}, lambda path: None),
    "mpeg4.mp4": ({"codec": "mpeg4", "options": {"bf": "2"}}, lambda path: None),
    "prores.mov": (FORMATS["prores.mov"], lambda path: None),
}


@pytest.mark.parametrize("name", NOT_TOLD)
def test_no_other_table_is_used(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how, spoil = NOT_TOLD[name]
    path = write_video(tmp_path / name, 90, **how)
    spoil(path)
    by_packets = scanned(path, monkeypatch, by_table=False)
    assert by_packets[1] > 32
    assert scanned(path, monkeypatch) == by_packets


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mov", "late_start.mp4", "open_gop_hevc.mp4"])
def test_whatever_a_table_says_packets_say_it_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables with random faults, each read both ways; the demuxer believes the same table."""
    data = write_video(tmp_path / name, 90, **FORMATS[name]).read_bytes()  # type: ignore[arg-type]
    tables = [
        (match.end(), match.start() - 4 + int.from_bytes(data[match.start() - 4 : match.start()], "big"))
        for match in re.finditer(b"elst|stts|ctts|stss|stsz|stsc|stco|mdhd|mvhd", data)
    ]
    path = tmp_path / f"spoilt_{name}"
    chance = random.Random(0)
    num_used = 0
    for _ in range(60):
        spoilt = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(*chance.choice(tables))
            spoilt[place] = chance.choice([0, 1, 2, 255, spoilt[place] ^ 1, chance.randrange(256)])
        path.write_bytes(spoilt)
        try:
            by_packets, num_packets = scanned(path, monkeypatch, by_table=False)
        except reader.VideoError:
            continue
        by_table, num_read = scanned(path, monkeypatch)
        num_used += num_read < num_packets
        # A keyframe that is missing in the table costs time, no frame.
        assert replace(by_table, keyframes=()) == replace(by_packets, keyframes=())
        assert set(by_table.keyframes) <= set(by_packets.keyframes)
    assert num_used >= 10


def test_a_keyframe_missing_in_the_table_changes_no_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "keyframes.mp4", 90)
    patch(path, b"stss", 4, 7)  # of 8
    told, num_read = scanned(path, monkeypatch)
    assert (len(told.keyframes), num_read) == (7, 32)
    reference, _ = reference_decode(path)
    with VideoReader(path) as video:
        for number in (80, 84, 85, 89):
            assert np.array_equal(video.read([number]).frames[0], reference[number])
