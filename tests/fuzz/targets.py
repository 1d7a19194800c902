"""What is fuzzed: every reader of what arrives, as a function of bytes, with seeds that it reads.

A target may raise ``ValueError`` or one of our errors. Anything else is a traceback that a user would see.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry import challenge
from bundler.effects.registry.faults import HttpAnswer, refused
from bundler.errors import BundlerError
from bundler.feast.rules import ignore_patterns
from bundler.feast.stores import feature_store_yaml
from bundler.kube import kustomize, plain_yaml, yaml_events, yaml_values
from bundler.kube.yaml_budget import Budget
from bundler.model import checksums, json_document, lock, spec_reader, volumes, vulnerabilities
from bundler.model.manifest import BundleManifest
from bundler.model.progress import SilentProgress
from bundler.model.reference import ImageRef
from bundler.model.vulnerabilities import ScanResult, Vulnerability
from bundler.oci import index, manifest, references, tar_reader
from bundler.oci.config import ImageConfig
from bundler.render import checklist, provenance, sbom_reader, text_diff
from bundler.resources import verify as verifier
from bundler.steps.bundle import verify
from bundler.wheels import sdist
from bundler.wheels.archive import WheelArchive
from tests.support import hostile_cases
from tests.support.hostile import Draft, Place
from tests.unit import packed
from tests.unit.sample_wheels import wheel

SMALL: Final = 1 << 18


@dataclass(frozen=True)
class Target:
    """A reader; ``seeds`` are inputs that mutations begin with."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


@lru_cache
def corpus() -> Mapping[str, bytes]:
    """Return the small bundles of the corpus, and the honest one's documents by path."""
    with tempfile.TemporaryDirectory() as folder:
        honest = packed.bundle(Path(folder)).path
        draft = Draft.of(honest)
        for path in ("bundler.pyz", "install.sh", "verify.py"):
            draft.files.pop(path)  # large, and no reader looks into them
        found = dict(draft.files)
        for name, (place, make) in hostile_cases.CASES.items():
            if place in (Place.NOTHING, Place.TAR, Place.IMAGES, Place.COPIES, Place.DOCUMENTS):
                try:
                    content = make(draft.copy())
                except (ValueError, StopIteration, KeyError):  # a fault of a file that was left out
                    continue
                if len(content) < SMALL:
                    found[f"case {name}"] = content
        with Bundle.open(honest) as bundle:
            found["bundle.json"] = bundle.read("bundle.json")
            found["SHA256SUMS"] = bundle.read("SHA256SUMS")
    return found


def bundles() -> tuple[bytes, ...]:
    return tuple(content for name, content in corpus().items() if name.startswith("case "))


def manifests() -> tuple[bytes, ...]:
    return tuple(content for path, content in corpus().items() if path.startswith("manifests/"))


def documents(*keys: str) -> tuple[bytes, ...]:
    """Return the blobs that are JSON objects with all of these keys."""
    found = []
    for path, content in corpus().items():
        if path.startswith("blobs/") and content.startswith(b"{"):
            value = json.loads(content)
            if all(key in value for key in keys):
                found.append(content)
    return tuple(found)


def _bundle(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bundle.tar"
        path.write_bytes(content)
        verify.run(path, progress=SilentProgress())


def _volumes(content: bytes) -> None:
    """Read volumes whose names and checksums the first bytes choose."""
    names, _, tar = content.partition(b"\0")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        size = max(1, len(tar) // 3)
        for number, begin in enumerate(range(0, len(tar), size), 1):
            (place / volumes.name("x.bundle.tar", number)).write_bytes(tar[begin : begin + size])
        (place / volumes.checksums("x.bundle.tar")).write_bytes(names)
        verify.run(place, progress=SilentProgress())


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda content: read(content.decode("utf-8", "replace"))


def _wheel(content: bytes) -> None:
    archive = WheelArchive(io.BytesIO(content), "demo-1.0-py3-none-any.whl")
    for entry in archive.entries:
        if not entry.endswith("/"):
            archive.read(entry)


def _plain_yaml(text: str) -> None:
    """Hold that the quick reader gives what the other one gives."""
    try:
        found = plain_yaml.documents(f"{text}\n")
    except plain_yaml.NotPlainError:
        return
    assert repr(list(found)) == repr(list(yaml_events.documents(f"{text}\n", Budget())))


def _verifier(content: bytes) -> None:
    """Hold that the bundle's own verifier refuses nothing that the program accepts, and ends without a traceback."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bundle.tar"
        path.write_bytes(content)
        faults = verifier.check(verifier.read_tar(path))[1]
        assert not faults or verify.run(path, progress=SilentProgress()).failed, faults


def _layer(content: bytes) -> None:
    for _, member in tar_reader.members(io.BytesIO(content)):
        member.skip()


def _patterns(text: str) -> None:
    patterns = ignore_patterns.read("x", text.split("\n"))
    for path in ("a", "a/b.py", "a" * 200, "a/" * 50 + "b", text[:200].replace("\n", "")):
        patterns.match_file(path)


def _answer(content: bytes) -> None:
    status, _, body = content.partition(b"\n")
    code = int(status) if status.isdigit() and len(status) == 3 else 400
    header = body[:200].decode("latin-1")
    answer = HttpAnswer(
        code, {"retry-after": header, "www-authenticate": header, "date": header}, body, "https://r/v2/"
    )
    str(refused(answer, doing="reading x", host="r", login=None))
    _ = answer.retry_after
    challenge.choose(header)


def _diff(text: str) -> None:
    old, _, new = text.partition("\0")
    list(text_diff.unified(old.split("\n"), new.split("\n"), "a", "b"))


MANIFESTS: Final = tuple(
    content.encode()
    for content in (
        hostile_cases.OBJECT,
        f"{hostile_cases.OBJECT}a0: &a0 [x, y]\n{hostile_cases.ALIASES[:200]}",
        "a: &x {b: 1, c: 2020-01-01, d: 1:30, e: !!binary aGk=}\nf: {<<: *x, g: 0x1F, h: .5, i: ~, 'j': \"k\\n\"}\n",
        "- |\n  text\n- >-\n  folded\n- ? a\n  : b\n---\n%TAG ! tag:x,2000:\n",
        (
            "kind: Kustomization\nresources: [x.yaml, a]\npatches:\n"
            "  - {target: {kind: X}, patch: '[{op: add, path: /a, value: 1}]'}\n"
        ),
    )
)
SPEC: Final = (Path(__file__).resolve().parents[2] / "examples" / "driver-stats" / "bundle.yaml").read_bytes()
STORE: Final = (
    b"project: x\nprovider: local\nregistry: {path: s3://b/r.db, cache_ttl_seconds: 60}\nonline_store: {type: redis}\n"
)
LOCK: Final = (
    b'{\n  "format": 1,\n  "tool": "x",\n  "created": 1,\n  "spec": "sha256:00",\n'
    b'\t"platforms": [{"wheels": [{}]}],\n  "images": []\n}\n'
)


def source() -> bytes:
    """Return a source distribution."""
    target = io.BytesIO()
    texts = {"PKG-INFO": "Name: demo\nVersion: 1.0\n", "pyproject.toml": '[build-system]\nrequires = ["hatchling"]\n'}
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"demo-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return target.getvalue()


def targets() -> dict[str, Target]:
    return {
        "bundle": Target(_bundle, bundles()),
        "volumes": Target(_volumes, tuple(b"\0" + content for content in bundles()[:20])),
        "bundle.json": Target(BundleManifest.parse, (corpus()["bundle.json"],)),
        "SHA256SUMS": Target(checksums.parse, (corpus()["SHA256SUMS"],)),
        "lock": Target(_text(lambda text: lock.read(text, "bundle.lock")), (LOCK,)),
        "spec": Target(_text(lambda text: spec_reader.read(text, "bundle.yaml")), (SPEC,)),
        "feature_store.yaml": Target(_text(lambda text: feature_store_yaml.parse(text, "x")), (STORE,)),
        "YAML": Target(_text(lambda text: list(yaml_values.documents(text))), MANIFESTS),
        "plain YAML": Target(_text(_plain_yaml), (*MANIFESTS, *manifests())),
        "verifier": Target(_verifier, bundles()),
        "kustomization": Target(
            _text(lambda text: list(kustomize.objects({"kustomization.yaml": text, "x.yaml": text}))), MANIFESTS
        ),
        "JSON": Target(
            lambda content: json_document.parse(content, "it", size=SMALL), (corpus()["bundle.json"], b"[1.5e3]")
        ),
        "index": Target(index.parse, (corpus()["index.json"], *documents("manifests"))),
        "image manifest": Target(
            lambda content: manifest.parse(content, "application/vnd.oci.image.manifest.v1+json"), documents("layers")
        ),
        "image config": Target(ImageConfig.parse, documents("rootfs")),
        "bill of materials": Target(
            sbom_reader.components, (b'{"components":[{"purl":"pkg:pypi/a@1","version":"1"}]}',)
        ),
        "provenance": Target(
            provenance.subjects,
            (
                b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"' + b"0" * 64 + b'"}}]}',
                b'{"payloadType":"application/vnd.in-toto+json","payload":"e30="}',
            ),
        ),
        "scan": Target(vulnerabilities.read, (ScanResult("x", "", "", (Vulnerability("a", "1", "b"),)).to_bytes(),)),
        "checklist": Target(checklist.parse, (corpus().get("checklist.json", b'{"format": 1, "report": {}}'),)),
        "layer": Target(_layer, bundles()),
        "wheel": Target(_wheel, (wheel({"demo/__init__.py": "x = 1\n"}).getvalue(),)),
        "source distribution": Target(lambda content: sdist.read(io.BytesIO(content)), (source(), b"\x1f\x8b\x08")),
        "registry answer": Target(
            _answer, (b'429\n{"errors":[{"code":"TOOMANYREQUESTS","message":"x"}]}', b"401\nBearer realm=x")
        ),
        "ignore file": Target(_text(_patterns), (b"*.py[co]\n!keep\n/a/**/b\n[a-z]*?\n\\ \n",)),
        "reference": Target(_text(ImageRef.parse), (b"quay.io/a/b:1@sha256:" + b"0" * 64, b"[::1]:5000/a__b")),
        "relocation": Target(
            _text(lambda text: references.relocate_text(text, {"r/a:1": "x/a:1"})), (b"r/a:1 r/a:1.2",)
        ),
        "diff": Target(_text(_diff), (b"a\nb\nc\0a\nc\nd\n",)),
    }


ALLOWED: Final = (ValueError, BundlerError)
