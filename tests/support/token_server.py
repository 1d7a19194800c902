"""A token server as registries use one (distribution token specification): small, strict, and countable."""

from __future__ import annotations

import base64
import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.support.registries import TokenAuth

SERVICE = "test-registry"
ISSUER = "test-issuer"
_LEEWAY = 60  # seconds that docker-registry accepts a token beyond its end


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class TokenServer:
    """Gives tokens to whoever knows ``login``; every request for one is noted in ``asked``.

    The first ``short_lived`` tokens are refused by the registry ``life`` seconds after they were given, though they
    claim to hold for five minutes: what a clock that is wrong, or a restarted token server, looks like.
    """

    certificate: Path
    login: tuple[str, str] = ("robot", "secret")
    short_lived: int = 0
    life: float = 0.5
    asked: list[tuple[str, ...]] = field(default_factory=list)
    port: int = 0
    _key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False)
    _der: bytes = field(default=b"", repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        now = dt.datetime.now(dt.timezone.utc)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self._der = made.public_bytes(serialization.Encoding.DER)

    @property
    def auth(self) -> TokenAuth:
        return TokenAuth(f"http://127.0.0.1:{self.port}/token", SERVICE, ISSUER, self.certificate)

    def answer(self, query: dict[str, list[str]], authorization: str) -> tuple[int, dict[str, object]]:
        user, password = self.login
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if authorization != expected:
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}
        assert query["service"] == [SERVICE]
        scopes = tuple(query.get("scope", ()))
        with self._lock:
            self.asked.append(scopes)
            brief = len(self.asked) <= self.short_lived
        return 200, {"token": self._token(user, scopes, brief=brief), "expires_in": 300}

    def _token(self, user: str, scopes: tuple[str, ...], *, brief: bool) -> str:
        now = time.time()
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self._der).decode()]}
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "exp": int(now - _LEEWAY + self.life + 1) if brief else int(now + 300),
            "nbf": int(now - 300),
            "iat": int(now - 300),
            "jti": str(now),
            "access": access,
        }
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{_encoded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@contextmanager
def running(server: TokenServer) -> Iterator[TokenServer]:
    """Run it on a loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, value = server.answer(parse_qs(urlsplit(self.path).query), self.headers.get("Authorization", ""))
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.port = http.server_port
        thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
