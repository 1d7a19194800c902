"""Prepare a pod for a rehearsal: read the site's own configuration, and make the tables that sources read.

Runs in the container that the CronJob's commands run in. The argument is JSON: ``replaced`` (the feature_store.yaml
that servers would have read, where the rehearsal gave them another; "" for that of the repo; null where it did not).
The answer is JSON on the last line of standard output: ``configuration`` (what Feast refuses of the replaced file),
``tables`` (that were made and filled), ``unplayed`` (why sources cannot be read here) and ``problem`` (definitions that
cannot be loaded, which `feast apply` will tell).
"""

import contextlib
import datetime as dt
import io
import json
import os
import sys
from pathlib import Path

ROWS = 3
SQL_TYPES = {
    "INT32": "integer",
    "INT64": "bigint",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "STRING": "text",
    "BOOL": "boolean",
    "UNIX_TIMESTAMP": "timestamptz",
    "BYTES": "bytea",
}


def refused(file):
    """Return what Feast refuses of a feature_store.yaml, with the variables of this container."""
    import yaml
    from feast.repo_config import RepoConfig

    problems = []
    try:
        raw = yaml.safe_load(os.path.expandvars(Path(file).read_text()))
        config = RepoConfig(**raw)
        config.repo_path = Path(file).parent
        # Each is read only when it is asked for.
        for name in ("registry", "online_store", "offline_store", "auth_config", "batch_engine"):
            getattr(config, name, None)
    except Exception as error:  # noqa: BLE001  (whatever the servers would end with)
        problems += [line for line in f"{type(error).__name__}: {error}".splitlines() if line.strip()][:10]
    return problems


def views_of(repo):
    return [*repo.feature_views, *getattr(repo, "stream_feature_views", ())]


def source_of(view):
    source = getattr(view, "batch_source", None)
    return getattr(source, "batch_source", None) or source  # of a PushSource


def columns(view, source, entities):
    """Return the columns that a view reads, with the name of Feast's type."""
    written = {feature: column for column, feature in (source.field_mapping or {}).items()}
    columns_of = {}
    for field in [*view.features, *view.entity_columns]:
        columns_of[written.get(field.name, field.name)] = field.dtype.to_value_type().name
    for name in view.entities:
        entity = entities.get(name)
        for key in [entity.join_key] if entity else []:
            kind = getattr(entity.value_type, "name", "UNKNOWN")
            columns_of.setdefault(written.get(key, key), "INT64" if kind == "UNKNOWN" else kind)
    columns_of.pop("__dummy_id", None)
    columns_of[source.timestamp_field] = "UNIX_TIMESTAMP"
    if source.created_timestamp_column:
        columns_of[source.created_timestamp_column] = "UNIX_TIMESTAMP"
    return columns_of


def sql_type(kind):
    if kind.endswith(("_LIST", "_SET")):
        inner = SQL_TYPES.get(kind.rpartition("_")[0])
        return f"{inner}[]" if inner else None
    return SQL_TYPES.get(kind)


def value(kind, number):
    """Return a value of a type, another one for each row."""
    if kind.endswith(("_LIST", "_SET")):
        return [value(kind.rpartition("_")[0], number)]
    now = dt.datetime.now(dt.timezone.utc)
    return {
        "DOUBLE": number + 0.5,
        "FLOAT": number + 0.5,
        "STRING": f"word{number}",
        "BOOL": number % 2 == 0,
        "UNIX_TIMESTAMP": now - dt.timedelta(minutes=number),
        "BYTES": b"\x01",
    }.get(kind, number)


def of_file(source, folder):
    """Return why a FileSource cannot be read here, empty where it can."""
    path = str(source.path)
    if "://" in path and not path.startswith("file://"):
        return f"FileSource {source.name!r} reads {path.partition('?')[0]}, which is not in the image"
    full = os.path.join(folder, path.removeprefix("file://"))
    if not os.path.exists(full) and not list(Path("/").glob(os.path.normpath(full).lstrip("/"))):
        return f"FileSource {source.name!r} reads {full}, which is not in the image"
    return ""


def table_of(source, store):
    """Return the table that a source reads, or why it cannot be made."""
    title = f"{type(source).__name__} {source.name!r}"
    if type(source).__name__ != "PostgreSQLSource":
        return "", f"{title}: the rehearsal has nothing that stands for it"
    if not type(store).__module__.startswith("feast.infra.offline_stores.contrib.postgres"):
        return "", f"{title}: the rehearsal does not have its offline store"
    table = source._postgres_options._table
    return (table, "") if table else ("", f"{title} is a query: its tables are not known")


def make(table, found, store):
    from feast.infra.utils.postgres.connection_utils import _get_conn
    from psycopg import sql

    kinds = {column: sql_type(kind) for column, kind in found.items()}
    unknown = sorted(column for column, kind in kinds.items() if kind is None)
    if unknown:
        raise ValueError(f"the types of {', '.join(unknown)} have no counterpart in PostgreSQL")
    name = sql.SQL(".").join(sql.Identifier(part.strip('"')) for part in table.split("."))
    definitions = [sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in kinds.items()]
    schemas = {store.db_schema, *table.split(".")[:-1]} - {None, "", "public"}
    rows = [[value(kind, number) for kind in found.values()] for number in range(1, ROWS + 1)]
    with _get_conn(store) as connection, connection.cursor() as cursor:
        for schema in sorted(schemas):
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join(definitions)))
        places = sql.SQL(", ").join(sql.Placeholder() * len(kinds))
        cursor.executemany(sql.SQL("INSERT INTO {} VALUES ({})").format(name, places), rows)
        connection.commit()
    return f"{table}: {len(kinds)} columns, {ROWS} rows"


def prepare(folder):
    """Make what sources read; return the tables and what cannot be read."""
    from feast.repo_config import load_repo_config
    from feast.repo_operations import _get_repo_contents
    from feast.utils import get_default_yaml_file_path

    config = load_repo_config(Path(folder), get_default_yaml_file_path(Path(folder)))
    repo = _get_repo_contents(Path(folder), config.project)
    entities = {entity.name: entity for entity in repo.entities}
    wanted, unplayed, tables = {}, [], []
    for view in views_of(repo):
        source = source_of(view)
        if source is None:
            continue
        if any(base.__name__ == "FileSource" for base in type(source).__mro__):
            unplayed += [of_file(source, folder)]
            continue
        table, reason = table_of(source, config.offline_store)
        unplayed += [reason]
        if table and not view.features:
            unplayed += [f"{view.name}: has no schema, its columns are known to {source.name!r} only"]
        elif table:
            wanted.setdefault(table, {}).update(columns(view, source, entities))
    for table, found in wanted.items():
        try:
            tables.append(make(table, found, config.offline_store))
        except Exception as error:  # noqa: BLE001, PERF203  (one table that cannot be made must not hide the others)
            unplayed.append(f"the table {table} cannot be made: {type(error).__name__}: {str(error).splitlines()[0]}")
    return tables, list(dict.fromkeys(filter(None, unplayed)))


def main():
    folder = os.environ.get("FEATURE_REPO_DIR_ENV_VAR") or os.getcwd()
    replaced = json.loads(sys.argv[1])["replaced"]
    answer = {"configuration": [], "tables": [], "unplayed": [], "problem": ""}
    if replaced is not None:
        answer["configuration"] = refused(replaced or f"{folder}/feature_store.yaml")
    os.chdir(folder)
    sys.path.append(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            answer["tables"], answer["unplayed"] = prepare(folder)
    except BaseException as error:  # noqa: BLE001  (a definition may raise anything, SystemExit included)
        answer["problem"] = f"{type(error).__name__}: {error}".splitlines()[0]
    print("\n" + json.dumps(answer))


main()
