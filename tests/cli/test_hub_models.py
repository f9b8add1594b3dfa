"""`videomae classify` with a model from the hub: cases 47 to 51 of the promise, as processes, against a real server.

The public names are served by a loopback hub; nothing leaves this machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import HubServer
from tests.videos import write_video

DEFAULT = "MCG-NJU/videomae-base-finetuned-kinetics"
TOKEN = "hf_neverprintedneverprinted"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", 70)


def classify(video: Path, hub: HubServer, home: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command; it must end within the minute, and never show the token."""
    command = [sys.executable, "-m", "videomae_cli", "classify", str(video), "-f", "jsonl", *options]
    done = subprocess.run(command, env=hub.env(home, **env), capture_output=True, text=True, timeout=60, check=False)
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_47_the_default_model_is_downloaded_once_and_then_works_without_a_network(
    video: Path, checkpoint: Path, tmp_path: Path
) -> None:
    with HubServer() as hub:
        hub.add(DEFAULT, checkpoint)
        first = classify(video, hub, tmp_path)
        assert (first.returncode, json.loads(first.stdout)["status"]) == (0, "ok")
        num_requests = len(hub.requests)
        second = classify(video, hub, tmp_path)
        assert len(hub.requests) == num_requests > 0
    gone = classify(video, hub, tmp_path)
    offline = classify(video, hub, tmp_path, "--offline", "-m", "base-k400")
    for later in (second, gone, offline):
        assert (later.returncode, later.stdout, later.stderr) == (0, first.stdout, "")


@pytest.mark.parametrize("options", [(), ("--offline",)])
def test_48_no_network_and_not_cached(options: tuple[str, ...], video: Path, tmp_path: Path) -> None:
    with HubServer() as hub:
        pass
    done = classify(video, hub, tmp_path, *options)
    assert (done.returncode, done.stdout) == (3, "")
    assert DEFAULT in done.stderr
    for way in ("--offline", "HF_HOME", f"hf download {DEFAULT}", "-m"):
        assert way in done.stderr


def test_49_what_the_hub_refuses(video: Path, checkpoint: Path, hub: HubServer, tmp_path: Path) -> None:
    hub.add("owner/private", checkpoint, readers=frozenset({TOKEN}))
    hub.add("owner/gated", checkpoint, readers=frozenset(), is_gated=True)
    hub.add("owner/open", checkpoint)
    refusals = {
        ("owner/missing",): "hf auth login",
        ("owner/private",): "hf auth login",
        ("owner/gated",): "hf auth login",
        ("owner/open", "--revision", "v99"): "no revision 'v99'",
    }
    for (name, *options), said in refusals.items():
        done = classify(video, hub, tmp_path, "-m", name, *options)
        assert (done.returncode, done.stdout) == (3, ""), name
        assert said in done.stderr
    for name in ("owner/gated", "owner/missing"):  # with a token that opens neither
        assert classify(video, hub, tmp_path, "-m", name, HF_TOKEN=TOKEN).returncode == 3
    opened = classify(video, hub, tmp_path, "-m", "owner/private", HF_TOKEN=TOKEN)
    assert opened.returncode == 0


def test_50_a_download_that_breaks_off_is_completed_and_verified(
    video: Path, checkpoint: Path, hub: HubServer, tmp_path: Path
) -> None:
    """That the rest is asked for by range, tests/unit/test_hub.py shows with a file that is large enough."""
    hub.add("owner/model", checkpoint)
    hub.cuts = 1
    assert classify(video, hub, tmp_path / "a", "-m", "owner/model").returncode == 0
    assert hub.was_cut.is_set()
    hub.garbled = True
    damaged = classify(video, hub, tmp_path / "b", "-m", "owner/model")
    assert (damaged.returncode, damaged.stdout) == (3, "")
    hub.garbled = False
    assert classify(video, hub, tmp_path / "b", "-m", "owner/model").returncode == 0


def test_51_a_cache_that_cannot_be_written(video: Path, checkpoint: Path, hub: HubServer, tmp_path: Path) -> None:
    hub.add("owner/model", checkpoint)
    (tmp_path / "home").write_text("a file where the cache should be")
    done = classify(video, hub, tmp_path / "home", "-m", "owner/model")
    assert (done.returncode, done.stdout) == (4, "")
    assert "HF_HOME" in done.stderr
