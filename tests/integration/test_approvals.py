"""Approvals of reviewers: put into a bundle, shown, and demanded by an install before it applies anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.archive import append, openssl, signing
from bundler.effects.archive.reader import Bundle
from bundler.effects.blobs import BlobStore
from bundler.errors import UsageError
from bundler.model import approval, layout, trust
from bundler.model.approval import Approval
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.progress import SilentProgress
from bundler.model.trust import ApprovalDemand, Trust
from bundler.render import checklist
from bundler.render.checklist import Cover
from bundler.steps.build import pack
from bundler.steps.bundle import sign, verify
from bundler.steps.install import run as install
from bundler.steps.install import site_checklist
from bundler.steps.install.release import Release
from tests.support.command_line import Called, called
from tests.support.fake_cluster import FakeCluster
from tests.support.programs import require
from tests.support.verifier_program import check
from tests.unit import packed
from tests.unit.test_install import ELSEWHERE, MANIFESTS, cluster
from tests.unit.test_install import made as installable
from tests.unit.test_install import options as asked_for
from tests.unit.test_site_checklist import GOOD

__all__ = ["cluster"]  # the fixture

pytestmark = pytest.mark.integration

NAMES = ("release", "ana", "ben", "eve")
BEFORE, AFTER = "2020-01-01T00:00:00Z", "2200-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key pair for each name, and a trust file: release signs, Ana and Ben approve, Eve is nobody."""
    require("openssl")
    folder = tmp_path_factory.mktemp("keys")
    for name in NAMES:
        signing.generate(folder / f"{name}.key", folder / f"{name}.pub", None)
    pem = {name: (folder / f"{name}.pub").read_text() for name in NAMES}
    (folder / "site.trust").write_text(
        f"name: Release team\n{pem['release']}\n"
        f"name: Ana\napproves: security, legal\n{pem['ana']}\n"
        f"name: Ben\napproves: legal\n{pem['ben']}"
    )
    return folder


def made(folder: Path, version: str = "0.1.0", volume_size: int | None = None) -> Path:
    """Pack a bundle that has a checklist."""
    store = BlobStore(folder / "cache")
    finding = Finding("apply", "Install", Status.MANUAL, (), "Do it.", "bundler install")
    report = Report("Checklist", (Section("Afterwards", (finding,)),))
    text = checklist.to_json(report, Cover("driver-stats", version, "2026-01-01T00:00:00Z", (), ()))
    documents = {**packed.DOCUMENTS, layout.CHECKLIST_JSON: text.encode()}
    plan = replace(packed.plan(store), version=version, documents=documents)
    return pack.run(plan, folder / "dist", store, progress=SilentProgress(), volume_size=volume_size).path


@pytest.fixture(scope="module")
def whole(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = made(tmp_path_factory.mktemp("made"))
    sign.with_key(path, keys / "release.key", None, SilentProgress())
    return path


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """A signed bundle that the test may change."""
    return Path(shutil.copy(whole, tmp_path))


def key_id(keys: Path, name: str) -> Digest:
    return openssl.public_key(keys / f"{name}.pub").key_id


def approve(bundle: Path, keys: Path, name: str, role: str, *options: str) -> Called:
    return called("approve", bundle, "--role", role, "--key", keys / f"{name}.key", *options)


def approval_of(bundle: Path, **changes: str) -> Approval:
    with Bundle.open(bundle) as opened:
        digest = Digest.of(opened.read(layout.MANIFEST))
    return replace(Approval("driver-stats 0.1.0", digest, "security", "Ana", BEFORE), **changes)  # type: ignore[arg-type]


def attach(
    bundle: Path, keys: Path, content: bytes, *, by: str = "ana", under: str = "ana", role: str = "security"
) -> None:
    """Put in a text that ``by`` signed, as an approval by ``under``."""
    text = layout.approval_text(role, key_id(keys, under))
    signature = signing.sign(content, signing.load_key(keys / f"{by}.key"))
    append.attach(bundle, {text: content, layout.approval_signature(text): signature})


def _other_bundle(bundle: Path, keys: Path) -> None:
    """Take an approval of another version of the bundle."""
    other = made(bundle.parent / "other", "0.2.0")
    assert approve(other, keys, "ana", "security").status == 0
    text = layout.approval_text("security", key_id(keys, "ana"))
    with Bundle.open(other) as opened:
        taken = {path: opened.read(path) for path in (text, layout.approval_signature(text))}
    append.attach(bundle, taken)


def _altered(bundle: Path, keys: Path) -> None:
    assert approve(bundle, keys, "ana", "security", "--expires", AFTER).status == 0
    text = layout.approval_text("security", key_id(keys, "ana"))
    with Bundle.open(bundle) as opened:
        content = opened.read(text)
    append.attach(bundle, {text: content.replace(AFTER.encode(), b"2201-01-01T00:00:00Z")})


def _without_signature(bundle: Path, keys: Path) -> None:
    append.attach(bundle, {layout.approval_text("security", key_id(keys, "ana")): approval_of(bundle).to_bytes()})


REFUSED: Mapping[str, tuple[Callable[[Path, Path], object], str]] = {
    "none": (lambda _bundle, _keys: None, "there is no approval in this role"),
    "another role": (lambda b, k: approve(b, k, "ana", "legal"), "there is no approval in this role"),
    "unknown key": (lambda b, k: approve(b, k, "eve", "security"), "no trust file names this key as an approver"),
    "signer of bundles": (lambda b, k: approve(b, k, "release", "security"), "no trust file names this key"),
    "role not given": (lambda b, k: approve(b, k, "ben", "security"), "let this key approve as legal only"),
    "another bundle": (_other_bundle, "it is of another bundle, driver-stats 0.2.0, sha256:"),
    "ended": (
        lambda b, k: approve(b, k, "ana", "security", "--time", BEFORE, "--expires", "2020-01-02T00:00:00Z"),
        "it ended at 2020-01-02T00:00:00Z",
    ),
    "altered": (_altered, "its signature does not fit the key"),
    "forged": (
        lambda b, k: attach(b, k, approval_of(b).to_bytes(), by="eve"),
        "its signature does not fit the key",
    ),
    "borrowed role": (
        lambda b, k: attach(b, k, approval_of(b, role="legal").to_bytes()),
        "it is an approval as legal",
    ),
    "another text": (lambda b, k: attach(b, k, b'{"role": "security"}'), "its text cannot be used"),
    "the bundle's manifest": (lambda b, k: attach(b, k, b"{}"), "its text cannot be used"),
    "no signature": (_without_signature, ".sig is missing"),
}
ACCEPTED: Mapping[str, Callable[[Path, Path], object]] = {
    "one": lambda b, k: approve(b, k, "ana", "security"),
    "with an end": lambda b, k: approve(b, k, "ana", "security", "--expires", AFTER),
    "another beside it": lambda b, k: (approve(b, k, "eve", "security"), approve(b, k, "ana", "security")),
    "again after it ended": lambda b, k: (
        approve(b, k, "ana", "security", "--time", BEFORE, "--expires", "2020-01-02T00:00:00Z"),
        approve(b, k, "ana", "security"),
    ),
}
INSTALL = ("--registry", "127.0.0.1:1", "--yes", "--timeout", "1")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that refuses everything, and the file that is there once it was called."""
    folder, seen = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    (folder / "kubectl").write_text(f"#!/bin/sh\ntouch {seen}\nexit 1\n")
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return seen


@pytest.mark.parametrize("kind", REFUSED)
def test_an_install_refuses_before_it_asks_the_cluster(bundle: Path, keys: Path, asked: Path, kind: str) -> None:
    prepare, said = REFUSED[kind]
    prepare(bundle, keys)
    ran = called("install", bundle, *INSTALL, "--require-approval", "security", "--trust", keys / "site.trust")
    assert ran.status == 6, ran.output
    assert "is not approved as security" in ran.output
    assert said in ran.output
    assert not asked.exists()
    # Nobody demands it elsewhere, and what does not count is not a fault of the bundle.
    shown = called("verify", bundle, "--trust", keys / "site.trust")
    assert shown.status == 0, shown.output
    if kind not in ("none", "another role"):
        assert said in shown.output


@pytest.mark.parametrize("kind", ACCEPTED)
def test_an_install_goes_on_with_an_approval(bundle: Path, keys: Path, asked: Path, kind: str) -> None:
    ACCEPTED[kind](bundle, keys)
    ran = called("install", bundle, *INSTALL, "--require-approval", "security", "--trust", keys / "site.trust")
    assert asked.exists(), ran.output
    assert "is approved as security by ana at 20" in ran.output
    assert f"key Ana ({key_id(keys, 'ana')})" in ran.output


@pytest.mark.usefixtures("asked")
def test_each_role_must_be_fulfilled(bundle: Path, keys: Path) -> None:
    command = ("install", bundle, *INSTALL[:2], "--dry-run=client", "--trust", keys / "site.trust")
    both = ("--require-approval", "security", "--require-approval", "legal")
    approve(bundle, keys, "ana", "security")
    refused = called(*command, *both)
    assert (refused.status, "is not approved as legal" in refused.output) == (6, True)
    approve(bundle, keys, "ben", "legal")
    done = called(*command, *both)
    assert done.status == 0, done.output


def test_a_role_that_no_trust_file_gives_is_a_wrong_command_line(bundle: Path, keys: Path) -> None:
    approve(bundle, keys, "ana", "security")
    for role, trusted in (("security", ()), ("finance", ("--trust", keys / "site.trust"))):
        ran = called("install", bundle, *INSTALL, "--require-approval", role, *trusted)
        assert (ran.status, f"may approve as {role}" in ran.output) == (2, True), ran.output


def test_an_approver_does_not_count_as_a_signer(keys: Path, tmp_path: Path) -> None:
    path = made(tmp_path)
    sign.with_key(path, keys / "ana.key", None, SilentProgress())
    approve(path, keys, "ana", "security")
    assert called("inspect", path, "--trust", keys / "site.trust").status == 6
    only = tmp_path / "approvers.trust"
    only.write_text(f"approves: security\n{(keys / 'ana.pub').read_text()}")
    ran = called("inspect", path, "--trust", only)
    assert ran.status == 0
    assert "no trust file names a signer" in ran.output


def test_approvals_change_nothing_before_them_and_stay_when_the_bundle_is_signed(bundle: Path, keys: Path) -> None:
    before = bundle.read_bytes()
    assert approve(bundle, keys, "ana", "security", "--comment", "read it all").status == 0
    assert bundle.read_bytes()[: len(before) - 1024] == before[:-1024]
    sign.with_key(bundle, keys / "eve.key", None, SilentProgress())
    assert not verify.run(bundle, progress=SilentProgress()).failed
    shown = called("inspect", bundle, "--trust", keys / "site.trust", "--output", "json")
    (row,) = json.loads(shown.stdout)["approvals"]
    assert (row["role"], row["counts"], row["approval"]["comment"]) == ("security", True, "read it all")
    assert row["approval"]["digest"] == json.loads(shown.stdout)["digest"]


def test_the_other_readers_take_an_approved_bundle(bundle: Path, keys: Path, tmp_path: Path) -> None:
    approve(bundle, keys, "ana", "security")
    verifier = tmp_path / "verify.py"
    with Bundle.open(bundle) as opened:
        verifier.write_bytes(opened.read(layout.VERIFIER))
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xf", bundle, "-C", folder], check=True)
    for place in (bundle, folder):
        assert check(verifier, place, "--key", keys / "release.pub")[0] == 0
    # The program in the bundle approves, too, by openssl and nothing that has to be installed.
    program: list[str | Path] = [
        sys.executable,
        "-I",
        "-S",
        folder / layout.OFFLINE_PROGRAM,
        "approve",
        bundle,
        "--role",
        "legal",
    ]
    subprocess.run([*program, "--key", keys / "ben.key"], check=True, capture_output=True)
    assert "approved as legal by ben" in called("inspect", bundle).stdout
    script = subprocess.run(["sh", folder / "install.sh", "verify"], check=True, capture_output=True, text=True)
    assert "approvals are not checked here" in script.stderr
    # What only looks like an approval is refused by all of them.
    shutil.copy(folder / "README.md", folder / "approvals" / "x.json")
    assert check(verifier, folder)[0] == 6
    assert subprocess.run(["sh", folder / "install.sh", "verify"], check=False, capture_output=True).returncode == 6


def test_volumes_are_approved_in_place(keys: Path, tmp_path: Path) -> None:
    # Its last volume has room for what is put in, whatever the size of the programs in it.
    path = made(tmp_path, volume_size=made(tmp_path / "whole").stat().st_size // 2 + 50_000)
    assert approve(path, keys, "ana", "security").status == 0
    sums = next(path.parent.glob("*.SHA256SUMS"))
    subprocess.run(["sha256sum", "--strict", "-c", sums.name], cwd=sums.parent, check=True, capture_output=True)
    assert "approved as security by ana" in called("inspect", path).stdout


def test_the_checklist_is_written_with_the_approvals(bundle: Path, keys: Path, tmp_path: Path) -> None:
    approve(bundle, keys, "ana", "security", "--name", "Ana <Perez>", "--comment", "all | read")
    approve(bundle, keys, "eve", "security")
    ran = called("inspect", bundle, "--trust", keys / "site.trust", "--checklist", tmp_path / "signed")
    assert ran.status == 0, ran.output
    (section,) = [
        section
        for section in json.loads((tmp_path / "signed/checklist.json").read_text())["report"]["sections"]
        if section["title"] == "Approvals"
    ]
    assert {finding["status"] for finding in section["findings"]} == {"pass", "manual"}
    page, text = ((tmp_path / "signed" / name).read_text() for name in ("CHECKLIST.html", "CHECKLIST.md"))
    assert "Approved as security by Ana &lt;Perez&gt;" in page
    assert "An approval as security does not count" in page
    assert "comment: all \\| read" in text


def test_the_checklist_of_an_install_has_the_approvals(keys: Path, cluster: FakeCluster, tmp_path: Path) -> None:
    path = installable(tmp_path, {**MANIFESTS, layout.CHECKLIST_JSON: GOOD})
    assert approve(path, keys, "ana", "security").status == 0
    trusted = trust.parse((keys / "site.trust").read_text().partition("name: Ana")[2].partition("\n")[2], "approvers")
    release = Release.of(path, ELSEWHERE, Trust((trusted,), demand=ApprovalDemand((), AFTER)))
    site_checklist.write(release, tmp_path, install.run(release, asked_for(), cluster, SilentProgress()), AFTER)
    assert "Approved as security by ana" in (tmp_path / "CHECKLIST.md").read_text()


def test_openssl_signs_and_checks_an_approval(bundle: Path, keys: Path, tmp_path: Path) -> None:
    text, signature = tmp_path / "approval.json", tmp_path / "approval.sig"
    written = called("approve", bundle, "--role", "security", "--name", "Ana", "--payload", text)
    assert written.status == 0, written.output
    command = ("openssl", "dgst", "-sha256", "-sign", keys / "ana.key", "-out", signature, text)
    subprocess.run(command, check=True)
    put = ("approve", bundle, "--approval", text, "--attach", signature, "--public-key")
    wrong = called(*put, keys / "ben.pub")
    assert (wrong.status, "does not match the approval" in wrong.output) == (6, True)
    assert called(*put, keys / "ana.pub").status == 0
    subprocess.run(["tar", "-xf", bundle, "-C", tmp_path, "--wildcards", "approvals/*"], check=True)
    (name,) = (tmp_path / "approvals").glob("security-*.json")
    check_it = ("openssl", "dgst", "-sha256", "-verify", keys / "ana.pub", "-signature", name.with_suffix(".sig"), name)
    assert subprocess.run(check_it, check=True, capture_output=True, text=True).stdout.strip() == "Verified OK"


def test_an_approval_of_another_bundle_is_not_put_in(bundle: Path, keys: Path, tmp_path: Path) -> None:
    other, text, signature = made(tmp_path / "other", "0.2.0"), tmp_path / "text", tmp_path / "sig"
    assert called("approve", other, "--role", "security", "--name", "Ana", "--payload", text).status == 0
    command = ("openssl", "dgst", "-sha256", "-sign", keys / "ana.key", "-out", signature, text)
    subprocess.run(command, check=True)
    before = bundle.read_bytes()
    ran = called("approve", bundle, "--approval", text, "--attach", signature, "--public-key", keys / "ana.pub")
    assert (ran.status, "approves another bundle: driver-stats 0.2.0" in ran.output) == (6, True)
    assert bundle.read_bytes() == before


def test_a_damaged_bundle_is_not_approved(bundle: Path, keys: Path) -> None:
    with Bundle.open(bundle) as opened:
        offset = opened.member(layout.LOCK).offset
    with bundle.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"X")
    assert approve(bundle, keys, "ana", "security").status == 6


def test_a_key_with_a_password_approves(bundle: Path, keys: Path, tmp_path: Path) -> None:
    signing.generate(tmp_path / "a.key", tmp_path / "a.pub", b"correct horse")
    for source, status in ((None, 2), ("env:WRONG", 2), ("env:RIGHT", 0)):
        password = ("--key-password", source) if source else ()
        command = ("approve", bundle, "--role", "security", "--key", tmp_path / "a.key", *password)
        ran = called(*command, environment={"WRONG": "battery staple", "RIGHT": "correct horse"})
        assert ran.status == status, ran.output
        assert "horse" not in ran.output
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(UsageError, match="Other users have rights"):
        openssl.sign(b"", tmp_path / "a.key", None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "exactly one of --key, --payload and --attach"),
        (("--key", "a.key", "--payload", "x"), "exactly one"),
        (("--key", "a.key"), "need --role"),
        (("--payload", "x", "--role", "security"), "--payload needs --name"),
        (("--attach", "x"), "--attach needs --approval and --public-key"),
        (("--payload", "x", "--name", "A", "--role", "Security!"), "is not of the form"),
        (("--payload", "x", "--name", "A", "--role", "a", "--time", "yesterday"), "is not a time"),
        (("--payload", "x", "--name", "A", "--role", "a", "--expires", "2021-02-30T00:00:00Z"), "is not a time"),
        (("--payload", "x", "--name", "A", "--role", "a", "--expires", BEFORE), "before it begins"),
        (("--payload", "x", "--name", "A", "--role", "a", "--comment", "a\u202eb"), "cannot be seen"),
        (("--payload", "x", "--name", "A", "--role", "a", "--comment", "a" * 1001), "longer than 1000"),
        (("--payload", "x", "--name", " ", "--role", "a"), "the name is empty"),
    ],
)
def test_what_cannot_be_an_approval_is_a_wrong_command_line(
    options: tuple[str, ...], said: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = bundle.read_bytes()
    ran = called("approve", bundle, *options)
    assert (ran.status, said in ran.output) == (2, True), ran.output
    assert bundle.read_bytes() == before


PEM = trust.PublicKey("x", b"\x30\x00").pem.decode()
OTHER = trust.PublicKey("y", b"\x30\x01\x00").pem.decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"approves: Security\n{PEM}", "line 1: 'Security' is not a role"),
        (f"approves: a,,b\n{PEM}", "line 1: '' is not a role"),
        (f"approves: a\napproves: b\n{PEM}", "line 2"),
        (f"{PEM}approves: a\n", "no key follows"),
        (f"approves: a\n{PEM}approves: b\n{PEM}", "twice"),
        (f"threshold: 1\napproves: a\n{PEM}", "0 keys of signers"),
        (f"threshold: 2\n{OTHER}approves: a\n{PEM}", "1 keys of signers"),
    ],
)
def test_a_trust_file_that_gives_roles_wrongly_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trust.parse(text, "site.trust")


def test_a_key_may_sign_and_approve_where_a_trust_file_lists_it_twice() -> None:
    read = trust.parse(f"{PEM}approves: a, b\n{PEM}", "site.trust")
    assert (len(read.keys), read.threshold, sorted(read.approvers[0].roles)) == (1, 1, ["a", "b"])
    gathered = trust.Trust((read, trust.parse(f"approves: c\n{PEM}", "other.trust"))).approvers
    assert gathered[read.keys[0].key_id].roles == {"a", "b", "c"}


def test_a_bundle_takes_only_so_many_approvals(bundle: Path, keys: Path) -> None:
    content = approval_of(bundle).to_bytes()
    rows = {layout.approval_text(f"r{number}", key_id(keys, "ana")): content for number in range(approval.MOST)}
    append.attach(bundle, rows)
    with pytest.raises(UsageError, match="cannot have more"):
        attach(bundle, keys, content)
