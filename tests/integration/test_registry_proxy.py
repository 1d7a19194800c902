"""Proxies that are strict about how a tunnel is asked for, as Envoy, Squid's rules and others are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from bundler.effects.registry.endpoint import Connection, Endpoint, TlsSettings
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError
from tests.support import forward_proxy, pythons, registries
from tests.support.certificates import Authority
from tests.support.registries import RunningRegistry

pytestmark = pytest.mark.integration

_ROOT = Path(__file__).parents[2]
_GREET = """
import json, sys
from bundler.effects.registry.endpoint import Connection, Endpoint, TlsSettings
from bundler.effects.registry.session import Session
environment, *addresses = sys.argv[1:]
for address in addresses:
    endpoint = Endpoint(address, tls=TlsSettings(verify=False))
    session = Session(endpoint, Connection(environment=json.loads(environment), attempts=1))
    session.check()
    session.close()
"""
# What is behind the proxy; no resolver knows them.
NAMES = ("registry.test:5514", "[2001:db8::5]:5515")
Rule = Callable[[str, Mapping[str, str]], "str | None"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with registries.running(folder, tls=Authority.make(folder / "ca").server()) as running:
        yield running


def strict(line: str, headers: Mapping[str, str]) -> str | None:
    method, target, version = line.split(" ")
    if version != "HTTP/1.1":
        return "426 Upgrade Required"
    return None if method == "CONNECT" and headers.get("host") == target and target in NAMES else "400 Bad Request"


def greet(registry: RunningRegistry, rule: Rule, *, login: str = "", attempts: int = 4) -> list[tuple[str, str]]:
    """Greet a registry through a proxy; return what the proxy saw."""
    with forward_proxy.running({NAMES[0]: ("127.0.0.1", registry.port)}, rule) as proxy:
        environment = {"HTTPS_PROXY": f"http://{login}{proxy.address}"}
        endpoint = Endpoint(NAMES[0], tls=TlsSettings(verify=False))
        with closing(Session(endpoint, Connection(environment=environment, attempts=attempts))) as session:
            session.check()
        return proxy.seen


def test_every_python_asks_for_a_tunnel_as_strict_proxies_want_it(registry: RunningRegistry) -> None:
    with forward_proxy.running(dict.fromkeys(NAMES, ("127.0.0.1", registry.port)), strict) as proxy:
        environment = json.dumps({"HTTPS_PROXY": f"http://{proxy.address}"})
        for version, program in pythons.found().items():
            if version >= (3, 10):
                command = [program, "-c", _GREET, environment, *NAMES]
                done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{program}: {done.stderr}"
    assert {line for line, _ in proxy.seen} == {f"CONNECT {name} HTTP/1.1" for name in NAMES}


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
def test_a_proxy_that_is_busy_is_asked_again(status: str, registry: RunningRegistry) -> None:
    answers = [f"{status}\r\nRetry-After: 0"] * 2
    seen = greet(registry, lambda _, __: answers.pop() if answers else None)
    assert len(seen) == 3


def test_a_proxy_that_wants_a_login_is_told_apart_from_one_that_refuses_it(registry: RunningRegistry) -> None:
    for login, remedy in (("", "USER:PASSWORD@"), ("me:secret@", "refuses the login")):
        with pytest.raises(RegistryError, match="answered 407") as caught:
            greet(registry, lambda _, __: "407 Login\r\nProxy-Authenticate: Basic realm=p", login=login)
        assert remedy in caught.value.remedy
        assert "secret" not in str(caught.value)


def test_a_proxy_that_hangs_up_is_an_error_of_the_proxy(registry: RunningRegistry) -> None:
    with pytest.raises(RegistryError, match=r"proxy .* did not let us") as caught:
        greet(registry, lambda _, __: "\r\n\r\nnonsense", attempts=1)
    assert "NO_PROXY" in caught.value.remedy
