"""``build --attest-images``: a registry holds bills and provenance beside the image after a push, for any reader."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.archive import signing
from bundler.model.progress import SilentProgress
from bundler.render import provenance
from bundler.steps.build import pack
from bundler.steps.build.pack import SigningKey
from bundler.steps.transport import push
from tests.support import pushing, registries
from tests.support.command_line import Called, called
from tests.support.programs import require
from tests.unit import attested, packed

pytestmark = pytest.mark.integration


def test_a_pushed_image_has_its_documents_under_the_tag_of_its_digest(tmp_path: Path) -> None:
    made = attested.example(tmp_path / "cache")
    plan = replace(
        packed.plan(made.store),
        images=(*made.images, *made.attested.companions),
        documents={**packed.DOCUMENTS, **made.attested.files},
    )
    bundle = pack.run(plan, tmp_path / "dist", made.store, progress=SilentProgress()).path
    digest = made.images[0].root.digest
    with registries.running(tmp_path / "registry") as registry:
        push.run(bundle, pushing.options(f"{registry.address}/site"), SilentProgress())
        repository = "site/driver-stats-feature-server"
        rows = json.loads(registry.manifest(repository, f"sha256-{digest.hex}"))["manifests"]
        kinds = {row["artifactType"]: row["digest"] for row in rows}
        assert set(kinds) == {"application/vnd.cyclonedx+json", provenance.STATEMENT}
        source = f"docker://{registry.address}/{repository}@{kinds[provenance.STATEMENT]}"
        command = [require("skopeo"), "copy", "--src-tls-verify=false", source, f"dir:{tmp_path / 'copied'}"]
        subprocess.run(command, check=True)
    manifest = json.loads((tmp_path / "copied/manifest.json").read_text())
    assert manifest["subject"]["digest"] == str(digest)
    copied = (tmp_path / "copied" / manifest["layers"][0]["digest"].removeprefix("sha256:")).read_bytes()
    assert copied == made.attested.files["provenance/driver-stats-feature-server.intoto.json"]


def test_a_builder_is_named_by_a_uri(tmp_path: Path) -> None:
    ran = called("build", "-f", tmp_path / "bundle.yaml", "--builder-id", "our ci")
    assert ran.status == 2
    assert "not a URI" in ran.output


def test_verify_checks_the_signature_of_provenance_by_the_keys_of_the_site(tmp_path: Path) -> None:
    require("openssl")
    for name in ("a", "b"):
        signing.generate(tmp_path / f"{name}.key", tmp_path / f"{name}.pub", None)
    made = attested.example(tmp_path / "cache", tmp_path / "a.key")
    path = "provenance/kubectl.dsse.json"
    forged = json.loads(made.attested.files[path])
    other = json.loads(made.attested.files["provenance/driver-stats-feature-server.dsse.json"])
    forged["signatures"][0]["sig"] = other["signatures"][0]["sig"]
    both = tmp_path / "both.trust"
    both.write_text((tmp_path / "a.pub").read_text() + (tmp_path / "b.pub").read_text())

    def verified(changed: dict[str, bytes], signer: str, trust: Path) -> Called:
        documents = {**packed.DOCUMENTS, **made.attested.files, **changed}
        plan = replace(packed.plan(made.store), images=made.images, documents=documents)
        key = SigningKey(tmp_path / f"{signer}.key")
        folder = tmp_path / f"dist-{signer}-{len(changed)}"
        bundle = pack.run(plan, folder, made.store, progress=SilentProgress(), signing_key=key).path
        return called("verify", bundle, "--trust", trust)

    good = verified({}, "a", tmp_path / "a.pub")
    assert good.status == 0
    assert "The statement in provenance/kubectl.dsse.json is signed by a key that is trusted" in good.output
    elsewhere = verified({}, "b", tmp_path / "b.pub")
    assert elsewhere.status == 0
    assert "which no trust file names" in elsewhere.output
    bad = verified({path: json.dumps(forged).encode()}, "b", both)
    assert bad.status == 6
    assert "Do not believe it" in bad.output
