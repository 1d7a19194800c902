from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import VerificationError
from bundler.model import layout, media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage, BundleManifest, FileEntry
from bundler.model.platform import Platform

ROOT = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"root"), 4)
IMAGE = BundledImage("quay.io/feastdev/feast-operator:0.61.0", "operator", ROOT, (Platform("linux", "amd64"),), 4)
FILES = tuple(
    FileEntry(path, "file", 3, Digest.of(path.encode()))
    for path in ("oci-layout", "index.json", "manifests/10-cr.yaml", "bundle.lock", layout.blob(ROOT.digest))
)
MANIFEST = BundleManifest("driver-stats", "0.1.0", "bundler 0.1.0", 1700000000, (IMAGE,), FILES, "reg.example/feast")


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    filtered = replace(IMAGE, reference="quay.io/a/b:1", source_digest=Digest.of(b"source"))
    manifest = replace(MANIFEST, images=(IMAGE, filtered))
    assert BundleManifest.parse(manifest.to_bytes()) == manifest


def edited(**changes: object) -> bytes:
    value = json.loads(MANIFEST.to_bytes()) | changes
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


BASE = {"name": "driver-stats", "version": "0.0.9", "digest": str(ROOT.digest), "blobs": []}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "lacks a property"),
        (edited(format=3), "has the format 3"),
        (edited(format=3), "bundler.pyz"),
        (edited(format=2), "canonical"),
        (edited(format=2, base={}), "not the base bundle of a delta"),
        (edited(format=2, base={**BASE, "blobs": [{"digest": 1}]}), "not a blob of the base bundle"),
        (edited(surprise=1), "canonical"),
        (edited(created="now"), "wrong type"),
        (MANIFEST.to_bytes() + b"\n", "canonical"),
        (MANIFEST.to_bytes().replace(b'"name": "driver', b'"name": "other", "name": "driver'), "occurs twice"),
        (edited(files=[FILES[0].to_json(), FILES[0].to_json()]), "twice"),
        (edited(files=[FILES[1].to_json(), FILES[0].to_json()]), "out of order"),
        (edited(files=[FILES[0].to_json() | {"path": "../evil"}]), "not a path"),
        (edited(files=[FILES[0].to_json() | {"path": "/etc/passwd"}]), "not a path"),
        (edited(files=[FILES[0].to_json() | {"size": -1}]), "not a file"),
        (edited(files=[FILES[0].to_json() | {"digest": "sha256:1"}]), "not a sha256"),
        (edited(files=[FileEntry("SHA256SUMS", "x", 1, ROOT.digest).to_json()]), "which is written after it"),
        (edited(images=[IMAGE.to_json(), IMAGE.to_json()]), "the same name"),
        (edited(name="\x1b[31mred"), "control characters"),
        (edited(name="../../etc/evil"), "not a DNS label"),
        (edited(name="--help"), "not a DNS label"),
        (edited(name="<script>"), "not a DNS label"),
        (edited(version="-1"), "cannot be the tag"),
        (edited(version="1/../2"), "cannot be the tag"),
        (edited(registry="--authfile=x"), "is not HOST"),
        (edited(registry="a|b;c"), "is not HOST"),
        (edited(images=[IMAGE.to_json() | {"internal": "--dest-tls-verify=false"}]), "not an image reference"),
        (edited(images=[IMAGE.to_json() | {"internal": "reg.example/feast/../../evil:1"}]), "not an image reference"),
        (edited(created=-1), "no header of a tar can say"),
        (edited(created=10**18), "no header of a tar can say"),
        (edited(created=True), "no header of a tar can say"),
        (edited(files=[FILES[0].to_json() | {"size": True}]), "not a file"),
        (edited(images=[IMAGE.to_json() | {"size": -5}]), "not an image"),
        (edited(images=[IMAGE.to_json() | {"size": 10**30}]), "not an image"),
        (
            edited(images=[IMAGE.to_json() | {"root": IMAGE.root.to_json() | {"annotations": {"a": "b"}}}]),
            "annotations",
        ),
        (
            edited(files=[{**FILES[0].to_json(), "path": path} for path in ("Zone", "zone")]),
            "one file on some",
        ),
        (edited(files=[{**FILES[0].to_json(), "path": path} for path in ("A/x", "a/y")]), "one folder on some"),
        (edited(files=[{**FILES[0].to_json(), "path": path} for path in ("zeta", "zeta/y")]), "a file and a folder"),
        (MANIFEST.to_bytes().replace(b'"created": ', b'"created": ' + b"9" * 4000), "has 40"),
        (b'{"files": [' + b"[]," * 500_000 + b"[]]}", "more than 500000 values"),
        (edited(images=[IMAGE.to_json() | {"internal": "a\nb"}]), "control characters"),
    ],
)
def test_a_malformed_manifest_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        BundleManifest.parse(content)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_fail_in_another_way(content: bytes) -> None:
    with pytest.raises(VerificationError):
        BundleManifest.parse(content)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "..", "a/../b", "./a", ".hidden", "a b", "a\nb", "a\\b", "ä", "-rf", "a" * 241]
)
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        layout.check_path(path)


def test_metadata_comes_before_blobs() -> None:
    paths = [layout.blob(ROOT.digest), "bundle.lock", "unforeseen.txt", "sbom/a.json", "index.json", "oci-layout"]
    assert sorted(paths, key=layout.order) == [
        *("oci-layout", "index.json", "sbom/a.json", "bundle.lock", "unforeseen.txt"),
        layout.blob(ROOT.digest),
    ]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("reg.example:5000/feast/server:0.1.0", "reg.example:5000/feast/server:0.1.0"),
        (f"quay.io/x/y@{ROOT.digest}", f"quay.io/x/y@{ROOT.digest}"),
        ("quay.io/a__b/c:1", f"quay.io/a_b/c:1-{ROOT.digest.short}"),
    ],
)
def test_the_name_in_the_layout_is_one_that_skopeo_takes(reference: str, name: str) -> None:
    assert replace(IMAGE, reference=reference).layout_name == name
