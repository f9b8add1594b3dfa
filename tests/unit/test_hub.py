"""From a name to files: local paths in this process, the hub in processes of their own against a real server."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import HubServer
from videomae_cli.errors import ModelError
from videomae_cli.weights.catalogue import ALIASES
from videomae_cli.weights.hub import locate

REPO = "owner/model"
TOKEN = "hf_secretsecretsecret"
FILES = {
    "config.json": b'{"model_type": "videomae"}',
    "preprocessor_config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 20,
}
CALLS = """
import json, sys, time
from videomae_cli.errors import VideoMAEError
from videomae_cli.weights.hub import locate
for options in json.loads(sys.argv[1]):
    start = time.perf_counter()
    try:
        files = locate(options.pop("name", "owner/model"), **options)
        names = [str(path) for path in (files.config, *files.weights, files.processor) if path]
        result = {"files": names, "revision": files.revision}
    except VideoMAEError as error:
        result = {"code": error.exit_code, "message": error.message, "hint": error.hint}
    print(json.dumps({**result, "seconds": time.perf_counter() - start}))
"""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def run(hub: HubServer, home: Path, *calls: dict[str, object], **env: str) -> list[dict]:
    """Call `locate` once for each of `calls`, in one fresh process."""
    command = [sys.executable, "-c", CALLS, json.dumps(calls or [{}])]
    process = subprocess.run(command, env=hub.env(home, **env), capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert TOKEN not in process.stdout + process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


def read(result: dict) -> dict[str, bytes]:
    return {Path(name).name: Path(name).read_bytes() for name in result["files"]}


def test_downloads_once_and_then_asks_nothing(hub: HubServer, tmp_path: Path) -> None:
    commit = hub.add(REPO, FILES)
    first, second = run(hub, tmp_path, {}, {"revision": commit})
    assert read(first) == FILES == read(second)
    assert first["revision"] == second["revision"] == commit
    assert all(Path(name).is_relative_to(tmp_path) for name in first["files"])
    hub.requests.clear()
    (third, fourth) = run(hub, tmp_path, {}, {"offline": True})
    assert read(third) == FILES == read(fourth)
    assert hub.requests == []


def test_cached_model_works_without_network(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    run(hub, tmp_path)
    (result,) = run(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert read(result) == FILES


def test_only_the_needed_part_is_downloaded(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    (processor,) = run(hub, tmp_path, {"need": ["processor"]})
    assert sorted(read(processor)) == ["config.json", "preprocessor_config.json"]
    (weights,) = run(hub, tmp_path, {"need": ["weights"]})
    assert sorted(read(weights)) == ["config.json", "model.safetensors"]


def test_absent_processor_file_is_remembered(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, {name: FILES[name] for name in ("config.json", "model.safetensors")})
    run(hub, tmp_path)
    hub.requests.clear()
    (result,) = run(hub, tmp_path, {"offline": True})
    assert sorted(read(result)) == ["config.json", "model.safetensors"]
    assert hub.requests == []


def test_processor_that_nobody_asked_for_yet_is_not_taken_for_absent(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    run(hub, tmp_path, {"need": ["weights"]})
    (offline,) = run(hub, tmp_path, {"offline": True})
    assert offline["code"] == 3
    (online,) = run(hub, tmp_path)
    assert read(online) == FILES


def test_sharded_and_pickled_weights(hub: HubServer, tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}}
    shards = {"model-1.safetensors": b"one", "model-2.safetensors": b"two"}
    hub.add("owner/sharded", {**FILES, "model.safetensors.index.json": json.dumps(index).encode(), **shards})
    del hub.repos["owner/sharded"].files["model.safetensors"]
    hub.add("owner/pickled", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    calls = [{"name": "owner/sharded"}, {"name": "owner/pickled"}, {"name": "owner/sharded", "offline": True}]
    sharded, pickled, cached = run(hub, tmp_path, *calls)
    assert {name: read(sharded)[name] for name in shards} == shards
    assert read(pickled) == {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    assert cached["files"] == sharded["files"]


@pytest.mark.parametrize("name", ["../secret.safetensors", "/secret.safetensors", "a/secret.safetensors"])
def test_index_that_leads_elsewhere_is_refused(hub: HubServer, tmp_path: Path, name: str) -> None:
    index = json.dumps({"weight_map": {"a": name}}).encode()
    hub.add(REPO, {"config.json": b"{}", "model.safetensors.index.json": index})
    first, cached = run(hub, tmp_path, {"need": ["weights"]}, {"need": ["weights"], "offline": True})
    assert first["code"] == cached["code"] == 3
    assert repr(name) in first["message"]
    assert not any("secret" in request.path for request in hub.requests)


def test_no_network_fails_within_seconds_and_names_the_offline_ways(hub: HubServer, tmp_path: Path) -> None:
    (result,) = run(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert result["code"] == 3
    assert result["message"] == (
        "no connection to 127.0.0.1 (connection refused), and owner/model is not in the local cache"
    )
    for way in ("--offline", "HF_HOME", "hf download owner/model", "-m"):
        assert way in result["hint"]
    assert result["seconds"] < 3


def test_hub_that_never_answers_is_given_up(hub: HubServer, tmp_path: Path) -> None:
    hub.silent = True
    (result,) = run(hub, tmp_path, HF_HUB_ETAG_TIMEOUT="1")
    assert result["code"] == 3
    assert "not in the local cache" in result["message"]
    assert result["seconds"] < 4


@pytest.mark.parametrize("ask", [({"offline": True}, {}), ({}, {"HF_HUB_OFFLINE": "1"})])
def test_offline_and_not_cached(hub: HubServer, tmp_path: Path, ask: tuple[dict, dict]) -> None:
    hub.add(REPO, FILES)
    (result,) = run(hub, tmp_path, ask[0], **ask[1])
    assert result["code"] == 3
    assert "offline mode is on" in result["message"]
    assert "hf download owner/model" in result["hint"]
    assert hub.requests == []


def test_broken_connection_is_resumed_and_verified(hub: HubServer, tmp_path: Path) -> None:
    chunk = 10 * 2**20  # what huggingface_hub writes at once, and so can resume from
    content = random.Random(0).randbytes(chunk + chunk // 2)
    hub.add(REPO, {**FILES, "model.safetensors": content})
    hub.cuts, hub.cut_bytes = 1, chunk + 1000
    (result,) = run(hub, tmp_path)
    assert read(result)["model.safetensors"] == content
    ranges = [request.range for request in hub.requests if request.path.startswith("/content/")]
    assert ranges == [None, f"bytes={chunk}-"]


def test_damaged_download_is_thrown_away(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    hub.garbled = True
    (result,) = run(hub, tmp_path)
    assert result["code"] == 3
    assert "model.safetensors arrived damaged" in result["message"]
    hub.garbled = False
    (again,) = run(hub, tmp_path)
    assert read(again) == FILES


def test_half_a_download_never_loads(hub: HubServer, tmp_path: Path) -> None:
    """The server goes away for good in the middle; what is left must not count as the model."""
    hub.add(REPO, FILES)
    hub.cuts = 100
    process = subprocess.Popen(
        [sys.executable, "-c", CALLS, "[{}]"],
        env=hub.env(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert hub.was_cut.wait(30)
    process.kill()
    process.communicate()
    hub.cuts = 0
    (offline,) = run(hub, tmp_path, {"offline": True})
    assert offline["code"] == 3
    (result,) = run(hub, tmp_path)
    assert read(result) == FILES


def test_refusals_say_what_to_do(hub: HubServer, tmp_path: Path) -> None:
    hub.add("owner/private", FILES, readers=frozenset({TOKEN}))
    hub.add("owner/gated", FILES, readers=frozenset({TOKEN}), is_gated=True)
    hub.add("owner/empty", {"README.md": b"nothing"})
    hub.add(REPO, FILES)
    cases = [
        ({"name": "owner/private"}, "has no owner/private, or it is private", "hf auth login"),
        ({"name": "owner/private", "token": TOKEN + "x"}, "refuses access", "HF_TOKEN"),
        ({"name": "owner/gated"}, "is gated", "hf auth login"),
        ({"name": "owner/gated", "token": TOKEN + "x"}, "is gated", "HF_TOKEN"),
        ({"name": "owner/nothing"}, "has no owner/nothing", "Check the name"),
        ({"name": "owner/nothing", "token": TOKEN}, "has no owner/nothing", "Check the name"),
        ({"name": "owner/empty"}, "has no config.json", "VideoMAE checkpoint"),
        ({"revision": "v9"}, "has no revision 'v9'", "a branch, a tag"),
        ({"token": TOKEN + "\n"}, "no connection to", "hf download"),  # an illegal header
    ]
    results = run(hub, tmp_path, *[call for call, _, _ in cases])
    for result, (call, message, hint) in zip(results, cases, strict=True):
        assert result["code"] == 3, call
        assert message in result["message"], call
        assert hint in result["hint"], call


def test_token_opens_a_private_model_and_stays_on_the_hub(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES, readers=frozenset({TOKEN}))
    (result,) = run(hub, tmp_path, HF_TOKEN=TOKEN)
    assert read(result) == FILES
    for request in hub.requests:
        expected = None if request.path.startswith("/content/") else f"Bearer {TOKEN}"
        assert request.authorization == expected


@pytest.mark.parametrize("status", [403, 500, 503])
def test_failing_hub(hub: HubServer, tmp_path: Path, status: int) -> None:
    hub.status = status
    (result,) = run(hub, tmp_path)
    assert result["code"] == 3
    assert f"HTTP {status}" in result["message"]
    assert result["seconds"] < 3


def test_cache_that_cannot_be_written(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    (tmp_path / "file").touch()
    (result,) = run(hub, tmp_path / "file" / "home")
    assert result["code"] == 4
    assert "cannot write the model cache" in result["message"]
    assert "HF_HOME" in result["hint"]


def test_full_disk(hub: HubServer, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the same write fails in the same place."""
    hub.add(REPO, FILES)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n{CALLS}"
    command = [sys.executable, "-c", limit, "[{}]"]
    env = hub.env(tmp_path)
    env.pop("COVERAGE_PROCESS_CONFIG", None)  # the limit would hit the file of the measurement too
    process = subprocess.run(command, env=env, capture_output=True, check=True, timeout=60)
    result = json.loads(process.stdout)
    assert result["code"] == 4
    assert "cannot write the model cache" in result["message"]
    (offline,) = run(hub, tmp_path, {"offline": True})
    assert offline["code"] == 3


def test_readable_cache_needs_no_writing(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    run(hub, tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    (result,) = run(hub, tmp_path)
    assert read(result) == FILES
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_aliases_name_published_checkpoints(hub: HubServer, tmp_path: Path) -> None:
    hub.add("MCG-NJU/videomae-base-finetuned-kinetics", FILES)
    (result,) = run(hub, tmp_path, {"name": "base-k400"})
    assert read(result) == FILES
    assert sorted(ALIASES) == ["base-k400", "base-ssv2", "huge-k400", "large-k400", "small-k400", "small-ssv2"]


def test_local_folder_and_file(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    folder = locate(tmp_path)
    assert folder.config == tmp_path / "config.json"
    assert folder.weights == (tmp_path / "model.safetensors",)
    assert folder.processor == tmp_path / "preprocessor_config.json"
    assert folder.revision is None
    file = locate(tmp_path / "model.safetensors", need=["weights"])
    assert (file.config, file.weights, file.processor) == (folder.config, folder.weights, None)


def test_local_folder_with_one_original_file(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pth").touch()
    assert locate(tmp_path).weights == (tmp_path / "checkpoint.pth",)
    (tmp_path / "checkpoint-best.pth").touch()
    with pytest.raises(ModelError, match=r"holds 2 weight files \(checkpoint-best\.pth, checkpoint\.pth"):
        locate(tmp_path)


def test_local_faults(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no weights"):
        locate(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    with pytest.raises(ModelError, match=r"lacks 1 of 1 shards: model-1\.safetensors"):
        locate(tmp_path)


NO_NAMES = [
    "bse-k400",
    "no/such/folder",
    "runs/model.safetensors",
    "./model",
    "a b/c",
    "a--b/c",
    "a/" + "b" * 200,
    "\0/a",
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_no_hub_has(name: str) -> None:
    with pytest.raises(ModelError, match="no file, folder or model named") as caught:
        locate(name)
    assert ("Did you mean base-k400" in caught.value.hint) == (name == "bse-k400")


def test_path_that_cannot_be_looked_at() -> None:
    with pytest.raises(ModelError, match=r"cannot read b+: File name too long"):
        locate("b" * 5000)


def test_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ModelError, match="neither a file nor a folder"):
        locate(tmp_path / "fifo")


def test_the_file_of_a_video_processor_is_found_too(tmp_path: Path) -> None:
    """transformers 5 writes video_preprocessor_config.json for its video processors; the other name comes first."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "video_preprocessor_config.json").write_text("{}")
    assert locate(tmp_path, need=["processor"]).processor == tmp_path / "video_preprocessor_config.json"
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert locate(tmp_path, need=["processor"]).processor == tmp_path / "preprocessor_config.json"
