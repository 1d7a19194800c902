"""Pods of every wiring and topology serve features without a network: real Feast, Redis, PostgreSQL, Docker, Podman."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.model import spec_reader
from bundler.model.spec import BundleSpec
from bundler.render import manifests
from tests.e2e.conftest import Built, build, bundler, copy_example, run
from tests.support import engines, host_images
from tests.support.command_line import Called, called

pytestmark = pytest.mark.e2e
NEWEST = "0.67.0"
OPERATOR = {"0.61.0": "0.61.0", NEWEST: "0.67.0"}
STORES = "localhost/stores:1"
GUIDE = """\
apiVersion: feast.dev/v1
kind: FeatureStore
metadata:
  name: sample
spec:
  feastProject: driver_stats
  services:
    disableInitContainers: true
    onlineStore:
      server:
        image: {image}
"""


@dataclass(frozen=True)
class RehearsalEngine:
    """An engine that has an image with Redis and PostgreSQL."""

    options: tuple[str, ...]
    environment: Mapping[str, str]

    def rehearse(self, bundle: Path, *options: str | Path) -> tuple[Called, list[dict[str, Any]]]:
        ran = called("rehearse", bundle, *self.options, "--output", "json", *options, environment=self.environment)
        assert ran.stdout, ran.stderr
        report = json.loads(ran.stdout)
        return ran, [finding for section in report["sections"] for finding in section["findings"]]


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsalEngine]:
    tar = host_images.write_stores(tmp_path_factory.mktemp("stores") / "root.tar")
    with engines.docker() as engine:
        subprocess.run([*engine.program, "import", tar, STORES], check=True, capture_output=True)
        options = ("--engine", "docker", "--keep-images", "--redis", STORES, "--postgres", STORES)
        yield RehearsalEngine(options, {"DOCKER_HOST": engine.program[-1]})


def example(folder: Path, version: str, cache: Path, *options: str, **environment: str) -> Built:
    """Build the example with a Feast, and a registry that servers read anew every two seconds."""
    project = copy_example(folder)
    spec = project / "bundle.yaml"
    text = spec.read_text().replace("version: 0.61.0", f"version: {version}", 1)
    head, tail = text.split("operator:\n", 1)
    spec.write_text(f"{head}operator:\n{tail.replace('version: 0.61.0', f'version: {OPERATOR[version]}', 1)}")
    store = project / "feature_repo" / "feature_store.yaml"
    store.write_text(store.read_text().replace("cache_ttl_seconds: 60", "cache_ttl_seconds: 2"))
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        return build(project, cache, folder / "dist", *options)


# Both take the base and kubectl out of the cache that the example's own bundle has filled.
@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory, built: Built, docker: RehearsalEngine) -> Built:
    """The bundle with the oldest Feast that is rehearsed; its build has rehearsed it."""
    options = ("--rehearse", "--redis", STORES, "--postgres", STORES)
    return example(tmp_path_factory.mktemp("oldest"), "0.61.0", built.cache, *options, **docker.environment)


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Built:
    return example(tmp_path_factory.mktemp("newest"), NEWEST, built.cache)


def rendered(built: Built, folder: Path, **deployment: Any) -> Path:
    """Write the manifests that the built spec would have with other keys of deployment, for the built image."""
    document = yaml.safe_load((built.project / "bundle.yaml").read_text())
    tenants = deployment.pop("tenants", [])
    document["deployment"] |= deployment
    spec: BundleSpec = spec_reader.read(yaml.safe_dump({**document, "tenants": tenants}), "bundle.yaml")
    config = (built.project / "feature_repo" / "feature_store.yaml").read_text()
    if deployment.get("topology", "").startswith("enterprise") and deployment.get("auth") != {"type": "no_auth"}:
        config = config.replace("type: no_auth", "type: kubernetes")
    names = {image["role"]: f"{image['internal']}@{image['root']['digest']}" for image in built.images}  # type: ignore[index]
    images = manifests.DeploymentImages(names["feature-server"], names["kubectl"], "/opt/feast/feature_repo")
    known = Capabilities.for_version(spec.operator.version)
    parsed = feature_store.parse(config, "feature_store.yaml")
    for rendered_file in manifests.render(spec, parsed, images, known).values():
        file = folder / rendered_file.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rendered_file.text)
    return folder


def assert_served(ran: Called, findings: list[dict[str, Any]], views: int = 1) -> None:
    """Check that nothing failed, and that values came back by HTTP for so many feature views."""
    failed = [finding for finding in findings if finding["status"] == "fail"]
    assert (ran.status, failed) == (0, []), ran.stderr
    online = [finding for finding in findings if finding["check"] == "online" and finding["status"] == "pass"]
    assert len(online) == views
    for finding in online:
        assert "/get-online-features: status 200" in finding["evidence"][0]
        assert {"driver_id", "conv_rate"} <= json.loads(finding["evidence"][1]).keys()
    routes = [finding["evidence"] for finding in findings if finding["check"] == "network"]
    assert routes == [["0 routes in /proc/net/route"]] * len(routes) != []


def test_the_bundle_as_it_is_serves_from_redis_and_postgres(
    docker: RehearsalEngine, oldest: Built, tmp_path: Path
) -> None:
    values = tmp_path / "values.env"
    values.write_text("# of the site\nPOSTGRES_USER=ada-lovelace\nPOSTGRES_PASSWORD=correct-horse\n")
    report = tmp_path / "report.json"
    ran, findings = docker.rehearse(oldest.bundle, "--values", values, "--report", report)
    assert_served(ran, findings)
    assert not [one for one in findings if "SQLite and files" in one["title"]]
    commands = [one["title"] for one in findings if one["check"] == "cron"]
    assert commands[0] == "CronJob: feast apply"
    assert commands[1].startswith("CronJob: feast materialize-incremental")
    assert json.loads(report.read_text()) == json.loads(ran.stdout)
    assert "correct-horse" not in ran.stdout + ran.stderr


INGRESS = {"hosts": {"online": "features.internal.example"}, "className": "nginx", "tlsSecret": "features-tls"}
POLICIES = {"stores": [{"namespace": "stores", "ports": [5432, 6379]}], "clients": ["scoring"]}


def over_tls(docker: RehearsalEngine, built: Built, folder: Path, **deployment: Any) -> list[str]:
    """Rehearse manifests of a bundle, check that they serve over TLS, and return the titles of the findings."""
    ran, findings = docker.rehearse(built.bundle, "--manifests", rendered(built, folder, **deployment))
    assert_served(ran, findings)
    served = next(one for one in findings if one["check"] == "online")
    assert served["evidence"][0].startswith("POST https://")
    return [one["title"] for one in findings]


@pytest.fixture(params=["oldest", "newest"])
def release(request: pytest.FixtureRequest) -> Built:
    """The example's bundle with the oldest Feast that is rehearsed, and with the newest."""
    return cast("Built", request.getfixturevalue(request.param))


# Every wiring and every topology serves with both, not each with each: the oldest bundle as it is, and the newest
# below, are minimal and baked; two tenants share a registry.
def test_a_standard_deployment_serves_over_tls(docker: RehearsalEngine, release: Built, tmp_path: Path) -> None:
    titles = over_tls(docker, release, tmp_path, topology="standard", wiring="mounted", ingress=INGRESS)
    assert not any("authentication by kubernetes" in title for title in titles)


def test_an_isolated_deployment_lets_in_by_kubernetes(docker: RehearsalEngine, release: Built, tmp_path: Path) -> None:
    keys = {"topology": "enterprise-isolated", "wiring": "operator", "networkPolicies": POLICIES}
    titles = over_tls(docker, release, tmp_path, **keys)
    assert any("authentication by kubernetes" in title for title in titles)


def test_the_newest_feast_serves_from_a_read_only_root(docker: RehearsalEngine, newest: Built) -> None:
    assert_served(*docker.rehearse(newest.bundle, "--read-only-root"))


# The oldest Feast shares a registry below, where tenants have repos of their own.
def test_two_tenants_serve_with_one_shared_registry(docker: RehearsalEngine, newest: Built, tmp_path: Path) -> None:
    folder = rendered(
        newest,
        tmp_path,
        topology="enterprise-shared",
        wiring="mounted",
        auth={"type": "no_auth"},  # authentication at a shared registry is refused with this Feast
        networkPolicies=POLICIES,
        tls={"caConfigMap": "registry-ca"},
        tenants=[{"name": "team-a", "project": "team_a"}, {"name": "team-b", "project": "team_b"}],
    )
    ran, findings = docker.rehearse(newest.bundle, "--manifests", folder)
    assert_served(ran, findings, views=2)


TENANTS = """\
tenants:
  - name: team-a
    repo: {path: team_a}
  - name: team-b
    repo: {path: team_b}
"""
PERMISSION = """

from feast.feast_object import ALL_RESOURCE_TYPES
from feast.permissions.action import READ
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy

readers = Permission(name="readers", types=ALL_RESOURCE_TYPES, policy=RoleBasedPolicy(roles=["reader"]), actions=READ)
"""
# One tenant reads from a table that only its site has.
TABLE = """

from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

hourly_stats_file = PostgreSQLSource(
    table="fleet.hourly_stats", timestamp_field="event_timestamp", created_timestamp_column="created"
)
"""
OFFLINE = {
    "type": "postgres",
    "host": "${POSTGRES_HOST}",
    "port": 5432,
    "database": "fleet",
    "user": "${POSTGRES_USER}",
    "password": "${POSTGRES_PASSWORD}",
}
SHARED = """\
  topology: enterprise-shared
  networkPolicies: {stores: [{namespace: stores, ports: [5432, 6379]}], clients: [scoring]}
  tls: {caConfigMap: registry-ca}
"""


def _source(definitions: Path) -> tuple[str, str, str]:
    """Return the text before the file source, the source, and the text behind it."""
    head, source = definitions.read_text().split("# Absolute, so that", 1)
    source, tail = source.split("hourly_stats_push", 1)
    return head, source, f"hourly_stats_push{tail}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Built:
    """Build a shared registry and two tenants, each with a feature repo and so an image of its own."""
    folder = tmp_path_factory.mktemp("shared")
    project = copy_example(folder)
    spec = project / "bundle.yaml"
    spec.write_text(f"{spec.read_text().rstrip()}\n{SHARED}{TENANTS}")
    store = project / "feature_repo" / "feature_store.yaml"
    main = store.read_text().replace("type: no_auth", "type: kubernetes").replace("_seconds: 60", "_seconds: 2")
    for team in ("team_a", "team_b"):
        shutil.copytree(project / "feature_repo", project / team)
        document = {**yaml.safe_load(main), "project": team}
        remote = "feast-driver-stats-registry.feast.svc.cluster.local:443"
        document["registry"] = {"registry_type": "remote", "path": remote, "cert": "/tls/registry/ca.crt"}
        if team == "team_b":
            document["offline_store"] = OFFLINE
        (project / team / "feature_store.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        with (project / team / "definitions.py").open("a") as definitions:
            definitions.write(PERMISSION)
    head, source, tail = _source(project / "team_b" / "definitions.py")
    assert "FileSource(" in source
    (project / "team_b" / "definitions.py").write_text(head + TABLE + tail)
    shutil.rmtree(project / "feature_repo")
    store.parent.mkdir()
    store.write_text(main)
    (store.parent / "permissions.py").write_text(PERMISSION.strip())
    return build(project, built.cache, folder / "dist")


def test_tenants_with_repos_of_their_own_serve_with_a_shared_registry(docker: RehearsalEngine, shared: Built) -> None:
    ran, findings = docker.rehearse(shared.bundle)
    assert_served(ran, findings, views=2)
    images = {line.split("@")[0] for one in findings if one["check"] == "server" for line in one["evidence"][:1]}
    names = {image.rpartition("/")[2] for image in images}
    assert names == {f"{name}-feature-server:0.1.0" for name in ("driver-stats", "team-a", "team-b")}
    (made,) = [one for one in findings if one["check"] == "sources"]
    assert (made["status"], made["evidence"]) == ("pass", ["fleet.hourly_stats: 9 columns, 3 rows"])


def test_one_tenants_new_code_is_one_new_layer(shared: Built, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(shared.project, project)
    definitions = project / "team_a" / "definitions.py"
    definitions.write_text(definitions.read_text() + "\n# one more line\n")
    bundler("lock", "-f", project / "bundle.yaml", "--cache-dir", shared.cache)
    changed = build(project, shared.cache, tmp_path / "dist", "--locked")

    def layers(bundle: Path) -> dict[str, tuple[str, ...]]:
        listed = json.loads(run(["tar", "-xOf", bundle, "bundle.json"]))["images"]
        names = [image["internal"] for image in listed if image["role"] == "feature-server"]
        return {
            name: tuple(json.loads(run(["skopeo", "inspect", f"oci-archive:{bundle}:{name}"]))["Layers"])
            for name in names
        }

    before, after = layers(shared.bundle), layers(changed.bundle)
    (moved,) = [name for name in before if before[name] != after[name]]
    assert moved.endswith("/team-a-feature-server:0.1.0")
    assert before[moved][:-1] == after[moved][:-1]
    assert len({found[:-1] for found in after.values()}) == 1


def test_the_resource_of_feasts_guide_fails_as_it_does_on_clusters(
    docker: RehearsalEngine, oldest: Built, tmp_path: Path
) -> None:
    server = next(image for image in oldest.images if image["role"] == "feature-server")
    (tmp_path / "featurestore.yaml").write_text(GUIDE.format(image=server["internal"]))
    ran, findings = docker.rehearse(oldest.bundle, "--manifests", tmp_path, "--operator-version", "0.61.0")
    assert ran.status == 3
    (server_finding,) = [finding for finding in findings if finding["status"] == "fail"]
    assert any("Can't find feature repo configuration file" in line for line in server_finding["evidence"])
    assert "FEATURE_REPO_DIR_ENV_VAR" in server_finding["remedy"]


def test_a_build_packs_what_served_with_the_evidence_in_its_checklist(oldest: Built) -> None:
    checklist = json.loads(run(["tar", "-xOf", oldest.bundle, "checklist.json"]))
    titles = [
        section["title"] for section in checklist["report"]["sections"] if section["title"].startswith("Rehearsal of ")
    ]
    sections = ["The images", "feast/feast-driver-stats", "What the rehearsal does not cover"]
    assert [title.rpartition(": ")[2] for title in titles] == sections
    assert "returns what was materialized" in run(["tar", "-xOf", oldest.bundle, "CHECKLIST.md"])


def test_a_build_whose_pods_do_not_serve_is_refused(docker: RehearsalEngine, oldest: Built, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(oldest.project, project, ignore=shutil.ignore_patterns("dist"))
    definitions = project / "feature_repo" / "definitions.py"
    # The check in the image, which comes first and is confined, has another user than a pod.
    only_there = "\nimport os\n\nif os.getuid() != 0:\n    raise RuntimeError('only on the cluster')\n"
    definitions.write_text(definitions.read_text() + only_there)
    (project / "bundle.lock").unlink()
    command: list[str | Path] = [
        "build",
        "-f",
        project / "bundle.yaml",
        "-o",
        tmp_path / "dist",
        "--cache-dir",
        oldest.cache,
    ]
    ran = called(*command, "--rehearse", environment=docker.environment)
    assert ran.status == 3
    assert "The rehearsal failed" in ran.stderr
    assert "only on the cluster" in ran.stderr
    assert not list((tmp_path / "dist").iterdir())


def test_an_image_that_the_engine_lacks_is_named(docker: RehearsalEngine, oldest: Built) -> None:
    ran = called("rehearse", oldest.bundle, "--redis", "nobody/redis:0", environment=docker.environment)
    assert ran.status == 2
    assert "nobody/redis:0" in ran.stderr
