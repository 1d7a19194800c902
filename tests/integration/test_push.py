"""Pushing a bundle to real registries: plain, with a private authority, with logins, with a token server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Access, Connection, Destination, TlsSettings
from bundler.errors import RegistryError, UsageError
from bundler.model.progress import SilentProgress
from bundler.steps.sources import mirror
from bundler.steps.transport import push, push_by_skopeo
from bundler.steps.transport.push import PushOptions
from bundler.steps.transport.push_plan import Receipt
from tests.support import fault_proxy, forward_proxy, memory_registry, pushing, registries, sample_bundles, token_server
from tests.support.certificates import Authority
from tests.support.memory_registry import MemoryRegistry
from tests.support.registries import RunningRegistry
from tests.support.sample_bundles import AMD64, ARM64, SampleLayer

pytestmark = pytest.mark.integration

LAYERS = [SampleLayer.of(seed, 300_000 + seed) for seed in range(5)]
APP = sample_bundles.image(LAYERS[:3])
MULTI = sample_bundles.index([sample_bundles.image(LAYERS[1:4], AMD64), sample_bundles.image([LAYERS[4]], ARM64)])
DOCKER = sample_bundles.image([LAYERS[0]], docker=True)
IMAGES = {"team/app:1.0": APP, "team/multi:2.0": MULTI, "legacy/docker:3": DOCKER}
DIGESTS = {name: image.root.digest for name, image in IMAGES.items()}
# Nothing of the machine that runs the tests: no proxies, no logins, no certificates.


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_bundles.write(tmp_path_factory.mktemp("bundle") / "sample.bundle.tar", IMAGES)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with registries.running(tmp_path / "registry") as running:
        yield running


def options(registry: RunningRegistry, **more: object) -> PushOptions:
    return pushing.options(f"{registry.address}/site/feast", **more)


def run(bundle: Path, asked: PushOptions) -> Receipt:
    return push.run(bundle, asked, SilentProgress())


def test_every_image_arrives_byte_for_byte_under_its_new_name(bundle: Path, registry: RunningRegistry) -> None:
    receipt = run(bundle, options(registry))

    assert {image.reference.partition("/site/feast/")[2]: image.digest for image in receipt.images} == DIGESTS
    for name, image in IMAGES.items():
        repository, _, tag = name.partition(":")
        assert registry.manifest(f"site/feast/{repository}", tag) == image.blobs[image.root.digest]
    wanted = {digest.hex for image in IMAGES.values() for digest in image.blobs}
    assert registry.blobs() == wanted


def test_shared_blobs_are_sent_once_and_mounted_elsewhere(bundle: Path, registry: RunningRegistry) -> None:
    receipt = run(bundle, options(registry))

    # Layer 0 is in two repositories; layers 1 and 2 are in two others.
    assert receipt.blobs_mounted == 3
    assert receipt.bytes_sent == sum(len(layer.content) for layer in LAYERS) + _config_bytes()


def _config_bytes() -> int:
    configs = {
        row["config"]["digest"]: row["config"]["size"]
        for image in IMAGES.values()
        for blob in image.blobs.values()
        if blob.startswith(b'{"schemaVersion"') and "config" in (row := json.loads(blob))
    }
    return sum(configs.values())


def test_a_second_push_uploads_nothing_and_says_so(bundle: Path, registry: RunningRegistry) -> None:
    assert not run(bundle, options(registry)).unchanged

    again = run(bundle, options(registry))

    assert again.unchanged
    assert (again.bytes_sent, again.manifests_put) == (0, 0)
    assert again.to_json()["unchanged"] is True
    assert not any(image.changed for image in again.images)


def test_a_second_push_asks_once_for_each_thing_and_sends_nothing(bundle: Path, registry: RunningRegistry) -> None:
    run(bundle, options(registry))
    with fault_proxy.running(registry.address) as proxy:
        through = replace(options(registry), destination=Destination.parse(f"{proxy.address}/site/feast"))
        assert run(bundle, through).unchanged
    asked = [(one.method, one.path) for one in proxy.exchanges]
    assert asked[0] == ("GET", "/v2/")
    assert {method for method, _ in asked[1:]} == {"HEAD"}
    assert len(set(asked)) == len(asked)


def test_one_changed_layer_uploads_one_layer(bundle: Path, registry: RunningRegistry, tmp_path: Path) -> None:
    run(bundle, options(registry))
    fresh = SampleLayer.of(99, 200_000)
    changed = {**IMAGES, "team/app:1.0": sample_bundles.image([*LAYERS[:2], fresh])}
    later = sample_bundles.write(tmp_path / "later.bundle.tar", changed)

    receipt = run(later, options(registry))

    assert receipt.blobs_sent == 2  # the layer, and the config that names it
    assert receipt.manifests_put == 1
    assert [image.image for image in receipt.images if image.changed] == ["quay.example/team/app:1.0"]


def test_a_dry_run_counts_and_changes_nothing(bundle: Path, registry: RunningRegistry) -> None:
    plan = push.plan(bundle, options(registry), SilentProgress())

    assert plan.bytes_to_send == sum(len(layer.content) for layer in LAYERS) + _config_bytes()
    assert plan.bytes_present == 0
    assert registry.blobs() == set()


def test_only_the_chosen_image_is_pushed(bundle: Path, registry: RunningRegistry) -> None:
    receipt = run(bundle, options(registry, only=("quay.example/legacy/docker:3",)))

    assert [image.image for image in receipt.images] == ["quay.example/legacy/docker:3"]
    assert registry.tags("site/feast/team/app") == set()


def test_an_unknown_image_is_refused_with_the_names_there_are(bundle: Path, registry: RunningRegistry) -> None:
    with pytest.raises(UsageError, match="does not have the image 'nginx'") as caught:
        run(bundle, options(registry, only=("nginx",)))

    assert "quay.example/team/app:1.0" in caught.value.details


def test_the_receipt_is_written_as_a_file(bundle: Path, registry: RunningRegistry, tmp_path: Path) -> None:
    receipt = run(bundle, options(registry, receipt_file=tmp_path / "receipt.json"))

    assert json.loads((tmp_path / "receipt.json").read_bytes()) == receipt.to_json()


def test_progress_counts_every_byte_once_and_never_goes_back(bundle: Path, registry: RunningRegistry) -> None:
    progress = RecordingProgress()
    push.run(bundle, options(registry), progress)

    assert progress.advanced["Pushing"] == progress.totals["Pushing"] > 0
    assert progress.least_step > 0


class RecordingProgress(SilentProgress):
    """Adds up what is told; ``before`` is called when a task of that title begins."""

    def __init__(self, before: Callable[[str], None] = lambda _: None) -> None:
        self.totals: dict[str, int] = {}
        self.advanced: dict[str, int] = {}
        self.least_step = 1
        self._before = before

    @contextmanager
    def task(self, title: str, *, total: int | None = None, unit: str = "items") -> Iterator[RecordingTask]:  # noqa: ARG002  (the protocol's)
        self._before(title)
        self.totals[title] = total or 0
        self.advanced[title] = 0
        yield RecordingTask(self, title)


@dataclass(frozen=True)
class RecordingTask:
    progress: RecordingProgress
    title: str

    def advance(self, amount: int) -> None:
        self.progress.least_step = min(self.progress.least_step, amount)
        self.progress.advanced[self.title] += amount

    def note(self, text: str) -> None:
        pass


def test_a_private_authority_is_trusted_only_when_it_is_given(bundle: Path, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    with registries.running(tmp_path / "registry", tls=authority.server(), authority=authority) as registry:
        with pytest.raises(RegistryError, match="No trusted TLS") as caught:
            run(bundle, options(registry, plain_http=False))
        assert "--ca-cert" in caught.value.remedy

        trusted = TlsSettings(ca_certificates=(authority.pair.certificate,))
        receipt = run(bundle, options(registry, plain_http=False, tls=trusted))
        assert receipt.blobs_sent
        insecure = TlsSettings(verify=False)
        assert run(bundle, options(registry, plain_http=False, tls=insecure)).unchanged


def test_an_expired_certificate_is_named_as_such(bundle: Path, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    trusted = TlsSettings(ca_certificates=(authority.pair.certificate,))
    with (
        registries.running(tmp_path / "registry", tls=authority.server(days=-1)) as registry,
        pytest.raises(RegistryError, match="No trusted TLS") as caught,
    ):
        run(bundle, options(registry, plain_http=False, tls=trusted))
    assert "Renew" in caught.value.remedy


def test_a_client_certificate_lets_us_in(bundle: Path, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    ca = authority.pair.certificate
    with registries.running(tmp_path / "registry", tls=authority.server(), client_ca=ca) as registry:
        with pytest.raises(RegistryError) as caught:
            run(bundle, options(registry, plain_http=False, tls=TlsSettings((ca,)), connection=_impatient()))
        assert "certificate" in caught.value.remedy

        client = authority.client("robot")
        tls = TlsSettings((ca,), client.certificate, client.key)
        assert run(bundle, options(registry, plain_http=False, tls=tls)).blobs_sent


def _impatient(**more: object) -> Connection:
    return Connection(attempts=1, environment={}, **more)  # type: ignore[arg-type]


def test_plain_http_is_never_chosen_by_itself(bundle: Path, registry: RunningRegistry) -> None:
    with pytest.raises(RegistryError) as caught:
        run(bundle, options(registry, plain_http=False))
    assert "--plain-http" in caught.value.remedy


def test_plain_http_to_a_tls_port_says_so(bundle: Path, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    with (
        registries.running(tmp_path / "registry", tls=authority.server()) as registry,
        pytest.raises(RegistryError) as caught,
    ):
        run(bundle, options(registry))
    assert "leave --plain-http away" in caught.value.remedy


def test_a_stored_login_is_used_and_a_missing_or_wrong_one_explained(bundle: Path, tmp_path: Path) -> None:
    with registries.running(tmp_path / "registry", logins={"robot": "secret"}) as registry:
        with pytest.raises(RegistryError, match="401") as caught:
            run(bundle, options(registry))
        assert "Log in first" in caught.value.remedy

        wrong = registries.auth_file(tmp_path / "wrong.json", {registry.address: ("robot", "guess")})
        with pytest.raises(RegistryError, match="401") as caught:
            run(bundle, options(registry, connection=Connection(auth_file=wrong, environment={})))
        assert "robot" in caught.value.remedy
        assert "guess" not in str(caught.value)

        right = registries.auth_file(tmp_path / "right.json", {registry.address: ("robot", "secret")})
        found = Connection(environment={"REGISTRY_AUTH_FILE": str(right)})
        assert run(bundle, options(registry, connection=found)).blobs_sent


def test_a_login_for_a_namespace_alone_lets_us_in(bundle: Path, tmp_path: Path) -> None:
    with registries.running(tmp_path / "registry", logins={"robot": "secret"}) as registry:
        logins = registries.auth_file(tmp_path / "auth.json", {f"{registry.address}/site": ("robot", "secret")})
        found = Connection(auth_file=logins, environment={})
        receipt = run(bundle, options(registry, connection=found))
        store, access = BlobStore(tmp_path / "cache"), Access(found, plain_http=True)
        image = receipt.images[0]
        pulled = mirror.pull(
            f"{image.reference}@{image.digest}", [AMD64], store, progress=SilentProgress(), access=access
        )
        assert pulled.root.digest == image.digest


def test_tokens_are_asked_for_once_a_scope(bundle: Path, tmp_path: Path) -> None:
    server = token_server.TokenServer(tmp_path / "tokens.pem")
    with token_server.running(server) as tokens, registries.running(tmp_path / "r", token=tokens.auth) as registry:
        logins = registries.auth_file(tmp_path / "auth.json", {registry.address: tokens.login})
        receipt = run(bundle, options(registry, connection=Connection(auth_file=logins, environment={})))

    assert receipt.blobs_mounted == 3  # so a token may cover two repositories
    assert len(tokens.asked) == len(set(tokens.asked))
    assert ("repository:site/feast/team/app:pull,push",) in tokens.asked


def test_a_token_that_expires_in_the_middle_is_renewed(bundle: Path, tmp_path: Path) -> None:
    server = token_server.TokenServer(tmp_path / "tokens.pem", short_lived=100, life=1)

    def outlive_the_tokens(title: str) -> None:
        if title == "Pushing":
            time.sleep(2.2)
            server.short_lived = 0

    with token_server.running(server) as tokens, registries.running(tmp_path / "r", token=tokens.auth) as registry:
        logins = registries.auth_file(tmp_path / "auth.json", {registry.address: tokens.login})
        asked = options(registry, connection=Connection(auth_file=logins, environment={}))
        receipt = push.run(bundle, asked, RecordingProgress(outlive_the_tokens))

    assert receipt.blobs_sent
    scope = ("repository:site/feast/team/app:pull,push",)
    assert tokens.asked.count(scope) == 2


@pytest.mark.parametrize("plain", [True, False])
def test_the_proxy_of_the_environment_is_used_with_its_login(plain: bool, bundle: Path, tmp_path: Path) -> None:  # noqa: FBT001
    authority = Authority.make(tmp_path / "ca")
    pair = None if plain else authority.server("registry.test")
    with (
        registries.running(tmp_path / "registry", tls=pair) as registry,
        forward_proxy.running({f"registry.test:{registry.port}": ("127.0.0.1", registry.port)}) as proxy,
    ):
        url = f"http://user:word@{proxy.address}"
        asked = pushing.options(
            f"registry.test:{registry.port}/site",
            plain_http=plain,
            tls=TlsSettings((authority.pair.certificate,)),
            connection=Connection(environment={"https_proxy": url, "http_proxy": url}),
        )
        assert run(bundle, asked).blobs_sent
    assert proxy.seen
    assert {login for _, login in proxy.seen} == {"Basic dXNlcjp3b3Jk"}
    assert all(line.startswith("CONNECT ") is not plain for line, _ in proxy.seen)


def test_a_proxy_that_does_not_know_the_host_is_a_clear_error(bundle: Path) -> None:
    with forward_proxy.running({}) as proxy:
        environment = {"HTTPS_PROXY": f"http://user:word@{proxy.address}"}
        connection = Connection(environment=environment, attempts=2)
        asked = pushing.options("registry.test", plain_http=False, connection=connection)
        with pytest.raises(RegistryError, match=r"proxy .* did not let us") as caught:
            run(bundle, asked)
    assert "NO_PROXY" in caught.value.remedy
    assert "word" not in str(caught.value)


def test_skopeo_and_podman_pull_the_same_digests(
    bundle: Path, registry: RunningRegistry, tmp_path: Path, podman: list[str]
) -> None:
    skopeo = registries.require("skopeo")
    receipt = run(bundle, options(registry))

    for image in receipt.images:
        source = ["--tls-verify=false", f"docker://{image.reference}"]
        raw = subprocess.run([skopeo, "inspect", "--raw", *source], check=True, capture_output=True).stdout
        assert raw == IMAGES[image.reference.partition("/site/feast/")[2]].blobs[image.digest]
        copy = [skopeo, "copy", "--all", "--preserve-digests", "--src-tls-verify=false"]
        subprocess.run(
            [*copy, f"docker://{image.reference}", f"dir:{tmp_path / image.digest.short}"],
            check=True,
            capture_output=True,
        )
        subprocess.run(
            [*podman, "pull", "--quiet", "--tls-verify=false", image.reference], check=True, capture_output=True
        )
        said = subprocess.run([*podman, "image", "inspect", image.reference], check=True, capture_output=True).stdout
        assert any(text.endswith(f"@{image.digest}") for text in json.loads(said)[0]["RepoDigests"])


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Podman with storage of its own."""
    settings = tmp_path / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/podman"\nrunroot = "{tmp_path}/podman-run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(settings))
    return [registries.require("podman")]


def test_skopeo_can_do_the_pushing(bundle: Path, registry: RunningRegistry) -> None:
    registries.require("skopeo")
    receipt = push_by_skopeo.run(bundle, options(registry), SilentProgress())

    assert {image.reference.partition("/site/feast/")[2]: image.digest for image in receipt.images} == DIGESTS
    assert run(bundle, options(registry)).unchanged


def test_a_registry_that_skopeo_cannot_reach_is_the_registrys_fault(bundle: Path) -> None:
    registries.require("skopeo")
    with pytest.raises(RegistryError) as caught:
        push_by_skopeo.run(bundle, pushing.options(f"127.0.0.1:{registries.free_port()}"), SilentProgress())
    assert any("connection refused" in line for line in caught.value.details)


def test_a_registry_by_ipv6_address_is_pushed_to_and_is_not_for_skopeo(bundle: Path) -> None:
    store = MemoryRegistry()
    with memory_registry.running(store, host="::1") as address:
        receipt = push.run(bundle, pushing.options(f"{address}/feast"), SilentProgress())
        assert all(image.reference.startswith(f"{address}/feast/") for image in receipt.images)
        with pytest.raises(UsageError, match="IPv6"):
            push_by_skopeo.run(bundle, pushing.options(address), SilentProgress())
    assert store.manifests


def test_skopeo_pushes_with_a_private_authority_and_a_login(bundle: Path, tmp_path: Path) -> None:
    registries.require("skopeo")
    authority = Authority.make(tmp_path / "ca")
    tls = TlsSettings(ca_certificates=(authority.pair.certificate,))
    with registries.running(tmp_path / "r", tls=authority.server(), logins={"robot": "secret"}) as registry:
        logins = registries.auth_file(tmp_path / "auth.json", {registry.address: ("robot", "secret")})
        asked = options(registry, plain_http=False, tls=tls, connection=Connection(auth_file=logins, environment={}))
        push_by_skopeo.run(bundle, asked, SilentProgress())

        assert run(bundle, asked).unchanged
