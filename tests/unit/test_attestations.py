"""Bills of materials and provenance of what a build makes: valid, complete, signed, and the same bytes each time."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bundler.effects.archive import signing
from bundler.effects.archive.reader import Bundle
from bundler.effects.registry_server.answers import answer
from bundler.errors import VerificationError
from bundler.model import layout, licences
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.oci import index
from bundler.render import provenance
from bundler.steps.build import pack
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import open_images
from bundler.steps.transport import serve
from tests.support import bills
from tests.unit import attested, packed
from tests.unit.attested import Example

SERVER_BILL = "sbom/driver-stats-feature-server-linux-amd64.cdx.json"
KUBECTL_BILL = "sbom/kubectl-linux-amd64.cdx.json"
UNSIGNED = "provenance/driver-stats-feature-server.intoto.json"
SIGNED = "provenance/driver-stats-feature-server.dsse.json"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("key")
    signing.generate(folder / "a.key", folder / "a.pub", None)
    return folder / "a.key"


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return attested.example(tmp_path_factory.mktemp("unsigned"))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Example:
    return attested.example(tmp_path_factory.mktemp("signed"), key)


def components(example: Example, path: str) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(example.attested.files[path])["components"]}


def test_every_bill_is_valid_by_the_schema_of_the_specification(unsigned: Example) -> None:
    texts = [content.decode() for path, content in unsigned.attested.files.items() if path.startswith(layout.SBOM)]
    assert len(texts) == 3
    for text in texts:
        assert bills.problem(text) is None


def test_bills_name_the_licences_of_wheels_and_of_packages_of_debian(unsigned: Example) -> None:
    server = components(unsigned, SERVER_BILL)
    assert server["demo"]["licenses"] == [{"expression": "MIT OR Apache-2.0", "acknowledgement": "declared"}]
    assert server["six"]["licenses"] == [{"license": {"id": "MIT", "acknowledgement": "declared"}}]
    assert [row["license"]["id"] for row in server["libc6"]["licenses"]] == ["GPL-2.0-only", "LGPL-2.1-or-later"]
    kubectl = components(unsigned, KUBECTL_BILL)
    assert kubectl["kubernetes-client"]["licenses"][0]["license"]["id"] == "Apache-2.0"
    assert kubectl["kubernetes-client"]["purl"].startswith("pkg:deb/debian/kubernetes-client@1.20.5?arch=amd64&distro=")


def test_the_bill_of_the_bundle_names_every_image_and_the_bills_of_those_made_here(unsigned: Example) -> None:
    bundle = components(unsigned, layout.BUNDLE_BILL)
    assert {name.rpartition("/")[2] for name in bundle} == {"driver-stats-feature-server", "kubectl", "feast-operator"}
    (bill,) = bundle[f"{packed.REGISTRY}/kubectl"]["externalReferences"]
    assert bill["url"] == KUBECTL_BILL
    assert bill["hashes"][0]["content"] == Digest.of(unsigned.attested.files[KUBECTL_BILL]).hex
    assert "externalReferences" not in bundle[f"{packed.REGISTRY}/feastdev/feast-operator"]


def test_provenance_says_what_went_in_by_digest_and_has_no_time(unsigned: Example) -> None:
    statement = json.loads(unsigned.attested.files[UNSIGNED])
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert [row["digest"]["sha256"] for row in statement["subject"]] == [unsigned.images[0].root.digest.hex]
    definition, run = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    inputs = {row["name"]: row for row in definition["resolvedDependencies"]}
    assert {"demo-1.0-py3-none-any.whl", "libc6", "bundle.lock", "base image for linux/amd64"} < inputs.keys()
    assert inputs["demo-1.0-py3-none-any.whl"]["uri"] == "pkg:pypi/demo@1.0"
    assert inputs["feature repo driver_stats"]["digest"]["sha256"]
    assert run["builder"]["id"] == "urn:x:ci"
    assert run["byproducts"] == [
        {"name": SERVER_BILL, "digest": {"sha256": Digest.of(unsigned.attested.files[SERVER_BILL]).hex}}
    ]
    assert "startedOn" not in unsigned.attested.files[UNSIGNED].decode()


def check(envelope: dict[str, Any], key: Path) -> None:
    """Check a signature by the text of DSSE's specification, with none of this project's functions."""
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    public = serialization.load_pem_public_key(key.with_suffix(".pub").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    (signature,) = envelope["signatures"]
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert signature["keyid"] == Digest.of(der).hex
    public.verify(base64.b64decode(signature["sig"]), message, ec.ECDSA(hashes.SHA256()))


def test_provenance_is_signed_in_an_envelope_by_the_key_of_the_build(signed: Example, key: Path) -> None:
    envelope = json.loads(signed.attested.files[SIGNED])
    check(envelope, key)
    assert json.loads(base64.b64decode(envelope["payload"]))["predicateType"] == "https://slsa.dev/provenance/v1"
    changed = base64.b64encode(base64.b64decode(envelope["payload"]).replace(b"urn:x:ci", b"urn:x:me")).decode()
    with pytest.raises(InvalidSignature):
        check({**envelope, "payload": changed}, key)


def test_the_same_inputs_and_the_same_key_give_the_same_bytes(signed: Example, key: Path, tmp_path: Path) -> None:
    again = attested.example(tmp_path, key)
    assert again.attested == signed.attested


def test_without_asking_images_have_no_companions(tmp_path: Path) -> None:
    assert attested.example(tmp_path, attach=False).attested.companions == ()


def bundled(example: Example, folder: Path, documents: dict[str, bytes] | None = None) -> Path:
    files = {**packed.DOCUMENTS, **example.attested.files, **(documents or {})}
    images = (*example.images, *example.attested.companions)
    plan = replace(packed.plan(example.store), images=images, documents=files)
    return pack.run(plan, folder, example.store, progress=SilentProgress()).path


def test_both_are_referrers_of_the_image_when_the_bundle_is_served(signed: Example, tmp_path: Path) -> None:
    path = bundled(signed, tmp_path)
    assert not verify.run(path, progress=SilentProgress()).failed
    digest = signed.images[0].root.digest
    with Bundle.open(path) as bundle:
        catalog = serve.catalog(open_images(bundle))
        held = {layout.blob_digest(entry.path): bundle.read(entry.path) for entry in bundle.manifest.files}

    def get(what: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(
            answer(catalog, f"/v2/feast/driver-stats-feature-server/{what}", {}, None).body
        )
        return value

    rows = get(f"referrers/{digest}")["manifests"]
    assert {row["artifactType"] for row in rows} == {"application/vnd.cyclonedx+json", provenance.ENVELOPE}
    assert {row["digest"] for row in get(f"manifests/sha256-{digest.hex}")["manifests"]} == {
        row["digest"] for row in rows
    }
    for row in rows:
        manifest = get(f"manifests/{row['digest']}")
        assert manifest["subject"]["digest"] == str(digest)
        assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
        (layer,) = manifest["layers"]
        expected = SERVER_BILL if "cyclonedx" in row["artifactType"] else SIGNED
        assert held[Digest.parse(layer["digest"])] == signed.attested.files[expected]


def test_an_index_has_provenance_and_the_image_in_it_has_both(unsigned: Example) -> None:
    root = unsigned.images[1].root
    inside = index.parse(unsigned.store.read(root.digest)).manifests[0].digest
    by_tag = {one.internal.rpartition(":")[2]: one for one in unsigned.attested.companions}
    kinds = {
        digest: [row.artifact_type for row in index.parse(unsigned.store.read(by_tag[tag].root.digest)).manifests]
        for digest in (root.digest, inside)
        if (tag := f"sha256-{digest.hex}") in by_tag
    }
    assert kinds[root.digest] == [provenance.STATEMENT]
    assert sorted(kinds[inside]) == ["application/vnd.cyclonedx+json", provenance.STATEMENT]
    assert len(by_tag) == 3


@pytest.mark.parametrize("attach", [True, False])
def test_signatures_that_refer_to_an_image_are_in_the_one_index_of_what_refers_to_it(
    key: Path, tmp_path: Path, *, attach: bool
) -> None:
    made = attested.example(tmp_path, key, attach=attach, sign_images=True)
    names = [one.internal for one in made.attested.companions]
    assert len(names) == len(set(names)) == 4  # an image; an index and the two images in it
    for one in made.attested.companions:
        kinds = [row.artifact_type for row in index.parse(made.store.read(one.root.digest)).manifests]
        assert kinds.count("application/vnd.dev.sigstore.bundle.v0.3+json") == 1
        assert (provenance.ENVELOPE in kinds) is (attach and one.internal not in _second_platform(made))


def _second_platform(made: Example) -> str:
    """Return the name of what refers to the image for another platform, of which no provenance is."""
    inside = index.parse(made.store.read(made.images[1].root.digest)).manifests[1].digest
    return f"{packed.REGISTRY}/kubectl:sha256-{inside.hex}"


def test_verify_refuses_provenance_of_an_image_that_is_not_in_the_bundle(unsigned: Example, tmp_path: Path) -> None:
    other = unsigned.attested.files[UNSIGNED].replace(
        unsigned.images[0].root.digest.hex.encode(), Digest.of(b"another").hex.encode()
    )
    with pytest.raises(VerificationError) as refused:
        bundled(unsigned, tmp_path, {UNSIGNED: other})
    assert "which is not in the bundle" in "\n".join(refused.value.details)


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"payloadType": "x", "payload": "!"}', b"no"])
def test_what_is_not_a_statement_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        provenance.subjects(content)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("License-Expression: MIT", ("MIT",)),
        ("License-Expression: mit", ("MIT",)),
        ("License: Apache 2.0", ("Apache-2.0",)),
        ("License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License", ("BSD-3-Clause",)),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", ("MIT",)),
        ("Classifier: License :: OSI Approved :: BSD License", ("BSD License",)),
        ("License: Some Licence of Ours", ("Some Licence of Ours",)),
        (f"License: {'a long text ' * 40}", ()),
        ("Name: x", ()),
    ],
)
def test_licences_of_core_metadata(metadata: str, expected: tuple[str, ...]) -> None:
    assert licences.of_metadata(metadata) == expected


def test_licences_of_debian_are_those_of_machine_readable_copyright_files() -> None:
    text = (
        "Format: x\n\nFiles: *\nLicense: Expat\n\nFiles: a\nLicense: GPL-2+\n text\n\nLicense: my-own and ISC\n text\n"
    )
    assert licences.of_copyright(text) == ("GPL-2.0-or-later", "ISC", "MIT", "my-own")
    assert licences.of_copyright("This package is free software.\nLicense: GPL") == ()


def test_only_whole_expressions_of_known_identifiers_are_expressions() -> None:
    assert licences.is_expression("(MIT AND BSD-3-Clause) OR Apache-2.0")
    assert not licences.is_expression("MIT")
    assert not licences.is_expression("MIT or else")
    value: Json = licences.spdx("LGPL-2.1+")
    assert value == "LGPL-2.1-or-later"
