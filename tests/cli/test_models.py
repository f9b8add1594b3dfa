"""`videomae models`: the list, and fetching ahead, as processes against a real server on loopback."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.cli.test_process import read_terminal
from tests.hub_server import HubServer
from videomae_cli import VideoMAEConfig, VideoMAEForVideoClassification
from videomae_cli.weights.catalogue import BUILT_IN, KNOWN_MODELS

SMALL = "MCG-NJU/videomae-small-finetuned-kinetics"
TOKEN = "hf_neverprintedneverprinted"
CHUNK_BYTES = 10 * 2**20  # what huggingface_hub writes at once
CONTENT = random.Random(5).randbytes(CHUNK_BYTES + CHUNK_BYTES // 2)
FILES = {"config.json": b"{}", "preprocessor_config.json": b"{}", "model.safetensors": CONTENT}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add(SMALL, FILES)
        yield server


def models(hub: HubServer, home: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command; it must end within the minute, and never show the token."""
    command = [sys.executable, "-m", "videomae_cli", "models", *options]
    done = subprocess.run(command, env=hub.env(home, **env), capture_output=True, text=True, timeout=60, check=False)
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def listed(hub: HubServer, home: Path) -> dict[str, dict]:
    done = models(hub, home, "-f", "json")
    assert (done.returncode, done.stderr) == (0, "")
    return {item["name"]: item for item in json.loads(done.stdout)}


def cached_weights(home: Path) -> bytes:
    (path,) = home.glob("hub/models--*/snapshots/*/model.safetensors")
    return path.read_bytes()


def content_ranges(hub: HubServer) -> list[str | None]:
    return [request.range for request in hub.requests if request.path.startswith("/content/")]


def test_the_list_in_a_pipe_without_a_network_or_torch(hub: HubServer, tmp_path: Path) -> None:
    code = "import sys; from videomae_cli.cli.app import app; app(['models'], standalone_mode=False); "
    code += "print(*sys.modules, file=sys.stderr)"
    env = hub.env(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [model.name for model in KNOWN_MODELS]
    assert rows[0][2:] == ["Apache-2.0", "built in", "-"]
    assert rows[2] == [
        *("base-k400", "about 346 MB", "CC-BY-NC-4.0", "not cached"),
        "MCG-NJU/videomae-base-finetuned-kinetics",
    ]
    assert not {"torch", "av", "numpy"} & set(done.stderr.split())
    assert hub.requests == []


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_on_a_terminal(hub: HubServer, tmp_path: Path, width: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "videomae_cli", "models"],
        env=hub.env(tmp_path, COLUMNS=str(width), TERM="xterm"),
        stdout=theirs,
    )
    os.close(theirs)
    lines = re.sub(r"\x1b\[[\d;]*m", "", read_terminal(ours)).splitlines()
    assert process.wait(timeout=60) == 0
    assert lines[0].split() == ["name", "size", "licence", "state", "hub", "id"]
    assert all(len(line.rstrip()) <= width for line in lines)
    small = next(line for line in lines if line.startswith("small-k400"))
    assert "about 88 MB" in small and "CC-BY-NC-4.0" in small and "not cached" in small
    assert (SMALL in small) == (width == 120)


@pytest.mark.parametrize("model", KNOWN_MODELS, ids=lambda model: model.name)
def test_what_is_known_of_a_model_is_true_of_its_architecture(model) -> None:
    if model.folder:
        config = VideoMAEConfig.from_pretrained(model.folder)
    else:
        config = VideoMAEConfig.preset(model.name.partition("-")[0])
        config.num_labels = model.num_classes
    with torch.device("meta"):
        network = VideoMAEForVideoClassification(config)
    assert (config.num_labels, network.num_parameters()) == (model.num_classes, model.num_parameters)


def test_pull_fetches_once_and_the_list_knows(hub: HubServer, tmp_path: Path) -> None:
    assert listed(hub, tmp_path)["small-k400"]["state"] == "absent"
    first = models(hub, tmp_path, "pull", "small-k400")
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "small-k400: fetched, 16 MB\n")
    assert cached_weights(tmp_path) == CONTENT
    hub.requests.clear()
    again = models(hub, tmp_path, "pull", "small-k400", SMALL)
    assert (again.returncode, again.stderr) == (
        0,
        f"small-k400: already cached, 16 MB\n{SMALL}: already cached, 16 MB\n",
    )
    now = listed(hub, tmp_path)
    assert hub.requests == []
    assert (now["small-k400"]["state"], now["base-k400"]["state"]) == ("cached", "absent")
    assert now["small-k400"]["local_bytes"] == len(CONTENT) + len(b"{}")  # both small files are one blob


def test_pull_that_was_killed_goes_on_where_it_was(hub: HubServer, tmp_path: Path) -> None:
    """The server breaks off behind the first chunk and leaves the request for the rest unanswered; then kill -9."""
    hub.cuts, hub.cut_bytes, hub.halts = 1, CHUNK_BYTES + 1000, True
    command = [sys.executable, "-m", "videomae_cli", "models", "pull", "small-k400", "-q"]
    with subprocess.Popen(command, env=hub.env(tmp_path), stderr=subprocess.DEVNULL) as process:
        assert hub.was_asked_for_rest.wait(30)
        process.kill()
    broken = listed(hub, tmp_path)["small-k400"]
    assert broken["state"] == "partial"
    assert CHUNK_BYTES <= broken["local_bytes"] < len(CONTENT)
    hub.halts = False
    hub.requests.clear()
    done = models(hub, tmp_path, "pull", "small-k400")
    assert (done.returncode, done.stderr) == (0, "small-k400: fetched, 16 MB\n")
    assert content_ranges(hub) == [f"bytes={CHUNK_BYTES}-"]
    assert cached_weights(tmp_path) == CONTENT
    assert not list(tmp_path.rglob("*.incomplete"))


def test_a_rest_that_does_not_fit_is_found_by_its_sha256(hub: HubServer, tmp_path: Path) -> None:
    hub.cuts, hub.cut_bytes, hub.garbled = 1, CHUNK_BYTES + 1000, True
    damaged = models(hub, tmp_path, "pull", "small-k400")
    assert damaged.returncode == 3
    assert "model.safetensors arrived damaged" in damaged.stderr
    assert listed(hub, tmp_path)["small-k400"]["state"] != "cached"
    hub.garbled = False
    assert models(hub, tmp_path, "pull", "small-k400").returncode == 0
    assert cached_weights(tmp_path) == CONTENT


def test_a_partial_file_that_is_too_long_is_begun_anew(hub: HubServer, tmp_path: Path) -> None:
    models(hub, tmp_path, "pull", "small-k400")
    (link,) = tmp_path.glob("hub/models--*/snapshots/*/model.safetensors")
    blob = link.resolve()
    link.unlink()
    blob.rename(blob.with_name(f"{blob.name}.incomplete")).write_bytes(CONTENT + b"more")
    assert models(hub, tmp_path, "pull", "small-k400").returncode == 0
    assert content_ranges(hub) == [None, None]
    assert cached_weights(tmp_path) == CONTENT


def test_a_bar_on_a_terminal(hub: HubServer, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "videomae_cli", "models", "pull", "small-k400"],
        env=hub.env(tmp_path, COLUMNS="100", TERM="xterm"),
        stderr=theirs,
    )
    os.close(theirs)
    text = read_terminal(ours)
    assert process.wait(timeout=60) == 0
    assert "model.safetensors" in text and "16 MB of 16 MB" in text
    assert text.replace("\r", "").endswith("small-k400: fetched, 16 MB\n")


def test_the_built_in_model_is_not_fetched(hub: HubServer, tmp_path: Path) -> None:
    done = models(hub, tmp_path, "pull", BUILT_IN.name)
    assert (done.returncode, done.stdout) == (0, "")
    assert "there is nothing to fetch" in done.stderr
    assert hub.requests == []
    assert models(hub, tmp_path, "pull", BUILT_IN.name, "-q").stderr == ""


def test_what_goes_wrong_is_said_with_the_code_of_its_kind(hub: HubServer, tmp_path: Path) -> None:
    hub.add("owner/private", FILES, readers=frozenset({TOKEN}))
    (tmp_path / "file").touch()
    cases = [
        (("pull", "smal-k400"), {}, 3, "Did you mean small-k400?"),
        (("pull", "owner/private"), {}, 3, "hf auth login"),
        (("pull", "owner/private"), {"HF_TOKEN": TOKEN + "x"}, 3, "HF_TOKEN"),
        (("pull", "small-k400", "--revision", "v9"), {}, 3, "no revision 'v9'"),
        (("pull", "small-k400"), {"HF_ENDPOINT": "http://127.0.0.1:9"}, 3, f"hf download {SMALL}"),
        (("pull", "small-k400"), {"HF_HUB_OFFLINE": "1"}, 3, "offline mode is on"),
        (("pull", "small-k400"), {"HF_HOME": str(tmp_path / "file" / "home")}, 4, "HF_HOME"),
        (("pull", "small-k400"), {"HF_HUB_ETAG_TIMEOUT": "soon"}, 2, "HF_... variables"),
        (("pull",), {}, 2, "Missing argument"),
        (("-f", "csv"), {}, 2, "text, json"),
    ]
    for options, env, code, said in cases:
        done = models(hub, tmp_path, *options, **env)
        assert (done.returncode, done.stdout) == (code, ""), options
        assert said in done.stderr, options
