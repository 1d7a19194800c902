"""The baked image is real: other people's programs run it, without a network, as any user of group 0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Built, run
from tests.support import engines
from tests.support.engines import Engine
from tests.support.unpacked import Unpacked, unpacked

pytestmark = pytest.mark.e2e

NAME = "localhost/driver-stats:test"
ANY_USER = "1000730000:0"  # as OpenShift chooses one
# Everything that the deployment stands on, in one start of a container; exits non-zero at the first failure.
SCRIPT = """
id
feast version
python3 -W ignore - <<END
import importlib
from importlib.metadata import packages_distributions
modules = set(packages_distributions()) - {"__dummy__"}  # which pyarrow announces, and has not
assert {"feast", "pandas", "pyarrow", "redis", "psycopg", "grpc", "haversine", "rapidfuzz"} <= modules, modules
for module in sorted(modules):
    importlib.import_module(module)
print("imports work")
END
cat > /tmp/feature_store.yaml <<END
project: driver_stats
provider: local
registry: /tmp/registry.db
online_store: {type: sqlite, path: /tmp/online.db}
offline_store: {type: dask}
entity_key_serialization_version: 3
END
export FEAST_FS_YAML_FILE_PATH=/tmp/feature_store.yaml
feast -c /opt/feast/feature_repo apply
feast -c /opt/feast/feature_repo materialize-incremental 2026-11-01T00:00:00
python3 - <<END
import sqlite3
rows = sqlite3.connect("/tmp/online.db").execute("SELECT count(*) FROM driver_stats_driver_hourly_stats").fetchone()[0]
assert rows > 0, rows
print("rows online")
END
(echo > /opt/feast/feature_repo/scoring.py) 2>/dev/null && exit 9  # nobody but a build changes the repo
test "$(wc -l < /proc/net/route)" -le 1 || exit 8  # no network: no route anywhere, at most a heading
echo all done
"""


def source(built: Built) -> str:
    """The feature server in the bundle, as skopeo names it."""
    image = next(row for row in built.images if row["role"] == "feature-server")
    return f"oci-archive:{built.bundle}:{image['reference']}"


def check(output: str) -> None:
    for line in (
        'Version: "0.61.0"',
        "imports work",
        "Created feature view driver_hourly_stats",
        "rows online",
        "all done",
    ):
        assert line in output.replace("\x1b[1m", "").replace("\x1b[32m", "").replace("\x1b[34m", ""), output


@pytest.fixture(scope="module", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest, built: Built) -> Iterator[Engine]:
    with {"docker": engines.docker, "podman": engines.podman}[request.param]() as started:
        started.take(source(built), NAME)
        yield started


@pytest.mark.parametrize("options", [(), ("--user", ANY_USER, "--read-only", "--tmpfs", "/tmp")])
def test_the_image_serves_its_repo_in_a_real_engine(engine: Engine, options: tuple[str, ...]) -> None:
    ran = engine.run(NAME, SCRIPT, *options)
    assert ran.status == 0, ran.output
    user = r"uid=1000730000\S* gid=0" if options else r"uid=1001\(feast\) gid=0\(root\)"
    assert re.search(user, ran.output), ran.output
    check(ran.output)


@pytest.fixture(scope="module")
def runtime_bundle(built: Built) -> Iterator[Unpacked]:
    with unpacked(source(built)) as made:
        yield made


@pytest.mark.parametrize(
    ("user", "shown"), [(None, r"uid=1001\(feast\) gid=0\(root\)"), (54321, r"uid=54321\S* gid=0")]
)
def test_the_image_unpacked_by_umoci_serves_its_repo(runtime_bundle: Unpacked, user: int | None, shown: str) -> None:
    ran = runtime_bundle.run(SCRIPT, user=user, read_only=user is not None)
    assert ran.status == 0, ran.output
    assert re.search(shown, ran.output), ran.output
    check(ran.output)


def test_the_build_tried_the_imports_in_the_image_and_the_checklist_shows_which(built: Built) -> None:
    checklist = json.loads(run(["tar", "-xOf", built.bundle, "checklist.json"]))
    findings = [one for section in checklist["report"]["sections"] for one in section["findings"]]
    (found,) = [one for one in findings if one["check"] == "image-imports"]
    assert found["status"] == "pass"
    assert {
        "linux/amd64: tried in the image",
        "registry server, gRPC: feast.registry_server",
        "feature_store.yaml: online_store redis: feast.repo_config.ONLINE_STORE_CLASS_FOR_TYPE:redis",
        "feature_store.yaml: registry sql: postgresql+psycopg",
    } <= set(found["evidence"])
