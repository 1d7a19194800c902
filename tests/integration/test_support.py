"""What the other tests stand on does what it says: each real program starts, answers, and refuses a wrong login."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support import stores
from tests.support.stores import Postgres, Redis

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with stores.redis() as store:
        yield store


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with stores.postgres() as store:
        yield store


def test_redis_keeps_what_it_is_told(redis: Redis) -> None:
    assert redis.ask("SET driver 1001", "GET driver") == ["+OK", "$4", "1001"]


def test_redis_refuses_a_wrong_password(redis: Redis) -> None:
    with pytest.raises(ConnectionError, match="WRONGPASS"):
        replace(redis, password="wrong").ask("PING")


def test_postgres_keeps_what_it_is_told(postgres: Postgres) -> None:
    postgres.ask("CREATE TABLE drivers AS SELECT 1001 AS id")
    assert postgres.ask("SELECT id, current_database() FROM drivers") == "1001|feast"


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    with pytest.raises(ConnectionError, match="password authentication failed"):
        replace(postgres, password="wrong").ask("SELECT 1")
