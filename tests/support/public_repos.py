"""Ten feature repos as people publish them, each in a project folder of its own; what they define is invented.

``make test-repos`` takes each through init, lock, build and rehearse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

_STORE: Final = """\
project: {project}
provider: local
registry:
  registry_type: sql
  path: postgresql+psycopg://${{PG_USER}}:${{PG_PASSWORD}}@pg.stores:5432/feast
  cache_ttl_seconds: 2
online_store:
  type: redis
  connection_string: redis.stores:6379,password=${{REDIS_PASSWORD}}
offline_store:
  type: dask
entity_key_serialization_version: 3
"""
_ENTITIES: Final = """\
from feast import Entity, ValueType

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
"""
_SOURCE: Final = """\
from feast import FileSource

orders_file = FileSource(name="orders_file", path="{path}", timestamp_field="event_timestamp")
"""
_VIEW: Final = """\
from datetime import timedelta
from feast import FeatureService, FeatureView, Field
from feast.types import Float64, Int64
from {entities} import customer
from {sources} import orders_file

orders = FeatureView(
    name="orders",
    entities=[customer],
    ttl=timedelta(days=3650),
    schema=[Field(name="total", dtype=Float64), Field(name="items", dtype=Int64)],
    source=orders_file,
)
shop = FeatureService(name="shop", features=[orders])
"""
_VIEWS: Final = _VIEW.format(entities="entities", sources="sources")
_PLAIN: Final = {
    "feature_repo/entities.py": _ENTITIES,
    "feature_repo/sources.py": _SOURCE.format(path="data/orders.parquet"),
    "feature_repo/views.py": _VIEWS,
    "requirements.txt": "feast[redis]==0.66.0\n",
}


@dataclass(frozen=True)
class PublicRepo:
    """A project: its files, where its table of orders lies, and how many views are served online.

    ``refused`` is what the first build says, and ``edit`` the files that it asks for.
    """

    files: Mapping[str, str]
    data: tuple[str, ...] = ("feature_repo/data/orders.parquet",)
    repo: str = "feature_repo"
    online: int = 1
    refused: tuple[str, ...] = ()
    edit: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path, name: str) -> Path:
        """Write the project; return the folder of its feature repo."""
        files = {f"{self.repo}/feature_store.yaml": _STORE.format(project=name), **self.files}
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        for path in self.data:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(_orders(), folder / path)
        return folder / self.repo


def _orders() -> pa.Table:
    start = datetime(2026, 11, 1, tzinfo=timezone.utc)
    times = pa.array([start + timedelta(hours=number) for number in range(6)], pa.timestamp("us", "UTC"))
    vector = pa.array([[0.1 * number, 0.2, 0.3] for number in range(6)], pa.list_(pa.float32()))
    rows = {"customer_id": [1, 2, 3, 1, 2, 3], "total": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5], "items": [1, 2, 3, 4, 5, 6]}
    return pa.table({**rows, "vector": vector, "event_timestamp": times})


_STREAM: Final = """\
from datetime import timedelta
from feast import Field, KafkaSource
from feast.data_format import JsonFormat
from feast.stream_feature_view import stream_feature_view
from feast.types import Float64
from entities import customer
from sources import orders_file

stream = KafkaSource(
    name="orders_stream", kafka_bootstrap_servers="kafka.streams:9092", topic="orders", batch_source=orders_file,
    timestamp_field="event_timestamp", message_format=JsonFormat(schema_json="customer_id integer, total double"),
    watermark_delay_threshold=timedelta(minutes=5),
)


@stream_feature_view(
    entities=[customer], ttl=timedelta(days=3650), mode="python", source=stream, timestamp_field="event_timestamp",
    schema=[Field(name="total", dtype=Float64)], online=True,
)
def live_orders(frame):
    return frame
"""
_PUSH: Final = """\
from datetime import timedelta
from feast import FeatureView, Field, PushSource
from feast.types import Float64
from entities import customer
from sources import orders_file

orders_push = PushSource(name="orders_push", batch_source=orders_file)
fresh = FeatureView(
    name="fresh", entities=[customer], ttl=timedelta(days=3650), source=orders_push,
    schema=[Field(name="total", dtype=Float64)], tags={"team": "shop"},
)
"""
_ON_DEMAND: Final = """\
from typing import Any
import pandas as pd
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64
from views import orders

asked = RequestSource(name="asked", schema=[Field(name="discount", dtype=Float64)])


@on_demand_feature_view(sources=[orders, asked], schema=[Field(name="reduced", dtype=Float64)])
def reduced(inputs: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame()
    frame["reduced"] = (inputs["total"] * (1 - inputs["discount"])).astype("float64")
    return frame


@on_demand_feature_view(sources=[orders], schema=[Field(name="mean", dtype=Float64)], mode="python")
def mean(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"mean": [total / (items or 1) for total, items in zip(inputs["total"], inputs["items"])]}
"""
_PERMISSIONS: Final = """\
from feast.feast_object import ALL_RESOURCE_TYPES
from feast.permissions.action import READ, AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy

readers = Permission(
    name="readers", types=ALL_RESOURCE_TYPES, policy=RoleBasedPolicy(roles=["reader"]),
    actions=[AuthzedAction.DESCRIBE, *READ],
)
"""
_TEST: Final = """\
import pytest
from views import orders


@pytest.mark.parametrize("name", ["total", "items"])
def test_the_view_has(name):
    assert name in {one.name for one in orders.schema}
"""
_PYPROJECT: Final = """\
[project]
name = "orders-features"
version = "1.2"
requires-python = ">=3.11"
dependencies = ["feast[redis]>=0.60,<0.67", "python-slugify>=8"]

[dependency-groups]
dev = ["pytest>=8"]
"""
_AGGREGATION: Final = """\
from datetime import timedelta
from feast import Field, PushSource
from feast.aggregation import Aggregation
from feast.stream_feature_view import stream_feature_view
from feast.types import Float64
from entities import customer
from sources import orders_file

orders_push = PushSource(name="orders_push", batch_source=orders_file)


@stream_feature_view(
    entities=[customer], ttl=timedelta(days=3650), mode="python", source=orders_push, online=False,
    timestamp_field="event_timestamp", schema=[Field(name="sum_total_3600s", dtype=Float64)],
    aggregations=[Aggregation(column="total", function="sum", time_window=timedelta(hours=1))],
)
def hourly(frame):
    return frame
"""
_VECTOR: Final = """\
from datetime import timedelta
from feast import FeatureView, Field
from feast.types import Array, Float32
from entities import customer
from sources import orders_file

tastes = FeatureView(
    name="tastes", entities=[customer], ttl=timedelta(days=3650), source=orders_file,
    schema=[Field(name="vector", dtype=Array(Float32), vector_index=True, vector_search_metric="COSINE")],
)
"""

REPOS: Final[Mapping[str, PublicRepo]] = {
    "stream": PublicRepo({**_PLAIN, "feature_repo/stream.py": _STREAM}, online=2),
    "push": PublicRepo({**_PLAIN, "feature_repo/push.py": _PUSH}, online=2),
    "on_demand": PublicRepo({**_PLAIN, "feature_repo/on_demand.py": _ON_DEMAND}),
    "permissions": PublicRepo({**_PLAIN, "feature_repo/access.py": _PERMISSIONS}),
    "packages": PublicRepo(
        {
            "features/shared/__init__.py": "",
            "features/shared/entities.py": _ENTITIES,
            "features/shared/sources.py": _SOURCE.format(path="data/orders.parquet"),
            "features/orders/__init__.py": "",
            "features/orders/views.py": _VIEW.format(entities="shared.entities", sources="shared.sources"),
            "features/orders/names.py": "from .views import orders\nNAMES = [field.name for field in orders.schema]\n",
            "requirements/base.txt": "feast[redis]==0.66.0\n",
            "requirements/dev.txt": "-r base.txt\npytest\n",
        },
        data=("features/data/orders.parquet",),
        repo="features",
    ),
    "tests_inside": PublicRepo(
        {**_PLAIN, "feature_repo/tests/test_views.py": _TEST},
        refused=("tests/test_views.py:1: ModuleNotFoundError: No module named 'pytest'", ".feastignore"),
        edit={"feature_repo/.feastignore": "tests\n"},
    ),
    "data_inside": PublicRepo(
        {
            **_PLAIN,
            "feature_repo/sources.py": _SOURCE.format(path="data/2026-*.parquet"),
            "feature_repo/data/README.md": "One file a month.\n",
            "feature_repo/notebooks/look.ipynb": "{}\n",
        },
        data=("feature_repo/data/2026-10.parquet", "feature_repo/data/2026-11.parquet"),
    ),
    "pyproject": PublicRepo(
        {
            **{path: text for path, text in _PLAIN.items() if path != "requirements.txt"},
            "pyproject.toml": _PYPROJECT,
            "feature_repo/names.py": "from slugify import slugify\nTEAM = slugify('Die Bestellungen')\n",
        }
    ),
    "aggregation": PublicRepo({**_PLAIN, "feature_repo/hourly.py": _AGGREGATION}),
    "vector_search": PublicRepo({**_PLAIN, "feature_repo/tastes.py": _VECTOR}, online=2),
}
