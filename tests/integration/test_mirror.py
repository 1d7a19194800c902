"""Mirroring from real registries: platforms, signatures, mirrors, and what is not fetched again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bundler.cli.program import program
from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Access, Connection, Destination, Endpoint, TlsSettings
from bundler.effects.registry.mirrors import Location, Rule
from bundler.effects.registry.pull import PullSettings
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.session import Session
from bundler.errors import BundlerError, RegistryError, SpecError, VerificationError
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.model.spec import Mirror
from bundler.steps.sources import mirror
from bundler.steps.sources.mirror import MirrorOptions
from bundler.steps.transport import push
from bundler.steps.transport.push import PushOptions
from tests.support import fault_proxy, pushing, registries, sample_bundles
from tests.support.certificates import Authority
from tests.support.fault_proxy import Fault, Kind
from tests.support.pushing import ALONE
from tests.support.registries import RunningRegistry
from tests.support.sample_bundles import AMD64, ARM64, SampleImage, SampleLayer

pytestmark = pytest.mark.integration

LAYERS = [SampleLayer.of(seed, 150_000) for seed in range(41, 46)]
AMD, ARM = sample_bundles.image(LAYERS[:2], AMD64), sample_bundles.image(LAYERS[1:3], ARM64)
MULTI = sample_bundles.index([AMD, ARM])
DOCKER_MULTI = sample_bundles.index(
    [sample_bundles.image([LAYERS[3]], AMD64, docker=True), sample_bundles.image([LAYERS[4]], ARM64, docker=True)],
    docker=True,
)
IMAGES = {"team/multi:2.0": MULTI, "team/single:1.0": AMD, "legacy/multi:3": DOCKER_MULTI}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    folder = tmp_path_factory.mktemp("mirror")
    bundle = sample_bundles.write(folder / "sample.bundle.tar", IMAGES)
    with registries.running(folder / "registry") as running:
        options = pushing.options(running.address)
        push.run(bundle, options, SilentProgress())
        yield running


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "cache")


def options(address: str, *platforms: Platform, **more: object) -> MirrorOptions:
    rules = (Rule("quay.example", (Location(address, insecure=True),), Location("quay.example")),)
    settings = PullSettings(**{"rules": rules, "connection": ALONE, **more})  # type: ignore[arg-type]
    return MirrorOptions(platforms or (AMD64,), settings)


def _kept(store: BlobStore) -> set[Digest]:
    return {Digest(path.name) for path in (store.folder / "sha256").iterdir()}


def test_an_index_is_kept_byte_for_byte_where_all_of_it_is_wanted(registry: RunningRegistry, store: BlobStore) -> None:
    for name, image in (("team/multi:2.0", MULTI), ("legacy/multi:3", DOCKER_MULTI)):
        (found,) = mirror.run(
            [f"quay.example/{name}"], options(registry.address, AMD64, ARM64), store, SilentProgress()
        )
        assert (found.root.digest, found.source_digest) == (image.root.digest, image.root.digest)
        assert found.root.media_type == image.root.media_type
        assert image.blobs.keys() <= _kept(store)


def test_an_index_loses_the_platforms_that_are_not_wanted(registry: RunningRegistry, store: BlobStore) -> None:
    (found,) = mirror.run(["quay.example/team/multi:2.0"], options(registry.address), store, SilentProgress())

    assert found.source_digest == MULTI.root.digest
    assert found.root.digest != MULTI.root.digest
    rows = json.loads(store.read(found.root.digest))["manifests"]
    assert [row["digest"] for row in rows] == [str(AMD.root.digest)]
    assert Digest.of(LAYERS[2].content) not in _kept(store)


def test_a_missing_platform_is_told_with_those_there_are(registry: RunningRegistry, store: BlobStore) -> None:
    with pytest.raises(SpecError, match="linux/arm64"):
        mirror.run(["quay.example/team/single:1.0"], options(registry.address, ARM64), store, SilentProgress())


def test_what_is_in_the_cache_is_not_fetched_again(registry: RunningRegistry, store: BlobStore) -> None:
    with fault_proxy.running(registry.address) as proxy:
        references = [f"quay.example/{name}" for name in IMAGES]
        first = mirror.run(references, options(proxy.address), store, SilentProgress())
        fetched = proxy.count("GET", "/blobs/")
        # Layers are shared: each came once.
        assert fetched == len({one.path.rpartition("/")[2] for one in proxy.exchanges if "/blobs/" in one.path})

        again = mirror.run(references, options(proxy.address), store, SilentProgress())
        assert again == first
        assert proxy.count("GET", "/blobs/") == fetched

        requests = len(proxy.exchanges)
        pinned = [
            f"{text.rpartition(':')[0]}@{image.source_digest}" for text, image in zip(references, first, strict=True)
        ]
        found = mirror.run(pinned, options(proxy.address), store, SilentProgress())
        assert [image.root for image in found] == [image.root for image in first]
        assert len(proxy.exchanges) == requests  # pinned and known: no registry is asked


def test_a_plan_counts_without_fetching(registry: RunningRegistry, store: BlobStore) -> None:
    references = ["quay.example/team/multi:2.0", "quay.example/team/single:1.0"]
    plan = mirror.plan(references, options(registry.address), store, SilentProgress())

    layers = {Digest.of(layer.content): len(layer.content) for layer in LAYERS[:2]}
    assert sum(layers.values()) <= plan.bytes_to_fetch <= sum(layers.values()) + 2000
    assert not layers.keys() & _kept(store)
    assert [image.reference for image in plan.images] == references

    mirror.run(references, options(registry.address), store, SilentProgress())
    assert mirror.plan(references, options(registry.address), store, SilentProgress()).bytes_to_fetch == 0


def test_the_next_source_is_tried_where_a_mirror_fails(registry: RunningRegistry, store: BlobStore) -> None:
    dead = f"127.0.0.1:{registries.free_port()}"
    places = (Location(dead, insecure=True), Location(f"{registry.address}/nothing", insecure=True))
    rules = (Rule("quay.example", (*places, Location(registry.address, insecure=True)), Location("quay.example")),)
    (found,) = mirror.run(["quay.example/team/single:1.0"], options("", rules=rules), store, SilentProgress())
    assert found.root.digest == AMD.root.digest


def test_every_failed_source_is_told(registry: RunningRegistry, store: BlobStore) -> None:
    last = Location(f"{registry.address}/also-nothing", insecure=True)
    rules = (Rule("quay.example", (Location(f"{registry.address}/nothing", insecure=True),), last),)
    with pytest.raises(RegistryError, match=r"No source has quay\.example/team/single:1\.0") as caught:
        mirror.run(["quay.example/team/single:1.0"], options("", rules=rules), store, SilentProgress())
    assert len(caught.value.details) == 2


def test_a_damaged_blob_at_the_source_is_refused(tmp_path: Path, store: BlobStore) -> None:
    bundle = sample_bundles.write(tmp_path / "sample.bundle.tar", {"team/single:1.0": AMD})
    with registries.running(tmp_path / "registry") as damaged:
        asked = pushing.options(damaged.address)
        push.run(bundle, asked, SilentProgress())
        hexadecimal = Digest.of(LAYERS[0].content).hex
        path = damaged.data / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
        path.write_bytes(LAYERS[0].content[:-1] + b"!")
        with pytest.raises(VerificationError, match=hexadecimal):
            mirror.run(["quay.example/team/single:1.0"], options(damaged.address), store, SilentProgress())
    assert Digest(hexadecimal) not in _kept(store)


def _artifact(repository: Repository, blob: bytes, subject: Descriptor | None) -> tuple[bytes, Descriptor]:
    """Put a blob, and return a manifest that holds it and may refer to another."""
    digest = Digest.of(blob)
    url = repository.begin_upload()
    repository.session.exchange(
        "PUT",
        f"{url}&digest={digest}",
        doing="putting a test's blob",
        headers={"Content-Type": "application/octet-stream", "Content-Length": str(len(blob))},
        body=blob,
    )
    row = {"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": str(digest), "size": len(blob)}
    value: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": {**row, "mediaType": "application/vnd.oci.image.config.v1+json"},
        "layers": [row],
    }
    if subject:
        value["subject"] = replace(subject, platform=None).to_json()
    content = json.dumps(value).encode()
    return content, Descriptor(media_types.OCI_MANIFEST, Digest.of(content), len(content))


def test_signatures_and_referrers_come_along(registry: RunningRegistry, store: BlobStore, tmp_path: Path) -> None:
    session = Session(Endpoint(registry.address, plain_http=True), ALONE)
    repository = Repository(session, "team/single", write=True)
    signature, signed = _artifact(repository, b'{"critical": "signature"}', None)
    repository.put_manifest(f"sha256-{AMD.root.digest.hex}.sig", signature, media_types.OCI_MANIFEST)
    referrer, referring = _artifact(repository, b'{"bill": "of materials"}', AMD.root)
    repository.put_manifest(referring.digest, referrer, media_types.OCI_MANIFEST)
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [referring.to_json()]}
    ).encode()
    repository.put_manifest(f"sha256-{AMD.root.digest.hex}", index, media_types.OCI_INDEX)
    session.close()

    (found,) = mirror.run(["quay.example/team/single:1.0"], options(registry.address), store, SilentProgress())

    names = {companion.reference.rpartition(":")[2]: companion.root for companion in found.companions}
    assert names.keys() == {f"sha256-{AMD.root.digest.hex}.sig", f"sha256-{AMD.root.digest.hex}"}
    assert names[f"sha256-{AMD.root.digest.hex}.sig"].digest == signed.digest
    assert {Digest.of(signature), Digest.of(referrer), referring.digest} <= _kept(store)
    assert store.read(Digest.of(b'{"bill": "of materials"}'))

    (without,) = mirror.run(
        ["quay.example/team/single:1.0"], options(registry.address, companions=False), store, SilentProgress()
    )
    assert without.companions == ()
    # They can be pushed like any other image.
    images = {
        "team/single:1.0": AMD,
        f"team/single:sha256-{AMD.root.digest.hex}.sig": SampleImage(
            signed,
            {signed.digest: signature, Digest.of(b'{"critical": "signature"}'): b'{"critical": "signature"}'},
            platforms=(),
        ),
    }
    bundle = sample_bundles.write(tmp_path / "signed.bundle.tar", images)
    with registries.running(tmp_path / "target") as target:
        asked = pushing.options(target.address)
        push.run(bundle, asked, SilentProgress())
        assert target.manifest("team/single", f"sha256-{AMD.root.digest.hex}.sig") == signature


@pytest.mark.parametrize("status", [500, 503])
def test_what_a_registry_does_not_say_of_companions_is_said_and_asked_again(
    status: int, registry: RunningRegistry, store: BlobStore
) -> None:
    said: list[str] = []

    class Telling(SilentProgress):
        def say(self, text: str) -> None:
            said.append(text)

    connection = replace(ALONE, attempts=2)
    with fault_proxy.running(registry.address) as proxy:
        reference = f"quay.example/team/single@{AMD.root.digest}"
        asked = options(proxy.address, connection=connection)
        proxy.faults = [
            Fault(Kind.ANSWER, "GET", "/referrers/", times=2, status=status),
            Fault(Kind.ANSWER, "GET", "/manifests/sha256-[0-9a-f]{64}$", status=404),
        ]
        (found,) = mirror.run([reference], asked, store, Telling())
        assert found.root.digest == AMD.root.digest
        assert "is not known" in said[0]
        assert str(status) in said[0]
        proxy.faults.clear()
        said.clear()
        mirror.run([reference], asked, store, Telling())
        assert said == []


@pytest.mark.parametrize("reader", ["bundler", "skopeo"])
def test_one_call_reads_registries_and_every_other_transport(
    reader: str, registry: RunningRegistry, store: BlobStore, tmp_path: Path
) -> None:
    registries.require("skopeo")
    mirrors = [Mirror(source="quay.example", location=registry.address, insecure=True)]
    reference = "quay.example/team/single:1.0"
    pulled = mirror.pull(reference, [AMD64], store, progress=SilentProgress(), mirrors=mirrors, reader=reader)
    assert (pulled.reference, pulled.root.digest) == (reference, AMD.root.digest)

    bundle = sample_bundles.write(tmp_path / "sample.tar", {"team/single:1.0": AMD})
    source = f"oci-archive:{bundle}:quay.example/team/single:1.0"
    pulled = mirror.pull(source, [AMD64], store, progress=SilentProgress(), reader=reader)
    assert pulled.root.digest == AMD.root.digest


# How the user says that registries are reached: the same for our client and for skopeo.


@dataclass(frozen=True)
class Guarded:
    """A registry with a certificate of its own authority, a login, and a demand for the client's certificate."""

    reference: str
    access: Access
    certificate_only: Access


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority.make(folder / "ca")
    client = authority.client("mirror")
    tls = TlsSettings((authority.pair.certificate,), client.certificate, client.key)
    bundle = sample_bundles.write(folder / "sample.bundle.tar", {"team/single:1.0": AMD})
    with registries.running(
        folder / "registry",
        tls=authority.server(),
        authority=authority,
        client_ca=authority.pair.certificate,
        logins={"robot": "secret"},
    ) as running:
        logins = registries.auth_file(folder / "auth.json", {running.address: ("robot", "secret")})
        connection = Connection(auth_file=logins, environment={})
        asked = PushOptions(Destination.parse(running.address), Access(connection, tls))
        push.run(bundle, asked, SilentProgress())
        nobody = Access(ALONE, tls)
        yield Guarded(f"{running.address}/team/single:1.0", Access(connection, tls, retry_times=0), nobody)


@pytest.mark.parametrize("reader", ["bundler", "skopeo"])
def test_a_guarded_registry_is_read_with_login_authority_and_client_certificate(
    reader: str, guarded: Guarded, store: BlobStore
) -> None:
    registries.require("skopeo")

    def pull(access: Access | None) -> Digest:
        found = mirror.pull(guarded.reference, [AMD64], store, progress=SilentProgress(), reader=reader, access=access)
        return found.root.digest

    with pytest.raises(RegistryError, match="certificate"):
        pull(replace(guarded.access, tls=TlsSettings()))
    with pytest.raises(RegistryError):  # the registry asks for a certificate of the client, too
        pull(replace(guarded.access, tls=TlsSettings(guarded.access.tls.ca_certificates)))
    with pytest.raises(RegistryError, match=r"(?i)log ?in|let"):
        pull(guarded.certificate_only)
    assert pull(guarded.access) == AMD.root.digest


@pytest.mark.parametrize("reader", ["bundler", "skopeo"])
def test_a_certificate_is_taken_unseen_and_http_spoken_only_where_that_is_asked_for(
    reader: str, registry: RunningRegistry, store: BlobStore, tmp_path: Path
) -> None:
    registries.require("skopeo")
    authority = Authority.make(tmp_path / "ca")
    bundle = sample_bundles.write(tmp_path / "sample.bundle.tar", {"team/single:1.0": AMD})

    def pull(address: str, access: Access) -> Digest:
        reference = f"{address}/team/single:1.0"
        return mirror.pull(
            reference, [AMD64], store, progress=SilentProgress(), reader=reader, access=access
        ).root.digest

    with registries.running(tmp_path / "registry", tls=authority.server(), authority=authority) as secured:
        trusting = Access(ALONE, TlsSettings((authority.pair.certificate,)))
        asked = PushOptions(Destination.parse(secured.address), trusting)
        push.run(bundle, asked, SilentProgress())
        with pytest.raises(RegistryError):
            pull(secured.address, Access(ALONE, retry_times=0))
        assert pull(secured.address, Access(ALONE, TlsSettings(verify=False))) == AMD.root.digest
    with pytest.raises(RegistryError):
        pull(registry.address, Access(ALONE, retry_times=0))
    assert pull(registry.address, Access(ALONE, plain_http=True)) == AMD.root.digest


@pytest.mark.parametrize("command", [("build", "--dry-run"), ("lock",)])
def test_the_command_line_hands_its_options_to_the_registry(
    command: tuple[str, ...], guarded: Guarded, tmp_path: Path
) -> None:
    example = Path(__file__).parents[2] / "examples/driver-stats"
    project = Path(shutil.copytree(example, tmp_path / "project", ignore=shutil.ignore_patterns("dist", "*.lock")))
    spec = (project / "bundle.yaml").read_text()
    assert spec.count("debian: bookworm") >= 1
    (project / "bundle.yaml").write_text(spec.replace("debian: bookworm", f"image: {guarded.reference}", 1))
    tls, logins = guarded.access.tls, guarded.access.connection.auth_file
    reaching = ["--authfile", logins, "--ca-cert", tls.ca_certificates[0]]
    reaching += ["--client-cert", tls.client_certificate, "--client-key", tls.client_key]
    asked = [*command, "-f", project / "bundle.yaml", "--cache-dir", tmp_path / "cache", "--retry-times", "0"]

    def run(*more: object) -> Result:
        return CliRunner().invoke(program, [str(word) for word in (*asked, *more)])

    assert isinstance(run().exception, RegistryError)
    done = run(*reaching)
    if command == ("lock",):  # the image was read; that it holds no Python is found only then
        assert isinstance(done.exception, BundlerError)
        assert not isinstance(done.exception, RegistryError)
        return
    assert done.exit_code == 0, done.exception
    assert guarded.reference in done.stdout


def test_the_number_of_repetitions_is_what_was_asked_for(registry: RunningRegistry, store: BlobStore) -> None:
    with fault_proxy.running(registry.address) as proxy:
        for retries in (0, 2):
            proxy.exchanges.clear()
            proxy.faults = [Fault(Kind.ANSWER, times=10)]
            access = Access.of(auth_file=None, tls=TlsSettings(), plain_http=True, retry_times=retries)
            with pytest.raises(RegistryError):
                mirror.pull(
                    f"{proxy.address}/team/single:1.0", [AMD64], store, progress=SilentProgress(), access=access
                )
            assert len(proxy.exchanges) == retries + 1
