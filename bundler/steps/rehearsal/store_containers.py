"""The containers of Redis and PostgreSQL in a rehearsal: new, empty, and with the accounts that stores use."""

from __future__ import annotations

from typing import Final

from bundler.effects.engine.container import ContainerPlan, EngineContainer
from bundler.feast.emulation.store_servers import StoreServer

# Both work with the projects' own images and with Debian's packages; the servers are new and empty.
_USERS: Final = {"redis": "65534:65534", "postgres": "postgres"}
_STORES: Final = {
    "redis": """
umask 077
{ echo "port $1"; echo "bind 0.0.0.0"; echo 'save ""'; echo "dir /tmp"
  [ -z "$STORE_PASSWORD" ] || echo "requirepass $STORE_PASSWORD"; } >/tmp/redis.conf
exec redis-server /tmp/redis.conf
""",
    "postgres": """
PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
umask 077
mkdir /tmp/data
printf %s "${STORE_PASSWORD:-unused}" >/tmp/password
initdb -D /tmp/data -U "$STORE_USER" --pwfile=/tmp/password --auth=scram-sha-256 -E UTF8 --locale=C >/dev/null
[ -z "$STORE_SQL" ] || printf '%s\\n' "$STORE_SQL" | postgres --single -D /tmp/data postgres
printf %s "$STORE_CERTIFICATE" >/tmp/server.crt
printf %s "$STORE_KEY" >/tmp/server.key
exec postgres -D /tmp/data -h 0.0.0.0 -p "$1" -k /tmp \
  -c ssl=on -c ssl_cert_file=/tmp/server.crt -c ssl_key_file=/tmp/server.key
""",
}


def container(
    store: StoreServer, name: str, image: str, network: EngineContainer, certificate: tuple[str, str]
) -> ContainerPlan:
    """Return the container of a store's server.

    ``certificate`` and its key (PEM) are for TLS, which Feast's store for PostgreSQL asks for by
    default (sslmode=require); PostgreSQL answers without TLS, too.
    """
    return ContainerPlan(
        name=name,
        image=image,
        command=("sh", "-ec", _STORES[store.kind], "sh", str(store.port)),
        environment={**_account(store), "STORE_CERTIFICATE": certificate[0], "STORE_KEY": certificate[1]},
        working_folder="/tmp",  # noqa: S108  (inside a container)
        user=_USERS[store.kind],
        network=network,
    )


def _account(store: StoreServer) -> dict[str, str]:
    """Return the variables of a store's script: the first account, and SQL that makes the others."""
    first, *others = store.accounts
    sql = [f"CREATE ROLE {_quoted(account.user)} LOGIN PASSWORD {_literal(account.password)}" for account in others]
    made = {"postgres"}
    for account in store.accounts:
        if account.database not in made:
            made.add(account.database)
            sql.append(f"CREATE DATABASE {_quoted(account.database)} OWNER {_quoted(account.user)}")
    return {"STORE_USER": first.user, "STORE_PASSWORD": first.password, "STORE_SQL": "\n".join(sql)}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
