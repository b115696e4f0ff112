"""An S3 server on this machine, behind a proxy that counts requests and can break them.

The client is the real one, s3fs; it is pointed here by the environment.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

KEY, SECRET = "AKIAQ7EXAMPLE5KEYID3", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzEXAMPLESECRET"


class S3Service(ThreadingHTTPServer):
    """``asked``: every request, "GET /bucket/key"; ``cut``: key -> how many bytes of it arrive;
    ``cuts``: how many downloads of each such key are cut; ``refused``: keys, and buckets, that
    nobody may read; ``slow``: seconds before an object is sent.
    """

    daemon_threads = True

    def __init__(self, backend: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.backend = backend
        self.reset()

    def reset(self) -> None:
        self.asked: list[str] = []
        self.cut: dict[str, int] = {}
        self.cuts: dict[str, int] = {}
        self.refused: set[str] = set()
        self.slow = 0.0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that ends in the middle of an answer is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def downloads(self) -> list[str]:
        """The keys of the objects that were asked for, each as often as it was."""
        paths = [path for method, path in (line.split(" ", 1) for line in self.asked)]
        return [path.split("/", 2)[2] for path in paths if path.count("/") > 1 and "?" not in path]

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nowhere/config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
        }

    def client(self) -> Any:
        import boto3

        host, port = self.backend
        return boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def put(self, bucket: str, files: dict[str, bytes]) -> None:
        """Writes objects into a bucket, which is made where it is not there."""
        client = self.client()
        client.create_bucket(Bucket=bucket)
        for key, content in files.items():
            client.put_object(Bucket=bucket, Key=key, Body=content)

    def put_folder(self, bucket: str, folder: Path, below: str) -> None:
        names = [path for path in folder.rglob("*") if path.is_file()]
        self.put(
            bucket,
            {f"{below}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in names},
        )


class _Handler(BaseHTTPRequestHandler):
    server: S3Service
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._forward()

    def do_HEAD(self) -> None:
        self._forward()

    def _forward(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if {key, bucket} & self.server.refused:
            self._send(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
            return
        if key and self.command == "GET" and self.server.slow:
            time.sleep(self.server.slow)
        connection = http.client.HTTPConnection(*self.server.backend)
        connection.request(self.command, self.path, headers=dict(self.headers))
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") or str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "GET" and key in self.server.cut and self.server.cuts.get(key, 0):
            self.server.cuts[key] -= 1
            self.wfile.write(body[: self.server.cut[key]])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def s3_service() -> Iterator[S3Service]:
    """The server, for as long as the block lasts."""
    moto = pytest.importorskip("moto.server", reason="S3's protocol is spoken by moto")
    pytest.importorskip("s3fs", reason='S3 is read by s3fs: pip install "vqa-twostage[s3]"')
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = S3Service(server.get_host_and_port())
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.stop()
