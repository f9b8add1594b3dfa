"""A small hub on loopback: a real HTTP server that speaks to huggingface_hub as the public hub does.

Repositories are dictionaries of files. Small files are answered in place; weights and videos are redirected, as the
hub does it, to a content server of another origin that takes byte ranges. Faults are set as attributes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from urllib.parse import unquote

LARGE = (".safetensors", ".bin", ".mp4")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repo:
    """One repository; `readers` are the tokens that may read it, None for everybody."""

    files: dict[str, bytes]
    commit: str
    readers: frozenset[str] | None = None
    is_gated: bool = False


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class HubServer:
    """A hub to be used as a context manager.

    Faults: `status` answers everything with that status; `cuts` break off the next so many downloads after
    `cut_bytes`; `garbled` flips a bit of every download; `silent` accepts requests and never answers; `halts` leaves
    requests for the rest of a file unanswered. `was_cut` is set when a download was broken off, `was_asked_for_rest`
    when somebody wants the rest of one.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    requests: list[Request] = field(default_factory=list)
    status: int | None = None
    cuts: int = 0
    cut_bytes: int = 1000
    garbled: bool = False
    silent: bool = False
    halts: bool = False
    was_cut: Event = field(default_factory=Event)
    was_asked_for_rest: Event = field(default_factory=Event)

    def add(
        self,
        name: str,
        files: Mapping[str, bytes] | Path,
        *,
        dataset: bool = False,
        readers: frozenset[str] | None = None,
        is_gated: bool = False,
    ) -> str:
        """Publish a repository, from a dictionary or a folder, and return its commit."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir()}
        contents = {hashlib.sha256(content).hexdigest(): content for content in files.values()}
        self.contents |= contents
        commit = hashlib.sha1(repr([*sorted(files), *sorted(contents)]).encode()).hexdigest()
        self.repos[f"datasets/{name}" if dataset else name] = Repo(dict(files), commit, readers, is_gated)
        return commit

    def env(self, home: Path, **extra: str) -> dict[str, str]:
        """The environment of a process that uses this hub and keeps its cache in `home`."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        # Without telemetry no other requests are made than those for files.
        return {
            **clean,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **extra,
        }

    def __enter__(self) -> HubServer:
        self._stopping = Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]  # hub, content
        for server in self._servers:
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url, self.content_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    timeout = 20  # a forgotten connection ends by itself

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def _answer(self) -> None:
        authorization = self.headers["Authorization"]
        self.hub.requests.append(Request(self.command, self.path, self.headers["Range"], authorization))
        if self.hub.silent:
            self.hub._stopping.wait(20)
            self.close_connection = True
        elif self.hub.status is not None:
            self._send(self.hub.status, {})
        elif self.path.startswith("/content/"):
            self._send_content(self.path.rpartition("/")[2])
        elif match := _RESOLVE.fullmatch(self.path):
            dataset, name, revision, filename = (unquote(part or "") for part in match.groups())
            self._resolve(dataset + name, revision, filename, (authorization or "").removeprefix("Bearer "))
        else:
            self._send(404, {})

    def _resolve(self, name: str, revision: str, filename: str, token: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.readers is not None and token not in repo.readers):
            if repo is not None and repo.is_gated:
                self._send(403 if token else 401, {"X-Error-Code": "GatedRepo"})
            elif repo is not None and token:
                self._send(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
            else:
                self._send(404 if token else 401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", repo.commit):
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
        elif filename not in repo.files:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit})
        else:
            self._send_file(repo.commit, filename, repo.files[filename])

    def _send_file(self, commit: str, filename: str, content: bytes) -> None:
        headers = {"X-Repo-Commit": commit}
        if not filename.endswith(LARGE):
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._send(200, {**headers, "ETag": f'"{blob}"'}, content)
            return
        digest = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        self._send(302, {**headers, "Location": f"{self.hub.content_url}/content/{digest}"})

    def _send_content(self, digest: str) -> None:
        content = self.hub.contents[digest]
        if self.hub.garbled:
            content = content[:-1] + bytes([content[-1] ^ 1])
        first = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
        if first:
            self.hub.was_asked_for_rest.set()
        if first and self.hub.halts:
            self.hub._stopping.wait(20)
            self.close_connection = True
        elif self.hub.cuts > 0:
            self.hub.cuts -= 1
            self._send(206 if first else 200, headers, content[first:], stop_after=self.hub.cut_bytes)
            self.hub.was_cut.set()
        else:
            self._send(206 if first else 200, headers, content[first:])

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"", stop_after: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:stop_after])
        if stop_after is not None:
            self.close_connection = True
