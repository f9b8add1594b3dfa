"""Makes a page of many records with thumbnails of real frames, opens it in chromium, and says what that costs.

    python scripts/report_of_5000.py FOLDER [--num-records 5000] [--clips demo]

Needs Debian's chromium and chromium-driver, and selenium. Leaves report.html and pictures of it in FOLDER.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from videomae_cli import probe, read_frames
from videomae_cli.cli.output import RecordOutput
from videomae_cli.errors import VideoError
from videomae_cli.inference.records import Failure, Prediction, Record, SampledFrames, ScoredLabel
from videomae_cli.report.html import NUM_THUMBNAILS, PageRenderer
from videomae_cli.video.thumbnails import make_thumbnails

ROOT = Path(__file__).parents[1]
BROWSER = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)


def main() -> None:
    """Write, open, measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num-records", type=int, default=5000)
    parser.add_argument("--clips", type=Path, default=ROOT / "demo")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    page = options.folder / "report.html"
    found = patterns(options.clips)
    begin = time.perf_counter()
    about = {"Model": "random labels", "Sampling": "1x1 views, stride 4", "By": Path(__file__).name}
    with RecordOutput(PageRenderer("Video labels", about, num_inputs=options.num_records), page) as out:
        for record in records(found, options.num_records):
            out.write(record)
    seconds = time.perf_counter() - begin
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size_mb = page.stat().st_size / 1e6
    print(f"{options.num_records} records: {size_mb:.1f} MB in {seconds:.1f} s, peak {peak_mib:.0f} MiB")
    measure(page)


def patterns(clips: Path) -> list[Prediction]:
    """A record of each video in a folder, with its thumbnails and no labels."""
    found = []
    for path in sorted(clips.iterdir()):
        try:
            info = probe(path)
        except VideoError:
            continue
        numbers = [info.num_frames * k // 16 for k in range(16)]
        thumbnails = make_thumbnails(read_frames(path, numbers).frames, numbers, NUM_THUMBNAILS)
        sampling = SampledFrames("1x1", 4, (tuple(numbers),))
        found.append(Prediction(str(path), (), sampling, info, thumbnails=thumbnails))
    return found


def records(patterns: list[Prediction], num_records: int) -> Iterator[Record]:
    """Many records: the patterns with random labels, and a failure now and then."""
    draw = random.Random(0)
    labels = (resources.files("videomae_cli") / "assets/labels/kinetics400.txt").read_text().splitlines()
    frequent = [draw.paretovariate(1.1) for _ in labels]
    for number in range(num_records):
        name = f"archive/{draw.choice(['north', 'south', 'yard'])}/2026-11-{number % 28 + 1:02d}/clip_{number:05d}.mp4"
        if draw.random() < 0.02:
            kind = draw.choice(["not_video", "truncated", "no_video", "timeout"])
            yield Failure(name, kind, f"{name!r} cannot be read: {kind}")
            continue
        scores, left = [], 1.0
        for _ in range(5):
            scores.append(left * draw.betavariate(2.2, 1))
            left -= scores[-1]
        best = dict.fromkeys(draw.choices(range(len(labels)), frequent, k=40))
        told = zip(list(best)[:5], sorted(scores, reverse=True), strict=False)
        pattern = draw.choice(patterns)
        warnings = ("padded: the video has 30 frames, a view spans 64; its last frame is repeated",)
        yield replace(
            pattern,
            path=name,
            predictions=tuple(ScoredLabel(labels[index], index, score) for index, score in told),
            warnings=warnings if draw.random() < 0.1 else (),
        )


def measure(page: Path) -> None:
    """Open a page, filter it, and take pictures of it."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        for argument in [*BROWSER.split(), f"--user-data-dir={profile}"]:
            options.add_argument(argument)
        browser = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        try:
            begin = time.perf_counter()
            browser.get(page.resolve().as_uri())
            WebDriverWait(browser, 60).until(lambda b: b.find_elements("css selector", ".card"))
            print(f"opened in {time.perf_counter() - begin:.2f} s")
            heap = browser.execute_script("return performance.memory.usedJSHeapSize") / 2**20
            print(f"script memory {heap:.0f} MiB; {browser.find_element('id', 'shown').text}")
            for text in ("eating", "clip_04999", "north 2026-11-07", ""):
                print(f"filter {text!r}: {filter_ms(browser, text):.1f} ms, {browser.find_element('id', 'shown').text}")
            for name, width, scheme in (("light", 1400, "light"), ("dark", 1400, "dark"), ("phone", 390, "light")):
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                feature = {"name": "prefers-color-scheme", "value": scheme}
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
                browser.save_screenshot(str(page.with_name(f"{name}.png")))
        finally:
            browser.quit()


def filter_ms(browser: webdriver.Chrome, text: str) -> float:
    """Time from the input to the next picture."""
    script = """
        const [text, done] = arguments, field = document.getElementById("text"), begin = performance.now();
        field.value = text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));
    """
    return float(browser.execute_async_script(script, text))


if __name__ == "__main__":
    main()
