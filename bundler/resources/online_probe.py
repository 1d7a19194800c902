"""Run inside a feature server's pod: ask the online server on loopback, and say how it answered, never what.

Reads ``{"url", "body"}`` from standard input (no body: GET) and prints ``{"status", "statuses"}``, where statuses are
feature -> what Feast says of its value (e.g. PRESENT), or ``{"error"}``. Standard library only.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.request
from typing import Any


def main() -> None:
    """Ask what standard input says."""
    asked = json.load(sys.stdin)
    try:
        status, content = ask(asked["url"], asked.get("body"))
    except OSError as error:
        result: dict[str, Any] = {"error": str(error)}
    else:
        result = {"status": status, "statuses": statuses(content)}
    json.dump(result, sys.stdout)


def ask(url: str, body: object) -> tuple[int, bytes]:
    """Return the HTTP status of an answer, and its body where it is a good one."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})  # noqa: S310  (ours)
    # The certificate names the Service; this is asked on loopback.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def statuses(content: bytes) -> dict[str, Any]:
    """Return feature -> status of an answer of ``/get-online-features``; empty where it is malformed."""
    try:
        answer = json.loads(content)
        rows = zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
        return {name: result["statuses"][0] for name, result in rows}
    except (ValueError, KeyError, TypeError, IndexError):
        return {}


if __name__ == "__main__":
    main()
