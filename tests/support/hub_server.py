"""A server on this machine that speaks the protocol of the Hugging Face hub, as far as its client
needs it to create a repository, to upload files, and to download them.

The client is the real one: point it here with `environment`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@cache
def sha256(content: bytes) -> str:
    """Of files that may be large, and are asked for often."""
    return hashlib.sha256(content).hexdigest()


class HubServer(ThreadingHTTPServer):
    """Repositories by name, each with its files. ``asked``: every request, "GET /path".

    ``cut``: how many bytes of a file a GET sends before the connection ends, once for each entry;
    ``changed``: files that are sent with their middle byte changed.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut: list[int] = []
        self.changed: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repository: str) -> str:
        """The one revision of a repository, which its files decide."""
        names = {name: sha256(content) for name, content in self.repositories[repository].items()}
        text = repr(sorted(names.items()))
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def environment(self, kept: Path) -> dict[str, str]:
        """What points the hub's client here, with ``kept`` for its copies."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(kept),
            "HF_TOKEN": "hf_local",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Runs until the end of the block."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: object) -> None:
        """Nothing: tests read `HubServer.asked`."""

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        path = self._asked()
        if path == "/api/whoami-v2":
            self._json(
                {"type": "user", "name": "tester", "auth": {"accessToken": {"role": "write"}}}
            )
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
            self._about(found[1])
        else:
            self._file(body=True)

    def do_POST(self) -> None:
        path, body = self._asked(), self._body()
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            self._json({"url": f"{self.server.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif re.fullmatch(r"/api/models/.+/preupload/[^/]+", path):
            # weights go apart from the commit, as the hub asks for of large files
            self._json(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs"
                            if file["path"].endswith(".safetensors")
                            else "regular",
                            "shouldIgnore": False,
                        }
                        for file in json.loads(body)["files"]
                    ]
                }
            )
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._json(
                {
                    "transfer": "basic",
                    "objects": [self._upload_of(each) for each in json.loads(body)["objects"]],
                }
            )
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/]+", path):
            self._commit(found[1], body)
        else:
            self._refuse(404, "EntryNotFound")

    def do_PUT(self) -> None:
        path = self._asked()
        self.server.uploads[path.removeprefix("/uploads/")] = self._body()
        self._json({})

    def _upload_of(self, wanted: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.server.url}/uploads/{wanted['oid']}", "header": {}}
        return {**wanted, "actions": {"upload": upload}}

    def _commit(self, repository: str, body: bytes) -> None:
        files = self.server.repositories[repository]
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                content = self.server.uploads[value["oid"]]
                assert sha256(content) == value["oid"]
                files[value["path"]] = content
        commit = self.server.commit(repository)
        self._json(
            {
                "commitUrl": f"{self.server.url}/{repository}/commit/{commit}",
                "commitOid": commit,
                "hookOutput": "",
            }
        )

    def _about(self, repository: str) -> None:
        files = self.server.repositories.get(repository)
        if files is None:
            self._refuse(404, "RepoNotFound")
            return
        self._json(
            {
                "id": repository,
                "sha": self.server.commit(repository),
                "siblings": [{"rfilename": name} for name in files],
                "tags": [],
                "private": False,
            }
        )

    def _file(self, body: bool) -> None:
        path = self._asked() if not body else urlsplit(unquote(self.path)).path
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if found is None or found[1] not in self.server.repositories:
            self._refuse(404, "RepoNotFound")
            return
        repository, revision, name = found.groups()
        files, commit = self.server.repositories[repository], self.server.commit(repository)
        if revision not in ("main", commit):
            self._refuse(404, "RevisionNotFound")
            return
        if name not in files:
            self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
            return
        content = files[name]
        digest = sha256(content)
        if name in self.server.changed:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        first = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            first = int(asked[1])
        self.send_response(206 if first else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Linked-Etag", f'"{digest}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Accept-Ranges", "bytes")
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if not body:
            return
        rest = content[first:]
        if self.server.cut:
            self.wfile.write(rest[: self.server.cut.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(rest)

    def _asked(self) -> str:
        path = urlsplit(unquote(self.path)).path
        self.server.asked.append(f"{self.command} {path}")
        return path

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, code: int, reason: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        self.send_header("X-Error-Code", reason)
        self.send_header("X-Error-Message", reason)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
