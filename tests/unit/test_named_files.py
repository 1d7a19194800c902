"""Whatever an option or argument names that is not what it should be ends with an error that names it and a remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bundler.effects.registry import tls
from bundler.effects.registry.endpoint import TlsSettings
from bundler.errors import UsageError
from tests.support import sample_bundles
from tests.unit.test_cli import run

REGISTRY = ("--registry", "r.example", "--retry-times", "0")
# {} is what is wrong, BUNDLE a bundle of one image.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "init": ("init", "{}"),
    "lock": ("lock", "-f", "{}"),
    "build": ("build", "-f", "{}"),
    "inspect": ("inspect", "{}"),
    "inspect json": ("inspect", "{}", "--output", "json"),
    "inspect trust": ("inspect", "BUNDLE", "--trust", "{}"),
    "diff": ("diff", "BUNDLE", "{}"),
    "verify": ("verify", "{}"),
    "verify key": ("verify", "BUNDLE", "--key", "{}"),
    "verify policy": ("verify", "BUNDLE", "--policy", "{}"),
    "approve": ("approve", "{}", "--role", "r", "--key", "none"),
    "approve key": ("approve", "BUNDLE", "--role", "r", "--key", "{}"),
    "sign": ("sign", "{}", "--payload", "PAYLOAD"),
    "sign key": ("sign", "BUNDLE", "--key", "{}"),
    "sign attach": ("sign", "BUNDLE", "--attach", "{}", "--public-key", "none"),
    "push": ("push", "{}", *REGISTRY),
    "push ca": ("push", "BUNDLE", *REGISTRY, "--ca-cert", "{}"),
    "push client": ("push", "BUNDLE", *REGISTRY, "--client-cert", "{}"),
    "load": ("load", "{}"),
    "serve": ("serve", "{}"),
    "serve certificate": ("serve", "BUNDLE", "--tls-cert", "{}", "--tls-key", "{}"),
    "serve passwords": ("serve", "BUNDLE", "--htpasswd", "{}"),
    "preflight kubeconfig": ("preflight", "BUNDLE", *REGISTRY, "--kubeconfig", "{}"),
    "install": ("install", "{}", "--registry", "r.example"),
    "install kubeconfig": ("install", "BUNDLE", "--registry", "r.example", "--kubeconfig", "{}"),
    "status kubeconfig": ("status", "BUNDLE", "--registry", "r.example", "--kubeconfig", "{}"),
    "uninstall kubeconfig": ("uninstall", "BUNDLE", "--kubeconfig", "{}", "--yes"),
    "rehearse values": ("rehearse", "BUNDLE", "--values", "{}"),
    "lint": ("lint", "{}", "--operator-version", "0.61.0"),
    "lint operator": ("lint", "BUNDLE", "--operator-manifest", "{}"),
}
WRONG: Mapping[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link to itself": lambda path: path.symlink_to(path),
    "below a file": lambda path: path.parent.write_bytes(b""),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layer = sample_bundles.SampleLayer.of(1, 100)
    path = tmp_path_factory.mktemp("bundle") / "x.bundle.tar"
    return sample_bundles.write(path, {"feast": sample_bundles.image([layer])})


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_error_names_what_is_wrong_and_the_next_step(
    command: str, wrong: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "folder" / "named"
    path.parent.mkdir() if wrong != "below a file" else None
    WRONG[wrong](path)
    words = {"{}": str(path), "BUNDLE": str(bundle), "PAYLOAD": str(tmp_path / "payload")}
    status, _, err = run(capsys, *(words.get(word, word) for word in COMMANDS[command]))
    assert status in {2, 3}, err
    assert str(path) in err
    assert "\n  -> " in err


def test_a_path_to_write_below_a_file_is_refused_with_a_remedy(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    status, _, err = run(capsys, "sign", str(bundle), "--payload", str(tmp_path / "file" / "x"))
    assert status == 5
    assert "  -> Choose a folder: a part of this path is a file." in err


def test_a_spec_is_not_written_over_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "bundle.yaml"
    link.symlink_to("nowhere")
    status, _, err = run(capsys, "init", str(tmp_path), "-o", str(link))
    assert status == 2
    assert f"{link} exists." in err


def test_a_file_that_is_not_a_bundle_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("# Read me\n")
    status, _, err = run(capsys, "inspect", str(tmp_path / "README.md"))
    assert status == 6
    assert "README.md is not a bundle: " in err
    assert "  -> Name a bundle." in err


def test_a_manifest_that_is_not_yaml_is_to_be_corrected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text("a: [FeatureStore")
    status, _, err = run(capsys, "lint", str(tmp_path / "x.yaml"), "--operator-version", "0.61.0")
    assert status == 3
    assert "x.yaml: not YAML that can be used" in err
    assert "  -> Correct the file." in err


def test_a_missing_client_key_is_named_and_not_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "client.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(UsageError, match=r"Cannot read the PEM file .*/client\.key: the file does not exist"):
        tls.context(TlsSettings((), tmp_path / "client.crt", tmp_path / "client.key"))
