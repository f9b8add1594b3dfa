"""Records in every output format."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from videomae_cli.inference.records import Failure, Prediction, SampledFrames, ScoredLabel
from videomae_cli.report.formats import FORMATS, SUBTITLES, Renderer
from videomae_cli.report.text import printable
from videomae_cli.video.reader import VideoInfo

GOOD = Prediction(
    path="a dir/naïve, \udcff\n.mp4",
    predictions=(ScoredLabel("eating spaghetti", 101, 0.9312345678), ScoredLabel('say "hi"', 7, 0.05)),
    sampling=SampledFrames("1x1", 4, ((118, 122),)),
    video=VideoInfo(num_frames=300, fps=30.0, duration_seconds=10.0, width=640, height=360, codec="h264", rotation=0),
    warnings=("padded",),
)
BAD = Failure("b.mp4", "no_video", "it holds sound only")


def render(name: str, *records: Prediction | Failure) -> str:
    renderer = Renderer(name)  # type: ignore[arg-type]
    return "".join([renderer.head(), *map(renderer.record, records), renderer.tail()])


def test_jsonl() -> None:
    good, bad = render("jsonl", GOOD, BAD).splitlines()
    assert json.loads(good) == {
        "path": GOOD.path,
        "status": "ok",
        "predictions": [
            {"label": "eating spaghetti", "index": 101, "score": 0.931235},
            {"label": 'say "hi"', "index": 7, "score": 0.05},
        ],
        "sampling": {"views": "1x1", "stride": 4, "frames": [[118, 122]]},
        "video": {
            "num_frames": 300,
            "fps": 30.0,
            "duration_seconds": 10.0,
            "width": 640,
            "height": 360,
            "codec": "h264",
            "rotation": 0,
        },
        "warnings": ["padded"],
    }
    assert json.loads(bad) == {
        "path": "b.mp4",
        "status": "error",
        "kind": "no_video",
        "message": "it holds sound only",
    }


@pytest.mark.parametrize("records", [(), (GOOD,), (BAD, GOOD, BAD)], ids=len)
def test_json_is_one_array(records: tuple[Prediction | Failure, ...]) -> None:
    text = render("json", *records)
    assert [record["path"] for record in json.loads(text)] == [record.path for record in records]
    assert text.endswith("]\n")


def test_csv() -> None:
    rows = list(csv.reader(io.StringIO(render("csv", GOOD, BAD), newline="")))
    escaped = "a dir/naïve, \\udcff\n.mp4"
    assert rows == [
        ["path", "status", "rank", "label", "score", "error"],
        [escaped, "ok", "1", "eating spaghetti", "0.931235", ""],
        [escaped, "ok", "2", 'say "hi"', "0.050000", ""],
        ["b.mp4", "error", "", "", "", "no_video: it holds sound only"],
    ]


def test_csv_quotes_every_line_break() -> None:
    text = render("csv", Failure("a\rb\nc.mp4", "empty", "x"))
    assert text == 'path,status,rank,label,score,error\n"a\rb\nc.mp4",error,,,,empty: x\n'


def test_piped_text() -> None:
    assert render("text", GOOD, BAD) == (
        'a dir/naïve, \\udcff\\n.mp4\teating spaghetti\t0.9312\na dir/naïve, \\udcff\\n.mp4\tsay "hi"\t0.0500\n'
    )


def test_the_table_on_a_terminal() -> None:
    renderer = Renderer("text", Console(width=60, color_system=None))
    assert [line.rstrip() for line in renderer.record(GOOD).splitlines()] == [
        "a dir/naïve, \\udcff\\n.mp4",
        "0.9312  ━━━━━━━━━━━━━━━━━━━─  eating spaghetti",
        '0.0500  ━───────────────────  say "hi"',
        "",
    ]
    assert renderer.record(BAD) == ""


@pytest.mark.parametrize("name", sorted({*FORMATS} - {"parquet", *SUBTITLES}))
def test_every_format_is_utf8(name: str) -> None:
    assert render(name, GOOD, BAD).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.mp4", "plain.mp4"),
        ("你好 naïve.mp4", "你好 naïve.mp4"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\udcff", "\\udcff"),
        ("\u202e", "\\u202e"),  # right-to-left override
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
