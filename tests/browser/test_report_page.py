"""The HTML report in a real browser: what a person sees, clicks and types; names that try to break out."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.records import HOSTILE, failure, long_prediction, prediction
from videomae_cli.cli.output import RecordOutput
from videomae_cli.report.html import PageRenderer

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium, or no chromedriver, on this machine")

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1300,900"
)
RECORDS = [
    *(prediction(f"in/run_{k:03d}.mp4", "running", "walking", score=0.5 + k / 1000) for k in range(90)),
    *(prediction(f"in/sing_{k}.mp4", "singing", "running", warnings=("padded: short",)) for k in range(7)),
    *(prediction(name, name) for name in HOSTILE),
    *(failure(f"in/bad_{k}.mp4") for k in range(3)),
    *(failure(name, name) for name in HOSTILE[:2]),
    long_prediction("in/long.mp4", "running", None, "swimming"),
]
NUM_BAD = 5


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "out.html"
    renderer = PageRenderer("Labels of a test", {"Model": HOSTILE[0]}, num_inputs=len(RECORDS) + 2, num_skipped=4)
    with RecordOutput(renderer, path) as out:
        for record in RECORDS:
            out.write(record)
    return path


class Report:
    """The open page, in terms of what is on it."""

    def __init__(self, browser: object) -> None:
        self.driver = browser

    def all(self, selector: str) -> list[object]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> object:
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        return [element.get_property("textContent") for element in self.all(selector)]

    @property
    def shown(self) -> str:
        return self.one("#shown").text

    def press(self, list_: str, name: str) -> None:
        (button,) = [b for b in self.all(f"#{list_} .choice") if b.get_attribute("title") == name]
        button.click()


@pytest.fixture
def report(browser: object, path: Path) -> Report:
    browser.get(path.as_uri())
    return Report(browser)


def test_the_head_counts_and_the_first_cards_are_there(report: Report) -> None:
    num_good = len(RECORDS) - NUM_BAD
    told = f"{num_good} classified, {NUM_BAD} failed; 4 more were done by an earlier run and are not shown"
    assert report.one("#counts").text == f"{told}; interrupted, 2 of {len(RECORDS) + 2} are left"
    assert report.shown == f"{len(RECORDS)} videos"
    assert report.texts("h3")[0] == "in/run_000.mp4"
    assert report.texts(".card:first-child .scores .name") == ["running", "walking"]
    sizes = report.driver.execute_script(
        "return [...document.querySelectorAll('.card:first-child img')].map((i) => [i.naturalWidth, i.naturalHeight])"
    )
    assert sizes == [[64, 48]] * 4


def test_scrolling_brings_all_cards(report: Report) -> None:
    assert 0 < len(report.all(".card")) < len(RECORDS)
    to_the_end = "scrollTo(0, document.body.scrollHeight); return document.querySelectorAll('.card').length"
    WebDriverWait(report.driver, 60).until(lambda driver: driver.execute_script(to_the_end) == len(RECORDS))
    assert not report.one("#more").is_displayed()
    assert report.texts("h3")[-1] == "in/long.mp4"


def test_a_label_is_a_filter(report: Report) -> None:
    report.press("labels", "singing")
    assert report.shown == f"7 of {len(RECORDS)} videos"
    assert report.texts("h3") == [f"in/sing_{k}.mp4" for k in range(7)]
    report.press("labels", "swimming")  # a label of a segment; labels add up
    assert report.texts("h3")[7:] == ["in/long.mp4"]
    report.press("labels", "singing")
    assert report.texts("h3") == ["in/long.mp4"]
    report.one("#reset").click()
    assert report.shown == f"{len(RECORDS)} videos"
    assert not report.all("[aria-pressed=true]")


def test_text_is_a_filter(report: Report) -> None:
    report.one("#text").send_keys("SING_ padded")
    assert report.shown == f"7 of {len(RECORDS)} videos"
    report.one("#text").send_keys(" sing_3")
    assert report.texts("h3") == ["in/sing_3.mp4"]
    report.one("#text").send_keys(" nowhere")
    assert report.shown == "Nothing matches"
    assert not report.all(".card")


def test_failures_are_listed(report: Report) -> None:
    report.press("failures", "not_video")
    assert report.texts(".card .kind") == ["not_video"] * NUM_BAD
    assert report.texts("h3")[:3] == [f"in/bad_{k}.mp4" for k in range(3)]
    assert report.texts(".message")[0] == "'in/bad_0.mp4': it is no video"
    report.driver.refresh()
    choose(report, "show", "error")
    assert len(report.all(".failed")) == len(report.all(".card")) == NUM_BAD


def choose(report: Report, field: str, value: str) -> None:
    report.one(f"#{field} option[value={value}]").click()


def test_the_doubtful_come_first_when_asked(report: Report) -> None:
    report.one("#text").send_keys("run_")
    choose(report, "sort", "certain")
    assert report.texts("h3")[:2] == ["in/run_089.mp4", "in/run_088.mp4"]
    choose(report, "sort", "doubtful")
    assert report.texts("h3")[:2] == ["in/run_000.mp4", "in/run_001.mp4"]


def test_hostile_names_are_text(report: Report) -> None:
    assert report.driver.title == "Labels of a test"
    choose(report, "sort", "path")
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[5]):
        field = report.one("#text")
        field.clear()
        field.send_keys(name)
        assert name in report.texts("h3")
    assert report.driver.title == "Labels of a test"
    assert not report.all("main script, main iframe, img[src=x]")
    field.clear()
    field.send_keys(r"\u202egpj")  # what would turn the rest of the line around is spelt out
    assert report.texts("h3") == [r"a\nb\t\x1b[31m\u202egpj.mp4"]


def test_nothing_is_asked_of_the_network_and_nothing_goes_wrong(report: Report) -> None:
    asked = report.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [url for url in asked if not url.startswith("data:")] == []
    assert report.driver.get_log("browser") == []


def test_a_timeline_tells_its_segments_by_pointer_and_keyboard(report: Report) -> None:
    report.one("#text").send_keys("long.mp4")
    segments = report.all(".strip span")
    assert [s.get_attribute("aria-label") for s in segments] == [
        "00:00.0 – 00:10.0  running  0.50",
        "00:10.0 – 00:20.0  no label",
        "00:20.0 – 00:30.0  swimming  0.50",
    ]
    widths = [segment.size["width"] for segment in segments]
    assert max(widths) - min(widths) <= 2
    assert report.texts(".legend li") == ["running00:10.0", "no label00:10.0", "swimming00:10.0"]
    webdriver.ActionChains(report.driver).move_to_element(segments[2]).perform()
    assert "swimming" in report.one(".reading").text
    report.driver.execute_script("arguments[0].focus()", segments[0])
    webdriver.ActionChains(report.driver).send_keys("\ue014").perform()  # arrow right
    assert report.driver.switch_to.active_element == segments[1]
    assert "no label" in report.one(".reading").text


def test_every_field_has_a_label_and_the_headings_are_in_order(report: Report) -> None:
    for field in report.all("input, select"):
        assert field.accessible_name
    levels = [int(h.tag_name[1]) for h in report.all("h1, h2, h3") if h.is_displayed()]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 1300), ("light", 390)])
def test_it_looks_like_something(report: Report, tmp_path: Path, scheme: str, width: int) -> None:
    picture = look_at(report, tmp_path / "page.png", scheme, width)
    levels = picture.mean(axis=2)
    assert (np.median(levels) > 128) == (scheme == "light")
    assert len(np.unique(picture @ (65536, 256, 1))) > 50
    assert (np.abs(picture - (0, 90, 200)).max(axis=2) < 40).sum() > 64 * 48  # thumbnails


def look_at(report: Report, file: Path, scheme: str, width: int) -> np.ndarray:
    """A screenshot (H, W, 3), of the page with another width and scheme of colours; nothing sticks out of it."""
    command: Callable[..., object] = report.driver.execute_cdp_cmd
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    command("Emulation.setDeviceMetricsOverride", size)
    command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        assert report.driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert report.driver.save_screenshot(str(file))
    finally:
        command("Emulation.clearDeviceMetricsOverride", {})
        command("Emulation.setEmulatedMedia", {"features": []})
    return np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB"), float)
