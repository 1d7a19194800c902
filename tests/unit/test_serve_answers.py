"""The pull part of the OCI distribution specification 1.1, case by case, without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry_server.answers import Reply, answer
from bundler.effects.registry_server.catalog import Catalog, ServedRepository
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.oci.manifest import RawManifest
from bundler.steps.bundle.images import open_images
from bundler.steps.transport import serve
from tests.support import sample_bundles
from tests.support.sample_bundles import ARM64, SampleLayer

LAYER = SampleLayer.of(1, 5000)
APP = sample_bundles.image([LAYER])
MULTI = sample_bundles.index([APP, sample_bundles.image([SampleLayer.of(2, 3000)], ARM64)])
UNKNOWN = f"sha256:{'0' * 64}"
BLOB = f"sha256:{Digest.of(LAYER.content).hex}"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    images = {"team/app:1.0": APP, "team/app:2.0": MULTI, "other/app:1.0": APP}
    path = sample_bundles.write(tmp_path / "sample.bundle.tar", images)
    with Bundle.open(path) as bundle:
        return serve.catalog(open_images(bundle))


def get(catalog: Catalog, path: str, wanted_range: str | None = None, **query: str) -> Reply:
    return answer(catalog, path, query, wanted_range)


def code(reply: Reply) -> str:
    rows = json.loads(reply.body)["errors"]
    assert all({"code", "message"} <= row.keys() for row in rows)
    return str(rows[0]["code"])


def test_the_base_tells_that_this_is_a_registry(catalog: Catalog) -> None:
    assert get(catalog, "/v2/").status == 200


@pytest.mark.parametrize("reference", ["2.0", str(MULTI.root.digest)])
def test_a_manifest_is_found_by_tag_and_by_digest(reference: str, catalog: Catalog) -> None:
    reply = get(catalog, f"/v2/feast/team/app/manifests/{reference}")

    assert reply.status == 200
    assert reply.body == MULTI.blobs[MULTI.root.digest]
    assert reply.headers["Content-Type"] == MULTI.root.media_type
    assert reply.headers["Docker-Content-Digest"] == str(MULTI.root.digest)


def test_children_of_an_index_are_found_by_digest(catalog: Catalog) -> None:
    for row in json.loads(MULTI.blobs[MULTI.root.digest])["manifests"]:
        assert get(catalog, f"/v2/feast/team/app/manifests/{row['digest']}").status == 200


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/v2/feast/team/app/manifests/9.9", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/feast/team/app/manifests/{UNKNOWN}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/feast/team/app/blobs/{UNKNOWN}", 404, "BLOB_UNKNOWN"),
        ("/v2/feast/team/app/blobs/sha256:short", 400, "DIGEST_INVALID"),
        ("/v2/feast/team/app/referrers/sha256:short", 400, "DIGEST_INVALID"),
        ("/v2/nobody/manifests/1.0", 404, "NAME_UNKNOWN"),
        (f"/v2/nobody/blobs/{UNKNOWN}", 404, "NAME_UNKNOWN"),
        ("/v2/nobody/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/feast/team/app/tags/other", 404, "UNSUPPORTED"),
        ("/v3/", 404, "UNSUPPORTED"),
        ("/v2/../../etc/passwd", 404, "UNSUPPORTED"),
    ],
)
def test_what_is_not_there_is_told_with_its_code(path: str, status: int, expected: str, catalog: Catalog) -> None:
    reply = get(catalog, path)
    assert (reply.status, code(reply)) == (status, expected)


def test_a_blob_of_another_repository_is_not_there(catalog: Catalog) -> None:
    arm_layer = Digest.of(SampleLayer.of(2, 3000).content)
    assert get(catalog, f"/v2/feast/team/app/blobs/{arm_layer}").status == 200
    assert get(catalog, f"/v2/feast/other/app/blobs/{arm_layer}").status == 404


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, len(LAYER.content)),
        ("bytes=-7", len(LAYER.content) - 7, len(LAYER.content)),
        ("bytes=10-99999999", 10, len(LAYER.content)),
        ("bytes=-99999999", 0, len(LAYER.content)),
    ],
)
def test_a_range_of_a_blob(wanted: str, begin: int, end: int, catalog: Catalog) -> None:
    reply = get(catalog, f"/v2/feast/team/app/blobs/{BLOB}", wanted)

    assert reply.status == 206
    assert reply.blob
    assert reply.blob[1:] == (begin, end)
    assert reply.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(LAYER.content)}"


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0"])
def test_a_range_outside_of_the_blob_is_refused(wanted: str, catalog: Catalog) -> None:
    reply = get(catalog, f"/v2/feast/team/app/blobs/{BLOB}", wanted)
    assert reply.status == 416
    assert reply.headers["Content-Range"] == f"bytes */{len(LAYER.content)}"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=9-3", "nonsense"])
def test_a_range_that_makes_no_sense_is_ignored(wanted: str, catalog: Catalog) -> None:
    assert get(catalog, f"/v2/feast/team/app/blobs/{BLOB}", wanted).status == 200


def test_tags_are_listed_in_order_and_in_pages(catalog: Catalog) -> None:
    path = "/v2/feast/team/app/tags/list"
    assert json.loads(get(catalog, path).body) == {"name": "feast/team/app", "tags": ["1.0", "2.0"]}

    first = get(catalog, path, n="1")
    assert json.loads(first.body)["tags"] == ["1.0"]
    assert first.headers["Link"] == f'<{path}?n=1&last=1.0>; rel="next"'
    second = get(catalog, path, n="1", last="1.0")
    assert json.loads(second.body)["tags"] == ["2.0"]
    assert "Link" not in second.headers
    assert json.loads(get(catalog, path, n="0").body)["tags"] == []
    assert get(catalog, path, n="many").status == 400


def test_the_catalog_names_every_repository_also_by_its_source(catalog: Catalog) -> None:
    names = json.loads(get(catalog, "/v2/_catalog").body)["repositories"]
    assert names == ["feast/other/app", "feast/team/app", "other/app", "team/app"]
    assert json.loads(get(catalog, "/v2/_catalog", n="1", last="feast/team/app").body)["repositories"] == ["other/app"]


def _signature_of(subject: Descriptor, artifact_type: str) -> RawManifest:
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": UNKNOWN, "size": 2},
            "layers": [],
            "subject": subject.to_json(),
            "annotations": {"by": "someone"},
        }
    ).encode()
    return RawManifest(Descriptor(media_types.OCI_MANIFEST, Digest.of(content), len(content)), content)


def test_referrers_are_listed_and_filtered_by_type() -> None:
    repository = ServedRepository()
    repository.manifests[APP.root.digest] = RawManifest(APP.root, APP.blobs[APP.root.digest])
    for kind in ("application/signature", "application/sbom"):
        served = _signature_of(APP.root, kind)
        repository.manifests[served.descriptor.digest] = served
    catalog = Catalog({"app": repository})

    everything = get(catalog, f"/v2/app/referrers/{APP.root.digest}")
    assert everything.headers["Content-Type"] == media_types.OCI_INDEX
    rows = json.loads(everything.body)["manifests"]
    assert {row["artifactType"] for row in rows} == {"application/signature", "application/sbom"}
    assert rows[0]["annotations"] == {"by": "someone"}

    filtered = get(catalog, f"/v2/app/referrers/{APP.root.digest}", artifactType="application/sbom")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert [row["artifactType"] for row in json.loads(filtered.body)["manifests"]] == ["application/sbom"]

    nothing = get(catalog, f"/v2/app/referrers/{UNKNOWN}")
    assert (nothing.status, json.loads(nothing.body)["manifests"]) == (200, [])


def test_the_colon_of_a_digest_may_be_escaped(catalog: Catalog) -> None:
    repository = catalog.repositories["feast/team/app"]
    digest, blob = next(iter(repository.manifests)), next(iter(repository.blobs))
    for path in (f"manifests/{digest}", f"blobs/{blob}", f"referrers/{digest}"):
        escaped = f"/v2/feast/team/app/{path.replace(':', '%3A')}"
        assert answer(catalog, escaped, {}, None) == answer(catalog, f"/v2/feast/team/app/{path}", {}, None)
        assert answer(catalog, escaped.replace("%3A", "%3a"), {}, None).status == 200
