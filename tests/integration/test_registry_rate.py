"""Registries that limit how often they are asked (ACR, ECR, GHCR, Docker Hub do): a push slows down and arrives."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from bundler.cli.program import program
from bundler.effects.registry.endpoint import Connection, Endpoint
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError
from bundler.model.progress import SilentProgress
from bundler.steps.transport import push
from tests.support import memory_registry, pushing, sample_bundles
from tests.support.memory_registry import MemoryRegistry, Reply, error
from tests.support.sample_bundles import SampleLayer

pytestmark = pytest.mark.integration

IMAGE = sample_bundles.image([SampleLayer.of(seed, 200) for seed in range(200, 230)])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_bundles.write(tmp_path_factory.mktemp("bundle") / "sample.bundle.tar", {"team/app:1.0": IMAGE})


def too_many(**headers: str) -> Reply:
    return error(429, "TOOMANYREQUESTS", "Rate exceeded", **headers)


def test_a_push_goes_on_as_long_as_anything_passes(bundle: Path) -> None:
    count = itertools.count()

    def every_second(_method: str, target: str, _headers: Mapping[str, str]) -> Reply | None:
        return too_many(Retry_After="0") if target != "/v2/" and next(count) % 2 else None

    registry = MemoryRegistry(before=every_second)
    with memory_registry.running(registry) as address:
        connection = Connection(environment={}, attempts=3)
        receipt = push.run(bundle, pushing.options(address, connection=connection), SilentProgress())
    assert receipt.blobs_sent == len(IMAGE.blobs) - 1
    assert ("team/app", "1.0") in registry.manifests


def test_a_limit_without_a_word_of_how_long_slows_all_workers_down(bundle: Path) -> None:
    window, most = 0.25, 12  # at most so many requests in so many seconds
    seen: list[int] = []
    lock, began = threading.Lock(), time.monotonic()

    def limited(_method: str, _target: str, _headers: Mapping[str, str]) -> Reply | None:
        number = int((time.monotonic() - began) / window)
        with lock:
            seen.append(number)
            return too_many() if seen.count(number) > most else None

    registry = MemoryRegistry(before=limited)
    with memory_registry.running(registry) as address:
        connection = Connection(environment={}, attempts=4)
        push.run(bundle, pushing.options(address, connection=connection), SilentProgress())
    passed = sum(min(most, seen.count(number)) for number in set(seen))
    assert len(seen) < 1.5 * passed


def test_fewer_requests_are_under_way_after_a_refusal(bundle: Path) -> None:
    under_way, after, lock = 0, [], threading.Lock()
    refused = threading.Event()

    def busy(method: str, _target: str, _headers: Mapping[str, str]) -> Reply | None:
        nonlocal under_way
        if method != "HEAD":
            return None
        with lock:
            under_way += 1
            if refused.is_set():
                after.append(under_way)
        threading.Event().wait(0.02)
        with lock:
            under_way -= 1
            first = not refused.is_set() and under_way > 0
            if first:
                refused.set()
        return too_many(Retry_After="1") if first else None

    with memory_registry.running(MemoryRegistry(before=busy)) as address:
        push.plan(bundle, pushing.options(address), SilentProgress())
    assert refused.is_set()
    assert max(after[8:16]) <= 5  # eight before; those under way at the refusal come first


def test_waiting_is_shown(bundle: Path) -> None:
    answers = [too_many(Retry_After="1")]
    registry = MemoryRegistry(before=lambda method, _, __: answers.pop() if answers and method == "POST" else None)
    with memory_registry.running(registry) as address:
        done = CliRunner().invoke(program, ["push", str(bundle), "--registry", address, "--plain-http"])
    assert done.exit_code == 0, done.output
    assert f"{address} asks to slow down (429); waiting 1 s." in done.stderr


def test_a_registry_that_refuses_everything_is_given_up(bundle: Path) -> None:
    registry = MemoryRegistry(before=lambda method, _, __: too_many() if method == "HEAD" else None)
    with memory_registry.running(registry) as address:
        connection = Connection(environment={}, attempts=3)
        with pytest.raises(RegistryError, match="429") as caught:
            push.run(bundle, pushing.options(address, connection=connection), SilentProgress())
    assert "wait" in caught.value.remedy
    assert sum(method == "HEAD" for method, _ in registry.requests) < 24


def test_a_registry_that_refuses_every_blob_is_given_up(bundle: Path) -> None:
    registry = MemoryRegistry(before=lambda method, _, __: too_many(Retry_After="0") if method == "PUT" else None)
    with memory_registry.running(registry) as address:
        connection = Connection(environment={}, attempts=2)
        with pytest.raises(RegistryError, match="429"):
            push.run(bundle, pushing.options(address, connection=connection), SilentProgress())


def test_a_token_server_that_is_asked_too_often_is_waited_for() -> None:
    answers = [too_many(Retry_After="0")]

    def tokens(_method: str, target: str, headers: Mapping[str, str]) -> Reply | None:
        if target.startswith("/token"):
            return answers.pop() if answers else Reply(200, {}, b'{"token": "t"}')
        if headers.get("authorization") != "Bearer t":
            return error(401, "UNAUTHORIZED", WWW_Authenticate=f'Bearer realm="http://{headers["host"]}/token"')
        return None

    with memory_registry.running(MemoryRegistry(before=tokens)) as address:
        session = Session(Endpoint(address, plain_http=True), Connection(environment={}, attempts=2))
        with closing(session):
            session.check()
    assert not answers
