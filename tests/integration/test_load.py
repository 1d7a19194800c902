"""Loading a bundle into real engines, and letting them pull what was pushed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.registry.endpoint import Access, Connection, Destination
from bundler.errors import ToolFailedError, UsageError
from bundler.model.progress import SilentProgress
from bundler.steps.transport import load, push, push_by_skopeo
from bundler.steps.transport.load import LoadOptions
from bundler.steps.transport.push import PushOptions
from tests.support import engines, pushing, registries, sample_bundles
from tests.support.sample_bundles import AMD64, ARM64, REGISTRY, SampleLayer

pytestmark = pytest.mark.integration

LAYERS = [SampleLayer.of(seed, 200_000) for seed in (31, 32, 33)]
MULTI = sample_bundles.index([sample_bundles.image(LAYERS[:2], AMD64), sample_bundles.image(LAYERS[1:], ARM64)])
IMAGES = {"team/multi:2.0": MULTI, "legacy/docker:3": sample_bundles.image([LAYERS[0]], docker=True)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_bundles.write(tmp_path_factory.mktemp("bundle") / "sample.bundle.tar", IMAGES)


@pytest.fixture(scope="module")
def docker() -> Iterator[LoadOptions]:
    with engines.docker() as engine:
        yield LoadOptions("docker", environment={"DOCKER_HOST": engine.program[2]})


@pytest.fixture
def podman(tmp_path: Path) -> LoadOptions:
    registries.require("podman")
    settings = tmp_path / "storage.conf"
    settings.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/images"\nrunroot = "{tmp_path}/run"\n')
    return LoadOptions("podman", environment={"CONTAINERS_STORAGE_CONF": str(settings)})


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> LoadOptions:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, LoadOptions)
    return found


def _said(engine: LoadOptions, *arguments: str) -> str:
    assert engine.engine
    ran = engines.call([engine.engine, *arguments], engine.environment)
    assert ran.status == 0, ran.output
    return ran.output


def test_images_are_loaded_under_the_names_that_the_manifests_use(engine: LoadOptions, bundle: Path) -> None:
    loaded = load.run(bundle, engine, SilentProgress())

    assert {image.reference: image.digest for image in loaded} == {
        f"{REGISTRY}/{name}": image.root.digest for name, image in IMAGES.items()
    }
    for image in loaded:
        found = json.loads(_said(engine, "image", "inspect", image.reference))[0]
        assert found["Architecture"] == "amd64"
        assert len(found["RootFS"]["Layers"]) in {1, 2}
    assert "127.0.0.1" not in _said(engine, "images", "--format", "{{.Repository}}")


def test_another_platform_can_be_asked_for(podman: LoadOptions, bundle: Path) -> None:
    arm = LoadOptions("podman", ("team/multi",), "linux/arm64", podman.environment)
    (loaded,) = load.run(bundle, arm, SilentProgress())
    assert json.loads(_said(podman, "image", "inspect", loaded.reference))[0]["Architecture"] == "arm64"


def test_an_engine_that_does_not_run_is_a_clear_error(bundle: Path, tmp_path: Path) -> None:
    registries.require("docker")
    absent = LoadOptions("docker", environment={"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"})
    with pytest.raises(ToolFailedError) as caught:
        load.run(bundle, absent, SilentProgress())
    assert "running" in caught.value.remedy


def test_what_is_no_engine_is_refused(bundle: Path) -> None:
    with pytest.raises(UsageError, match="not a container engine"):
        load.run(bundle, LoadOptions("/bin/true"), SilentProgress())


def test_docker_pulls_what_was_pushed_by_the_same_digest(docker: LoadOptions, bundle: Path, tmp_path: Path) -> None:
    with registries.running(tmp_path / "registry") as registry:
        destination = Destination.parse(f"{registry.address}/site")
        options = PushOptions(destination, Access(Connection(environment={}), plain_http=True))
        receipt = push.run(bundle, options, SilentProgress())
        for image in receipt.images:
            by_digest = f"{image.reference.rpartition(':')[0]}@{image.digest}"
            _said(docker, "pull", "--quiet", by_digest)
            found = json.loads(_said(docker, "image", "inspect", by_digest))[0]
            assert by_digest in found["RepoDigests"]


# A host whose signature policy refuses everything that it does not name.


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    policy = tmp_path / "home/.config/containers/policy.json"
    policy.parent.mkdir(parents=True)
    policy.write_text(json.dumps({"default": [{"type": "reject"}]}))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return policy


def accept(policy: Path, address: str) -> None:
    transports = {"docker": {address: [{"type": "insecureAcceptAnything"}]}}
    policy.write_text(json.dumps({"default": [{"type": "reject"}], "transports": transports}))


def test_a_signature_policy_that_refuses_the_bundle_is_named_and_can_accept_it(
    podman: LoadOptions, bundle: Path, refusing: Path
) -> None:
    with pytest.raises(ToolFailedError, match=r"signature policy of this host \(policy.json\) refuses") as caught:
        load.run(bundle, podman, SilentProgress())
    assert "--listen 127.0.0.1:5055" in caught.value.remedy
    address = f"127.0.0.1:{registries.free_port()}"
    accept(refusing, address)
    assert len(load.run(bundle, replace(podman, listen=address), SilentProgress())) == len(IMAGES)


def test_skopeo_pushes_where_the_policy_accepts_the_address(bundle: Path, refusing: Path, tmp_path: Path) -> None:
    with registries.running(tmp_path / "registry") as registry:
        with pytest.raises(ToolFailedError, match="signature policy"):
            push_by_skopeo.run(bundle, pushing.options(registry.address), SilentProgress())
        address = f"127.0.0.1:{registries.free_port()}"
        accept(refusing, address)
        asked = pushing.options(registry.address, listen=address)
        assert not push_by_skopeo.run(bundle, asked, SilentProgress()).failed
        assert registry.tags("team/multi") == {"2.0"}
