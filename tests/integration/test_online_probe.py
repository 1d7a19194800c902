"""What runs in a pod asks a real HTTP server as Feast's, and says how it answered without a value."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bundler import resources

pytestmark = pytest.mark.integration
ANSWER = {
    "metadata": {"feature_names": ["driver_id", "conv_rate"]},
    "results": [{"values": [1001], "statuses": ["PRESENT"]}, {"values": [0.123456], "statuses": ["NOT_FOUND"]}],
}


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.reply(200 if self.path == "/health" else 404, b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/json"
        self.reply(401 if body == "login" else 200, json.dumps(ANSWER).encode())

    def reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class calls it so)
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def probe(url: str, body: object = None) -> Any:
    script = resources.read("online_probe.py").decode()
    question = json.dumps({"url": url, "body": body})
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=True, timeout=60)
    assert "0.123456" not in done.stdout
    return json.loads(done.stdout)


def test_health_and_features_are_asked_for(address: str) -> None:
    assert probe(f"{address}/health") == {"status": 200, "statuses": {}}
    assert probe(f"{address}/get-online-features", {"features": []}) == {
        "status": 200,
        "statuses": {"driver_id": "PRESENT", "conv_rate": "NOT_FOUND"},
    }


def test_refusals_are_told(address: str) -> None:
    assert probe(f"{address}/get-online-features", "login") == {"status": 401, "statuses": {}}
    assert probe(f"{address}/elsewhere")["status"] == 404


def test_a_server_that_is_not_there_is_told() -> None:
    assert "refused" in probe("http://127.0.0.1:1/health")["error"]
