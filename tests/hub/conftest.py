"""A small Hugging Face hub on this machine, which the real client talks to."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import attrs
import pytest

FIRST, SECOND = "1" * 40, "2" * 40
"""Commits."""
LINE = "a line of the hub"


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def log_message(self, *_):
        pass

    def answer(self):
        hub = self.server.hub
        path = unquote(self.path.partition("?")[0]).strip("/")
        hub.requests.append(f"{self.command} {path}")
        if hub.status:
            return self.send(hub.status, {"X-Error-Message": LINE})
        if path.startswith("api/models/"):
            name, _, revision = path.removeprefix("api/models/").partition("/revision/")
            return self.listing(hub, name, revision)
        name, _, place = path.partition("/resolve/")
        revision, _, file = place.partition("/")
        return self.file(hub, name, revision, file)

    def found(self, hub, name, revision):
        if name not in hub.repos:
            return self.send(404, {"X-Error-Code": "RepoNotFound"})
        commit = hub.heads.get(revision, revision)
        if commit not in hub.repos[name]:
            return self.send(404, {"X-Error-Code": "RevisionNotFound"})
        return commit

    def listing(self, hub, name, revision):
        if commit := self.found(hub, name, revision):
            files = [{"rfilename": file} for file in hub.repos[name][commit]]
            body = json.dumps({"_id": "x", "id": name, "modelId": name, "sha": commit, "siblings": files, "tags": []})
            self.send(200, {"Content-Type": "application/json"}, body.encode())

    def file(self, hub, name, revision, file):
        if not (commit := self.found(hub, name, revision)):
            return None
        if name in hub.gated:
            return self.send(403, {"X-Error-Code": "GatedRepo"})
        if file not in hub.repos[name][commit]:
            return self.send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content = hub.repos[name][commit][file]
        etag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "X-Linked-Size": str(len(content))}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            hub.resumed.append(start)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = hub.cuts.pop(0) if self.command == "GET" and hub.cuts else None
        return self.send(206 if start else 200, headers, content[start:], cut)

    def send(self, status, headers, body=b"", cut=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])


@attrs.define
class Hub:
    """What the hub holds, and how it misbehaves."""

    url: str
    server: ThreadingHTTPServer
    repos: dict = attrs.field(factory=dict)
    """Name to commit to file to content."""
    heads: dict = attrs.field(factory=lambda: {"main": FIRST, "v1": FIRST})
    gated: set = attrs.field(factory=set)
    status: int = 0
    """What everything is answered with, if not 0."""
    cuts: list = attrs.field(factory=list)
    """After how many bytes each coming download breaks off; None: not."""
    requests: list = attrs.field(factory=list)
    resumed: list = attrs.field(factory=list)

    def downloads(self) -> list[str]:
        """The files whose content was asked for."""
        return [line.rpartition("/")[2] for line in self.requests if line.startswith("GET ") and "/resolve/" in line]

    def close(self) -> None:
        """From now on nobody answers."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server():
    """A hub without repositories."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = server.hub = Hub(f"http://127.0.0.1:{server.server_port}", server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hub
    hub.close()
    thread.join()


@pytest.fixture
def environment(server, tmp_path, monkeypatch):
    """The environment of a program that talks to that hub."""
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def hub(server, environment, tmp_path, monkeypatch):
    """The hub, for the client in this process, which has read its environment long ago."""
    from huggingface_hub import close_session, constants

    from asrkit.hub import repository

    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "home" / "hub"),
        "HF_TOKEN_PATH": str(tmp_path / "home" / "token"),
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(repository, "_WARNED", set())
    close_session()
    yield server
    close_session()
