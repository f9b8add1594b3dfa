"""The HTML report as text: one page, whole wherever it ends, in which nothing hostile is markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.records import HOSTILE, failure, jpeg, long_prediction, prediction
from videomae_cli.cli.output import RecordOutput
from videomae_cli.inference.records import Record
from videomae_cli.report.html import PageRenderer


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and the content of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.contents: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.contents:
            self.contents[self._open].append(data)

    @property
    def records(self) -> list[dict[str, Any]]:
        kinds = [attributes.get("class") for tag, attributes in self.elements if tag == "script"]
        return [json.loads(c) for kind, c in zip(kinds, self.contents["script"], strict=True) if kind == "record"]


def page_of(*records: Record, title: str = "Labels", **about: str) -> str:
    renderer = PageRenderer(title, about, num_inputs=len(records))
    return "".join([renderer.head(), *map(renderer.record, records), renderer.tail()])


def test_a_page_holds_what_was_said_of_each_video() -> None:
    page = Page(page_of(prediction("in/a.mp4", "running", "walking", warnings=("padded: short",)), failure("b.mp4")))
    good, bad = page.records
    assert good["path"] == "in/a.mp4"
    assert good["predictions"] == [{"label": "running", "score": 0.75}, {"label": "walking", "score": 0.375}]
    assert good["thumbnails"] == [[n, base64.b64encode(jpeg(n)).decode()] for n in (0, 4, 8, 12)]
    assert good["warnings"] == ["padded: short"]
    assert bad == {"path": "b.mp4", "status": "error", "kind": "not_video", "message": "'b.mp4': it is no video"}


def test_a_long_video_has_its_segments() -> None:
    (record,) = Page(page_of(long_prediction("a.mp4", "running", None))).records
    assert record["segments"] == [[0.0, 10.0, "running", 0.5], [10.0, 20.0, None, None]]
    assert "windows" not in record


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_labels_are_never_markup(name: str) -> None:
    harmless = Page(page_of(prediction("a", "b"), failure("c"), long_prediction("d", "e"), about="f"))
    text = page_of(prediction(name, name), failure(name, name), long_prediction(name, name), title=name, about=name)
    page = Page(text)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert text.isascii() or not re.search("[\u2028\u2029\u202e]", text)
    assert text.encode()  # no lone surrogates
    shown = [record["path"] for record in page.records]
    assert len(set(shown)) == 1
    assert shown[0] == name or "\\" in shown[0]


def test_the_policy_lets_only_the_script_and_the_style_of_the_page_through() -> None:
    page = Page(page_of(prediction("a.mp4", "running")))
    (policy,) = [a["content"] or "" for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind, content in (("script", page.contents["script"][-1]), ("style", page.contents["style"][0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    asked = [
        a for _, a in page.elements for name in ("src", "href", "action") if not (a.get(name) or "#").startswith("#")
    ]
    assert not asked


def test_no_page_is_there_before_it_is_whole_and_one_is_after_an_interruption(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    renderer = PageRenderer("Labels", {}, num_inputs=3)
    with pytest.raises(KeyboardInterrupt), RecordOutput(renderer, path) as out:
        out.write(prediction("a.mp4", "running"))
        out.write(failure("b.mp4"))
        assert not path.exists()
        (unfinished,) = tmp_path.iterdir()
        assert len(Page(unfinished.read_text()).records) == 2  # written as they come
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["out.html"]
    text = path.read_text()
    assert len(Page(text).records) == 2
    assert '{"num_inputs":3,"num_skipped":0}' in text
    assert text.endswith("</html>\n")


def test_memory_does_not_grow_with_the_page(tmp_path: Path) -> None:
    record = prediction("a.mp4", "running")
    with RecordOutput(PageRenderer("Labels", {}, num_inputs=500), tmp_path / "out.html") as out:
        tracemalloc.start()
        for _ in range(500):
            out.write(record)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (tmp_path / "out.html").stat().st_size > 500_000
    assert peak < 100_000
