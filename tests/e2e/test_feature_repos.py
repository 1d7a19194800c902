"""The image's own Feast judges feature repos as people have them: in the example's image, in one start of Python.

There it also says what a rehearsal cannot play of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundler import resources
from bundler.effects import image_root, unpacked_images
from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.effects.engine.container import Ran
from bundler.feast.stores import feature_store_yaml
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.oci.layer import Layer
from bundler.steps.build.repo_check import Verdict
from bundler.steps.rehearsal.preparation import Preparation
from tests.e2e.conftest import Built
from tests.support.public_repos import REPOS

pytestmark = pytest.mark.e2e

# Imports Feast once, and lets a child ask each repo with one of our programs.
_DRIVER: Final = """
import json, os, sys
import feast.repo_operations, feast.infra.offline_stores.dask, pandas
programs, cases = json.loads(sys.argv[1])
answers = {}
for name, (program, question) in cases.items():
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        sys.argv = ["-c", json.dumps(question)]
        os.environ["FEATURE_REPO_DIR_ENV_VAR"] = question.get("folder", "")
        exec(compile(programs[program], "probe", "exec"), {"__name__": "probe"})
        sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        answers[name] = said.read().splitlines()[-1]
    os.waitpid(child, 0)
print("\\n" + json.dumps(answers))
"""
_STORE: Final = """\
project: shop
provider: local
registry: {registry_type: sql, path: "postgresql+psycopg://feast:${PG_PASSWORD}@pg.stores:5432/feast"}
online_store: {type: redis, connection_string: "redis.stores:6379,password=${REDIS_PASSWORD}"}
offline_store: {type: dask}
entity_key_serialization_version: 3
"""
_DEFINITIONS: Final = """\
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource, ValueType
from feast.types import Float32, Float64, Int64
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
source = FileSource(name="orders", path="data/orders.parquet", timestamp_field="event_timestamp")
orders = FeatureView(
    name="orders", entities=[customer], ttl=timedelta(days=9), source=source,
    schema=[Field(name="total", dtype=Float32)],
)
"""
_ON_DEMAND: Final = """\
import pandas as pd
from typing import Any
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64
from definitions import orders
asked = RequestSource(name="asked", schema=[Field(name="share", dtype=Float64)])
@on_demand_feature_view(sources=[orders, asked], schema=[Field(name="part", dtype=Float64)])
def part(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"part": (inputs["total"] * inputs["share"]).astype("float64")})
@on_demand_feature_view(sources=[orders], schema=[Field(name="twice", dtype=Float64)], mode="python")
def twice(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"twice": [float(one) * 2 for one in inputs["total"]]}
"""
_PUSH: Final = """\
from datetime import timedelta
from feast import FeatureService, FeatureView, Field, PushSource
from feast.types import Float32
from definitions import customer, source
pushed = PushSource(name="pushed", batch_source=source)
recent = FeatureView(
    name="recent", entities=[customer], ttl=timedelta(days=1), source=pushed,
    schema=[Field(name="total", dtype=Float32)],
)
service = FeatureService(name="shop", features=[recent])
"""
_STREAM: Final = """\
from datetime import timedelta
from feast import Field, KafkaSource
from feast.data_format import JsonFormat
from feast.stream_feature_view import stream_feature_view
from feast.types import Float32
from definitions import customer, source
stream = KafkaSource(
    name="stream", kafka_bootstrap_servers="kafka.stores:9092", topic="orders", timestamp_field="event_timestamp",
    batch_source=source, message_format=JsonFormat(schema_json="customer_id integer, total double"),
)
@stream_feature_view(
    entities=[customer], ttl=timedelta(days=1), mode="python", source=stream,
    timestamp_field="event_timestamp", schema=[Field(name="total", dtype=Float32)],
)
def live(frame):
    return frame
"""
_PERMISSIONS: Final = """\
from feast import FeatureView
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
readers = Permission(
    name="readers", types=[FeatureView], policy=RoleBasedPolicy(roles=["reader"]), actions=[AuthzedAction.READ_ONLINE]
)
"""


def _definitions(old: str, new: str) -> dict[str, str]:
    assert old in _DEFINITIONS
    return {"definitions.py": _DEFINITIONS.replace(old, new)}


SOUND: Final[Mapping[str, Mapping[str, str | bytes]]] = {
    "plain": {},
    "on-demand": {"on_demand.py": _ON_DEMAND},
    "push": {"push.py": _PUSH},
    "stream": {"stream.py": _STREAM},
    "permissions": {"access.py": _PERMISSIONS},
    "packages": {
        "shared/__init__.py": "",
        "shared/names.py": "TOTAL = 'total'\n",
        "views/__init__.py": "",
        "views/more.py": "from shared.names import TOTAL\nfrom definitions import orders\n",
    },
    "ignored": {".feastignore": "legacy/\n", "legacy/old.py": "print 'python 2'\n", "legacy/gone.py": "import gone\n"},
    "guarded": {"maybe.py": "try:\n    import gone\nexcept ImportError:\n    gone = None\n"},
    "registry variable": {
        "feature_store.yaml": "project: shop\nprovider: local\nregistry: ${FEAST_REGISTRY}\nonline_store: "
        "{type: redis, connection_string: '${REDIS}'}\nentity_key_serialization_version: ${VERSION}\n"
    },
    "entity in another file": {
        "entities.py": _DEFINITIONS.split("source =")[0],
        "definitions.py": _DEFINITIONS.replace(
            "customer = Entity(", "from entities import customer\nother = Entity("
        ).replace('Entity(name="customer"', 'Entity(name="other"'),
    },
    "relative in a package": {"views/a.py": "from .b import TOTAL\n", "views/b.py": "TOTAL = 'total'\n"},
    "declared encoding": {"words.py": b"# -*- coding: latin-1 -*-\nCOFFEE = 'caf\xe9'\n"},
    "byte order mark": {"words.py": b"\xef\xbb\xbfCOFFEE = 'caf\xc3\xa9'\n"},
    "ignored by globs": {
        ".feastignore": "# of yesterday\r\n**/old_*.py\r\nlegacy\r\n",
        "a/old_1.py": "import gone\n",
        "legacy/x.py": "import gone\n",
    },
    "notebooks": {"look.ipynb": "{}", ".ipynb_checkpoints/look.py": "import gone\n"},
    "hyphens": {"my-views/more-views.py": "X = 1\n"},
    "glob": _definitions('path="data/orders.parquet"', 'path="data/*.parquet"'),
    "folder": _definitions('path="data/orders.parquet"', 'path="data"'),
    "closes its output": {"quiet.py": "import sys\nsys.stdout.close()\n"},
    "script with the name of a package": {"test.py": "from feast import FeatureStore\nprint(FeatureStore)\n"},
    "on a volume": _definitions('path="data/orders', 'path="/data/volume/orders'),
}
_IN_POSTGRES: Final = (
    "from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource\n"
    + _DEFINITIONS.replace('FileSource(name="orders", path="data/orders.parquet",', 'PostgreSQLSource(table="orders",')
)
# name -> its files, and for each problem in order: its kind, its place, and something that is said of it.
REFUSED: Final[Mapping[str, tuple[Mapping[str, str | bytes], tuple[tuple[str, str, str], ...]]]] = {
    "missing modules": (
        {"definitions.py": f"import holidays\nimport gone_too\n{_DEFINITIONS}", "other.py": "import sklearn.metrics\n"},
        (
            ("module", "definitions.py:1", "No module named 'holidays'"),
            ("module", "definitions.py:2", "No module named 'gone_too'"),
            ("module", "other.py:1", "No module named 'sklearn'"),
        ),
    ),
    "tests": (
        {"tests/test_it.py": "import pytest\n\n\ndef test_it():\n    pass\n"},
        (("module", "tests/test_it.py:1", "'pytest'"),),
    ),
    "another release": (
        {"new.py": "from feast import NoSuchView\n"},
        (("name", "new.py:1", "cannot import name 'NoSuchView' from 'feast'"),),
    ),
    "syntax": ({"new.py": "x = 1\ndef (:\n"}, (("syntax", "new.py:2", "SyntaxError"),)),
    "two keys": (
        {
            "feature_store.yaml": _STORE.replace(
                "offline_store: {type: dask}", "offline_store: {type: dask, chunks: 3}"
            ).replace("{type: redis,", "{type: redis, pool_size: 9,")
        },
        (
            ("key", "online_store.pool_size", "Extra inputs are not permitted"),
            ("key", "offline_store.chunks", "Extra inputs are not permitted"),
        ),
    ),
    "wrong kind": (
        {
            "feature_store.yaml": _STORE.replace(
                "entity_key_serialization_version: 3", "entity_key_serialization_version: three"
            )
        },
        (("key", "entity_key_serialization_version", "valid integer"),),
    ),
    "outside": (
        _definitions('path="data/orders', 'path="../elsewhere/orders'),
        (("file", "definitions.py:5", "elsewhere/orders.parquet, which the image does not have"),),
    ),
    "network": (
        {"remote.py": "import socket\ndef fetch():\n    socket.create_connection(('db.stores', 5432), 3)\nfetch()\n"},
        (("network", "remote.py:3", "reaches for db.stores:5432 at import"),),
    ),
    "exit": ({"setup.py": "import sys\nsys.exit('usage: setup.py')\n"}, (("exit", "setup.py:2", "usage"),)),
    "failing": (
        {"more.py": "import definitions\nassert definitions is None, 'not yet'\n"},
        (("import", "more.py:2", "not yet"),),
    ),
    "lacking store": (
        {"feature_store.yaml": _STORE.replace("{type: dask}", "{type: duckdb}")},
        (("unimportable", "feature_store.yaml", "feast.infra.offline_stores.duckdb"),),
    ),
    "relative at the top": (
        {"more.py": "from .definitions import orders\n"},
        (("relative", "more.py:1", "no known parent"),),
    ),
    "ignore pattern": ({".feastignore": "/legacy\n"}, (("ignore", ".feastignore", "Non-relative patterns"),)),
    "ignore file": ({".feastignore": b"l\xe9gacy\n"}, (("ignore", ".feastignore", "can't decode"),)),
    "undeclared encoding": (
        {"words.py": b"\nCOFFEE = 'caf\xe9'\n"},
        (("syntax", "words.py:2", "can't decode byte 0xe9"),),
    ),
    "points": (
        {"v1.2/more.py": "X = 1\n", ".github/x.py": "X = 1\n"},
        (("path", ".github/x.py:1", "imports it as .github.x"), ("path", "v1.2/more.py:1", "imports it as v1.2.more")),
    ),
    "name of a package": (
        {"redis.py": "import feast\nEntity = feast.Entity\nbuyer = Entity(name='buyer', join_keys=['buyer_id'])\n"},
        (("shadowed", "redis.py:1", "is never read: Python takes /usr/local/lib"),),
    ),
    "variable": (
        {"more.py": "import os\nBUCKET = os.environ['BUCKET_NAME']\n"},
        (("variable", "more.py:2", "reads the variable BUCKET_NAME"),),
    ),
    "working folder": ({"more.py": "import os\nos.chdir('/tmp')\n"}, (("chdir", "more.py:1", "/tmp"),)),
    "registry at import": (
        {"more.py": "from feast import FeatureStore\nFeatureStore(repo_path='.').list_entities()\n"},
        (("network", "more.py:2", "reaches for pg.stores:5432 at import"),),
    ),
    "bucket of a laptop": (
        _definitions(
            'path="data/orders.parquet"', 'path="s3://b/o.parquet", s3_endpoint_override="http://localhost:9000"'
        ),
        (("pod", "definitions.py:5", "reads s3://b/o.parquet at http://localhost:9000"),),
    ),
    "column": (
        _definitions('Field(name="total"', 'Field(name="sum"'),
        (("data", "definitions.py:7", "no column sum, which the view 'orders' reads"),),
    ),
    "timestamp": (
        _definitions('timestamp_field="event_timestamp"', 'timestamp_field="at"'),
        (("data", "definitions.py:7", "no column at"),),
    ),
    "no parquet": ({"data/orders.parquet": "customer_id,total\n"}, (("data", "definitions.py:5", "cannot be read"),)),
    "twice": (
        {
            "more.py": _DEFINITIONS.replace('name="orders", path', 'name="others", path').replace(
                "Float32)]", "Float64)]"
            )
        },
        (("apply", "", "orders"),),
    ),
    "other project": (
        {"project.py": 'from feast import Project\nproject = Project(name="bank", description="")\n'},
        (("apply", "feature_store.yaml", "Project object name should match"),),
    ),
}


# name -> files, what is said of the site's feature_store.yaml, and why its features cannot be rehearsed.
REHEARSED: Final[Mapping[str, tuple[dict[str, str], str, tuple[str, ...]]]] = {
    "rehearsed: files": ({}, "", ()),
    "rehearsed: unknown key": (
        {"feature_store.yaml": _STORE.replace("{type: redis,", "{type: redis, pool_size: 9,")},
        "pool_size",
        (),
    ),
    "rehearsed: on a volume": (
        _definitions('path="data/orders', 'path="/data/volume/orders'),
        "",
        ("FileSource 'orders' reads /data/volume/orders.parquet, which is not in the image",),
    ),
    "rehearsed: in a bucket": (
        _definitions('path="data/orders', 'path="s3://bucket/orders'),
        "",
        ("FileSource 'orders' reads s3://bucket/orders.parquet, which is not in the image",),
    ),
    "rehearsed: PostgreSQL without its offline store": (
        {"definitions.py": _IN_POSTGRES},
        "",
        ("PostgreSQLSource 'orders': the rehearsal does not have its offline store",),
    ),
}


@dataclass(frozen=True)
class Asked:
    """What the Feast of the example's image says of each repo, by its name: to the build, and to a rehearsal."""

    verdicts: Mapping[str, Verdict]
    preparations: Mapping[str, Preparation]


@pytest.fixture(scope="module")
def asked(built: Built) -> Asked:
    """All repos in one start of the image's Python."""
    store = BlobStore(built.cache)
    programs = {name: resources.read(f"rehearsal/{name}.py").decode() for name in ("repo", "prepare")}
    with unpacked_images.unpacked(_layers(built), store) as image, TemporaryDirectory(dir=image.folder) as top:
        Path(top).chmod(0o755)  # the topmost folder's mode is that of the image's root
        root = replace(image, names=(Path(top).name, *image.names))
        Path(top).chmod(0o755)  # it becomes the root folder of the image
        questions = {name: ("repo", _case(Path(top, "cases", name), files)) for name, files in _all().items()}
        for name, (files, _, _) in REHEARSED.items():
            questions[name] = "prepare", {**_case(Path(top, "cases", name), files), "replaced": ""}
        for name, repo in REPOS.items():
            folder = repo.write(Path(top, "cases", f"public {name}"), name)
            place = folder.relative_to(top).as_posix()
            questions[f"public {name}"] = "repo", {"folder": f"/{place}", "variables": ["PG_USER"], "mounts": []}
        command = ["/usr/bin/python3", "-B", "-W", "ignore", "-c", _DRIVER]
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/opt/feast", "LANG": "C.UTF-8"}
        argument = json.dumps([programs, questions])
        output = image_root.run(root, [*command, argument], environment, purpose="judging repos", timeout=300)
    answers = json.loads(output.splitlines()[-1])
    return Asked(
        {name: Verdict.from_json(json.loads(answers[name])) for name in answers if name not in REHEARSED},
        {name: Preparation.read(Ran(0, answers[name], 0), replaced=True) for name in REHEARSED},
    )


@pytest.fixture(scope="module")
def verdicts(asked: Asked) -> Mapping[str, Verdict]:
    return asked.verdicts


def _layers(built: Built) -> tuple[Layer, ...]:
    with Bundle.open(built.bundle) as bundle:

        def document(digest: str) -> Any:
            return json.loads(bundle.read(f"blobs/sha256/{digest.removeprefix('sha256:')}"))

        server = next(image for image in bundle.manifest.images if image.role == "feature-server")
        manifest = document(str(server.root.digest))
        manifest = document(manifest["manifests"][0]["digest"]) if "manifests" in manifest else manifest
        diff_ids = document(manifest["config"]["digest"])["rootfs"]["diff_ids"]
    rows = zip(manifest["layers"], diff_ids, strict=True)
    return tuple(Layer(Descriptor.from_json(row), Digest.parse(diff)) for row, diff in rows)


def _all() -> Mapping[str, Mapping[str, str | bytes]]:
    return {**SOUND, **{name: files for name, (files, _) in REFUSED.items()}}


def _case(folder: Path, files: Mapping[str, str | bytes]) -> dict[str, object]:
    rows = {"customer_id": [1, 2], "total": pa.array([1.0, 2.0], pa.float32())}
    times = pa.array([datetime(2026, 11, 1, tzinfo=timezone.utc)] * 2, pa.timestamp("us", "UTC"))
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.table({**rows, "event_timestamp": times}), folder / "data" / "orders.parquet")
    for name, content in {"feature_store.yaml": _STORE, "definitions.py": _DEFINITIONS, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    config = feature_store_yaml.parse((folder / "feature_store.yaml").read_text(), "feature_store.yaml")
    return {"folder": f"/cases/{folder.name}", "variables": list(config.variables), "mounts": ["/data/volume"]}


@pytest.mark.parametrize("name", sorted(SOUND))
def test_feast_finds_nothing_wrong_with_a_repo_that_works(verdicts: Mapping[str, Verdict], name: str) -> None:
    assert verdicts[name].problems == ()
    assert verdicts[name].views > 0


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_feast_names_every_problem_with_its_place(verdicts: Mapping[str, Verdict], name: str) -> None:
    _, expected = REFUSED[name]
    found = verdicts[name].problems
    assert [one.kind for one in found] == [kind for kind, _, _ in expected], found
    for one, (_, place, what) in zip(found, expected, strict=True):
        assert what in one.what
        assert place in ("", one.place), one


# What this image does not have, because the example does not ask for it.
LACKING: Final = {"tests_inside": ["pytest"], "pyproject": ["slugify"]}


@pytest.mark.parametrize("name", sorted(REPOS))
def test_feast_accepts_repos_as_people_publish_them(verdicts: Mapping[str, Verdict], name: str) -> None:
    verdict = verdicts[f"public {name}"]
    assert [one.name for one in verdict.problems] == LACKING.get(name, [])
    assert verdict.problems or verdict.views


def test_a_file_on_a_volume_is_said_and_does_not_end_the_build(verdicts: Mapping[str, Verdict]) -> None:
    (note,) = verdicts["on a volume"].notes
    assert (note.kind, note.name) == ("mounted", "/data/volume/orders.parquet")


@pytest.mark.parametrize("name", sorted(REHEARSED))
def test_a_rehearsal_knows_what_it_cannot_play(asked: Asked, name: str) -> None:
    _, refused, unplayed = REHEARSED[name]
    prepared = asked.preparations[name]
    assert (prepared.unplayed, prepared.tables) == (unplayed, ())
    # Here the servers would read that file as well.
    assert bool(prepared.refused) is bool(prepared.problem) is bool(refused)
    assert refused in "\n".join(prepared.refused)
