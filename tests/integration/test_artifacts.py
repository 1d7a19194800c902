"""Artifacts beside an image (signatures, attestations, bills of materials): mirrored, packed, verified, pushed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.registry.endpoint import Endpoint
from bundler.effects.registry.mirrors import Location, Rule
from bundler.effects.registry.pull import PullSettings
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.session import Session
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.build import pack
from bundler.steps.build.pack import ImageToPack
from bundler.steps.bundle import verify
from bundler.steps.sources import mirror
from bundler.steps.sources.mirror import MirrorOptions
from bundler.steps.transport import push
from tests.support import pushing, registries, sample_bundles, validate
from tests.support.pushing import ALONE
from tests.support.registries import RunningRegistry
from tests.support.sample_bundles import AMD64, SampleLayer
from tests.unit import packed

pytestmark = pytest.mark.integration

APP = sample_bundles.image([SampleLayer.of(71, 20_000)], AMD64)
EMPTY = b"{}"
NO_PLATFORM = b'{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}'


@dataclass(frozen=True)
class Kind:
    """What a tool writes; ``tag`` where it is found by its tag, not as a referrer."""

    config_type: str
    config: bytes
    blob_type: str
    artifact_type: str = ""
    tag: str = ""

    def manifest(self, blob: bytes) -> bytes:
        value: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": _row(self.config_type, self.config),
            "layers": [_row(self.blob_type, blob)],
        }
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if not self.tag:
            value["subject"] = replace(APP.root, platform=None).to_json()
        return json.dumps(value).encode()


KINDS: Mapping[str, Kind] = {
    "cosign signature": Kind(
        media_types.OCI_CONFIG, NO_PLATFORM, "application/vnd.dev.cosign.simplesigning.v1+json", tag="sig"
    ),
    "cosign attestation": Kind(media_types.OCI_CONFIG, NO_PLATFORM, "application/vnd.dsse.envelope.v1+json", tag="att"),
    "cosign bill": Kind(media_types.OCI_CONFIG, NO_PLATFORM, "text/spdx+json", tag="sbom"),
    "sigstore bundle": Kind(
        "application/vnd.oci.empty.v1+json",
        EMPTY,
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    ),
    "notation": Kind("application/vnd.cncf.notary.signature", EMPTY, "application/jose+json"),
    "ORAS artifact": Kind("application/vnd.oci.empty.v1+json", EMPTY, "application/spdx+json", "application/spdx+json"),
}


def _row(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def _opener(blobs: Mapping[Digest, bytes]) -> validate.OpenBlob:
    return lambda digest: io.BytesIO(blobs[digest])


@pytest.fixture
def source(tmp_path: Path) -> Iterator[RunningRegistry]:
    bundle = sample_bundles.write(tmp_path / "sample.bundle.tar", {"team/app:1.0": APP})
    with registries.running(tmp_path / "source") as running:
        push.run(bundle, pushing.options(running.address), SilentProgress())
        yield running


def _put(registry: RunningRegistry, kind: Kind) -> bytes:
    """Put an artifact beside the image, as its tool does with a registry that has no referrers API."""
    blob = b'{"of": "a test"}'
    content = kind.manifest(blob)
    session = Session(Endpoint(registry.address, plain_http=True), ALONE)
    repository = Repository(session, "team/app", write=True)
    for part in (blob, kind.config):
        session.exchange(
            "PUT",
            f"{repository.begin_upload()}&digest={Digest.of(part)}",
            doing="putting a blob of a test",
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(len(part))},
            body=part,
        )
    subject = f"sha256-{APP.root.digest.hex}"
    if kind.tag:
        repository.put_manifest(f"{subject}.{kind.tag}", content, media_types.OCI_MANIFEST)
    else:
        repository.put_manifest(Digest.of(content), content, media_types.OCI_MANIFEST)
        rows = [_row(media_types.OCI_MANIFEST, content)]
        index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": rows}
        repository.put_manifest(subject, json.dumps(index).encode(), media_types.OCI_INDEX)
    session.close()
    return content


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("volume_size", [None, 100_000])
def test_an_artifact_beside_an_image_goes_all_the_way(
    name: str, volume_size: int | None, source: RunningRegistry, tmp_path: Path
) -> None:
    kind = KINDS[name]
    content = _put(source, kind)
    store = BlobStore(tmp_path / "cache")
    rules = (Rule("quay.example", (Location(source.address, insecure=True),), Location("quay.example")),)
    asked = MirrorOptions((AMD64,), PullSettings(rules=rules, connection=ALONE))
    (image,) = mirror.run(["quay.example/team/app:1.0"], asked, store, SilentProgress())
    (companion,) = image.companions

    assert validate.validate(companion.root, store.open) == ()

    found = [(image.reference, "extra", image.root), (companion.reference, "companion", companion.root)]
    images = tuple(
        ImageToPack(reference, role, root, f"{packed.REGISTRY}/{reference.partition('/')[2]}")
        for reference, role, root in found
    )
    plan = replace(packed.plan(store), images=images)
    bundle = pack.run(plan, tmp_path / "dist", store, progress=SilentProgress(), volume_size=volume_size)
    report = verify.run(bundle.path, progress=SilentProgress())
    assert not report.failed, report
    assert any("it is an artifact" in line for finding in report.findings for line in finding.evidence)

    with registries.running(tmp_path / "target") as target:
        push.run(bundle.path, pushing.options(target.address), SilentProgress())
        tag = companion.reference.rpartition(":")[2]
        assert target.manifest("team/app", "1.0") == APP.blobs[APP.root.digest]
        if kind.tag:
            assert target.manifest("team/app", tag) == content
        else:
            (row,) = json.loads(target.manifest("team/app", tag))["manifests"]
            assert row["digest"] == str(Digest.of(content))
        assert {Digest.of(content).hex, Digest.of(kind.config).hex} <= target.blobs() | {Digest.of(content).hex}


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_artifact_is_a_problem(name: str) -> None:
    kind, blob = KINDS[name], b'{"of": "a test"}'
    content = kind.manifest(blob)
    blobs = {Digest.of(part): part for part in (content, kind.config)}
    root = Descriptor(media_types.OCI_MANIFEST, Digest.of(content), len(content))
    assert any("lacks its blob" in problem for problem in validate.validate(root, _opener(blobs)))
    problems = validate.validate(root, _opener({**blobs, Digest.of(blob): blob[:-1] + b"!"}))
    assert any("has the digest" in problem for problem in problems)
