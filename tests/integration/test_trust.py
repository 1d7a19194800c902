"""Who must have signed a bundle: every command that reads one, with and without trust, and every kind of signature."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundler.effects.archive import append, openssl, signing
from bundler.effects.archive.reader import Bundle
from bundler.errors import UsageError, VerificationError
from bundler.model import layout, trust
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.model.trust import PublicKey, Trust, TrustFile
from bundler.steps.bundle import sign, verify
from tests.support.command_line import called
from tests.support.programs import require
from tests.unit import packed

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Pair:
    """A signer: both halves of a key."""

    private: Path
    public: Path

    @property
    def key(self) -> PublicKey:
        return openssl.public_key(self.public)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Pair]:
    require("openssl")
    folder = tmp_path_factory.mktemp("keys")
    made = {name: Pair(folder / f"{name}.key", folder / f"{name}.pub") for name in ("release", "audit", "evil")}
    for pair in made.values():
        signing.generate(pair.private, pair.public, None)
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return packed.bundle(tmp_path / "made").path


def signed(bundle: Path, *pairs: Pair) -> Path:
    for pair in pairs:
        sign.with_key(bundle, pair.private, None, SilentProgress())
    return bundle


def trusting(*pairs: Pair, threshold: int = 1) -> Trust:
    return Trust((TrustFile("trust.pem", tuple(pair.key for pair in pairs), threshold),))


Kinds = Mapping[str, Callable[[Path, Mapping[str, Pair]], Path]]


def _other_text(bundle: Path, pairs: Mapping[str, Pair]) -> Path:
    """Put in a signature of a trusted key over something else."""
    key = signing.load_key(pairs["release"].private)
    append.add_signature(bundle, pairs["release"].key.key_id, signing.sign(b"something else", key))
    return bundle


def _borrowed(bundle: Path, pairs: Mapping[str, Pair]) -> Path:
    """Put another key's signature under the id of a trusted one."""
    key, content = signing.load_key(pairs["evil"].private), sign.payload(bundle, SilentProgress())
    append.add_signature(bundle, pairs["release"].key.key_id, signing.sign(content, key))
    return bundle


def _garbage(bundle: Path, pairs: Mapping[str, Pair]) -> Path:
    append.add_signature(bundle, pairs["release"].key.key_id, b"garbage")
    return bundle


def _zeros(bundle: Path, _pairs: Mapping[str, Pair]) -> Path:
    with bundle.open("wb") as stream:
        stream.truncate(70_000_000)
    return bundle


REFUSED: Kinds = {
    "unsigned": lambda bundle, _pairs: bundle,
    "other key": lambda bundle, pairs: signed(bundle, pairs["evil"]),
    "other text": _other_text,
    "borrowed id": _borrowed,
    "garbage": _garbage,
    "zeros": _zeros,
}
ACCEPTED: Kinds = {
    "one": lambda bundle, pairs: signed(bundle, pairs["release"]),
    "two": lambda bundle, pairs: signed(bundle, pairs["release"], pairs["audit"]),
    "with a stranger": lambda bundle, pairs: signed(bundle, pairs["evil"], pairs["release"]),
}
REGISTRY = ("--registry", "127.0.0.1:1", "--retry-times", "0")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "inspect": (),
    "verify": (),
    "push": (*REGISTRY, "--plain-http"),
    "serve": ("--listen", "256.0.0.1:1"),
    "load": ("--engine", "docker"),
    "rehearse": ("--engine", "docker"),
    "preflight": REGISTRY[:2],
    "install": (*REGISTRY[:2], "--dry-run=client"),
    "status": REGISTRY[:2],
    "uninstall": ("--yes",),
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide engines and clusters of this machine; a kubectl and a docker that refuse everything are there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("kubectl", "docker"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


def everything(bundle: Path) -> list[tuple[str | Path, ...]]:
    """Every command that reads a bundle."""
    commands: list[tuple[str | Path, ...]] = [(name, bundle, *rest) for name, rest in COMMANDS.items()]
    approving = ("--role", "security", "--name", "Ana", "--payload", bundle.with_name("approval.json"))
    return [*commands, ("diff", bundle, bundle), ("approve", bundle, *approving)]


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("kind", REFUSED)
def test_every_command_refuses_what_a_trusted_key_has_not_signed(
    bundle: Path, pairs: Mapping[str, Pair], kind: str
) -> None:
    path = REFUSED[kind](bundle, pairs)
    for command in everything(path):
        ran = called(*command, "--trust", pairs["release"].public)
        assert ran.status == 6, (command, ran.output)
        assert "Traceback" not in ran.output
        if kind != "zeros":
            assert str(pairs["release"].key.key_id) in ran.output
            assert "Do not use this bundle." in ran.output, (command, ran.output)


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("kind", ACCEPTED)
def test_every_command_says_by_whom_a_bundle_is_signed(bundle: Path, pairs: Mapping[str, Pair], kind: str) -> None:
    path = ACCEPTED[kind](bundle, pairs)
    for command in everything(path):
        ran = called(*command, "--trust", pairs["release"].public)
        assert "is signed by" in ran.output, (command, ran.output)
        assert str(pairs["release"].key.key_id) in ran.output
        assert "Do not use this bundle." not in ran.output, (command, ran.output)


@pytest.mark.usefixtures("programs")
def test_without_trust_every_command_says_that_signatures_are_not_checked(bundle: Path) -> None:
    for command in everything(bundle):
        ran = called(*command)
        assert ran.output.count("not checked: no --trust") == (2 if command[0] == "diff" else 1), (command, ran.output)
        assert "Do not use this bundle." not in ran.output


def test_the_environment_and_the_machine_demand_signatures_too(
    bundle: Path, pairs: Mapping[str, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed(bundle, pairs["release"])
    both = {"BUNDLER_TRUST": f"{pairs['release'].public}{os.pathsep}{pairs['audit'].public}"}
    assert called("inspect", bundle, environment={"BUNDLER_TRUST": str(pairs["release"].public)}).status == 0
    assert called("inspect", bundle, environment=both).status == 6
    folder = tmp_path / "trust.d"
    folder.mkdir()
    monkeypatch.setattr(trust, "FOLDER", str(folder))
    assert called("inspect", bundle).status == 0
    shutil.copy(pairs["audit"].public, folder / "10-audit.pem")
    refused = called("inspect", bundle, "--trust", pairs["release"].public)
    assert refused.status == 6
    assert "10-audit.pem" in refused.output
    (folder / "10-audit.pem").write_text("nothing")
    assert called("inspect", bundle).status == 2  # a demand that is not understood is not taken for none


@pytest.mark.parametrize(
    ("signers", "threshold", "accepted"), [(1, 1, True), (1, 2, False), (2, 2, True), (2, 1, True), (0, 1, False)]
)
def test_a_threshold_of_keys_must_have_signed(
    bundle: Path, pairs: Mapping[str, Pair], signers: int, threshold: int, *, accepted: bool
) -> None:
    signed(bundle, *[pairs["audit"], pairs["release"]][:signers])
    asked = trusting(pairs["release"], pairs["audit"], threshold=threshold)
    if accepted:
        Bundle.open(bundle, asked).close()
        return
    with pytest.raises(VerificationError) as refused:
        Bundle.open(bundle, asked)
    assert sum(line.startswith("signed by") for line in refused.value.details) == signers


def test_a_key_that_two_trust_files_name_differently_satisfies_both(
    bundle: Path, pairs: Mapping[str, Pair], tmp_path: Path
) -> None:
    signed(bundle, pairs["release"])
    named = tmp_path / "site.trust"
    named.write_text(f"name: Release team\n{pairs['release'].public.read_text()}")
    ran = called("inspect", bundle, "--trust", named, "--trust", pairs["release"].public)
    assert ran.status == 0, ran.output


def test_signing_changes_nothing_before_the_signatures_and_can_be_repeated(
    bundle: Path, pairs: Mapping[str, Pair]
) -> None:
    before = bundle.read_bytes()
    signed(bundle, pairs["release"], pairs["audit"])
    after = bundle.read_bytes()
    assert after[: len(before) - 1024] == before[:-1024]
    assert signed(bundle, pairs["audit"], pairs["release"]).read_bytes() == after
    assert not verify.run(bundle, progress=SilentProgress()).failed


def test_a_signature_that_cannot_be_written_leaves_the_bundle_as_it_was(
    bundle: Path, pairs: Mapping[str, Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = bundle.read_bytes(), []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Exception, match="No space left"):
        signed(bundle, pairs["release"])
    assert calls
    assert bundle.read_bytes() == before


def test_volumes_are_signed_in_place_and_their_digests_fit(tmp_path: Path, pairs: Mapping[str, Pair]) -> None:
    # Its last volume has room for a signature, whatever the size of the programs in it.
    made = packed.bundle(tmp_path, volume_size=packed.bundle(tmp_path / "whole").size // 2 + 50_000)
    assert len(made.volumes) > 1
    signed(made.path, pairs["release"])
    sums = next(made.path.parent.glob("*.SHA256SUMS"))
    subprocess.run(["sha256sum", "--strict", "-c", sums.name], cwd=sums.parent, check=True, capture_output=True)
    Bundle.open(made.path, trusting(pairs["release"])).close()


def test_a_signature_made_by_openssl_is_put_in(bundle: Path, pairs: Mapping[str, Pair], tmp_path: Path) -> None:
    payload, signature = tmp_path / "bundle.json", tmp_path / "sig"
    assert called("sign", bundle, "--payload", payload).status == 0
    command = ("openssl", "dgst", "-sha256", "-sign", pairs["release"].private, "-out", signature, payload)
    subprocess.run(command, check=True)
    wrong = called("sign", bundle, "--attach", signature, "--public-key", pairs["audit"].public)
    assert wrong.status == 6, wrong.output
    put = called("sign", bundle, "--attach", signature, "--public-key", pairs["release"].public)
    assert put.status == 0, put.output
    Bundle.open(bundle, trusting(pairs["release"])).close()
    # Any site can check it with openssl alone.
    with Bundle.open(bundle) as opened:
        name = layout.signature(pairs["release"].key.key_id)
        (tmp_path / "taken").write_bytes(opened.read(name))
    check = (
        "openssl",
        "dgst",
        "-sha256",
        "-verify",
        pairs["release"].public,
        "-signature",
        tmp_path / "taken",
        payload,
    )
    assert subprocess.run(check, check=True, capture_output=True, text=True).stdout.strip() == "Verified OK"


def test_the_id_of_a_key_is_what_openssl_makes_of_it(pairs: Mapping[str, Pair]) -> None:
    command = ("openssl", "pkey", "-pubin", "-in", pairs["release"].public, "-outform", "DER")
    der = subprocess.run(command, check=True, capture_output=True).stdout
    assert pairs["release"].key.key_id == Digest.of(der)


def test_a_key_with_a_password_is_made_and_used(bundle: Path, tmp_path: Path) -> None:
    name, secret = tmp_path / "mine", tmp_path / "password"
    secret.write_text("correct horse\n")
    made = called("keygen", name, "--key-password", f"file:{secret}")
    assert made.status == 0, made.output
    assert name.with_suffix(".key").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in name.with_suffix(".key").read_bytes()
    again = called("keygen", name, "--no-password")
    assert again.status == 2
    assert "no key is overwritten" in again.output
    for source, status in ((None, 2), ("env:WRONG", 2), ("env:RIGHT", 0)):
        password = ("--key-password", source) if source else ()
        environment = {"WRONG": "battery staple", "RIGHT": "correct horse"}
        ran = called("sign", bundle, "--key", f"{name}.key", *password, environment=environment)
        assert ran.status == status, ran.output
        assert "horse" not in ran.output
    assert called("verify", bundle, "--trust", f"{name}.pub").status == 0


@pytest.mark.parametrize("source", ["hunter2", "pass:hunter2", "env:", "file:", "fd:x"])
def test_a_password_on_the_command_line_is_refused_and_not_shown(bundle: Path, tmp_path: Path, source: str) -> None:
    ran = called("keygen", tmp_path / "x", "--key-password", source)
    assert ran.status == 2
    assert "hunter2" not in ran.output
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    signing.generate(tmp_path / "a.key", tmp_path / "a.pub", None)
    (tmp_path / "a.key").chmod(mode)
    with pytest.raises(UsageError, match="Other users have rights") as refused:
        signing.load_key(tmp_path / "a.key")
    assert "chmod 600" in refused.value.remedy


PEM = trust.PublicKey("x", b"\x30\x00").pem.decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no public key"),
        ("hello", "line 1"),
        (PEM.replace("END", "FIN"), "does not end"),
        (f"threshold: 2\n{PEM}", "threshold is 2"),
        (f"threshold: 0\n{PEM}", "threshold is 0"),
        (PEM + PEM, "twice"),
        (PEM.replace("MAA=", "////"), "not a public key"),
    ],
)
def test_a_trust_file_that_is_not_understood_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trust.parse(text, "trust.pem")


def test_a_trust_file_names_its_keys_and_a_threshold(pairs: Mapping[str, Pair]) -> None:
    texts = (f"name: {name}\n{pair.public.read_text()}" for name, pair in pairs.items())
    read = trust.parse("# of the site\nthreshold: 2\n\n" + "\n".join(texts), "site.trust")
    assert ([key.name for key in read.keys], read.threshold) == (["release", "audit", "evil"], 2)
