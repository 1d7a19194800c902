import dataclasses
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model import media_types
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci import document, image, index, mutate
from bundler.oci.config import ImageConfig
from bundler.oci.filetree import File, FileTree
from bundler.oci.image import Image
from bundler.oci.layer import Layer, write_layer

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def layer(content: bytes, created_by: str = "test") -> Layer:
    tree = FileTree.of([File("a", len(content), lambda: io.BytesIO(content))])
    return write_layer(tree, io.BytesIO(), epoch=0, created_by=created_by)


class Blobs(dict[Digest, bytes]):
    """A store of small blobs."""

    def put(self, value: Json, media_type: str) -> Descriptor:
        # Not the canonical form, so that a test sees whether bytes were kept.
        content = json.dumps(value, indent=3).encode()
        self[Digest.of(content)] = content
        return Descriptor(media_type, Digest.of(content), len(content))


def docker_image(blobs: Blobs, layers: list[Layer], *, layer_type: str = media_types.DOCKER_LAYER_GZIP) -> Descriptor:
    config: Json = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/bin", "A=1=2"],
            "User": "1001",
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {"a": "b"},
        },
        "container_config": {"Hostname": "builder"},
        "x-unknown": {"kept": True},
        "rootfs": {"type": "layers", "diff_ids": [str(item.diff_id) for item in layers]},
        "history": [
            {"created_by": "ADD rootfs", "created": "2020-01-01T00:00:00Z"},
            {"created_by": "ENV A", "empty_layer": True},
        ],
    }
    manifest: Json = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST,
        "config": blobs.put(config, media_types.DOCKER_CONFIG).to_json(),
        "layers": [dataclasses.replace(item.descriptor, media_type=layer_type).to_json() for item in layers],
    }
    return blobs.put(manifest, media_types.DOCKER_MANIFEST)


def read_back(blobs: Blobs, made: Image) -> Image:
    blobs[made.descriptor.digest] = made.manifest_bytes()
    blobs[Digest.of(made.config_bytes())] = made.config_bytes()
    return Image.from_blobs(made.descriptor, blobs.__getitem__)


def test_a_base_that_does_not_change_stays_byte_for_byte() -> None:
    blobs = Blobs()
    descriptor = docker_image(blobs, [layer(b"1")])
    base = Image.from_blobs(descriptor, blobs.__getitem__)
    assert base.manifest_bytes() == blobs[descriptor.digest]
    assert (base.descriptor.digest, base.descriptor.media_type) == (descriptor.digest, media_types.DOCKER_MANIFEST)
    assert base.descriptor.platform == AMD64
    assert mutate.append_layers(base, []) is base
    assert mutate.configure(base, user="1001", env={}, labels={"a": "b"}) is base


def test_layers_appended_to_a_docker_image_make_it_an_oci_image_throughout() -> None:
    blobs = Blobs()
    below, above = layer(b"1"), layer(b"2", "bundler: wheels")
    base = Image.from_blobs(docker_image(blobs, [below]), blobs.__getitem__)
    made = mutate.append_layers(base, [above])
    manifest = json.loads(made.manifest_bytes())
    assert manifest["mediaType"] == made.descriptor.media_type == media_types.OCI_MANIFEST
    assert manifest["config"]["mediaType"] == media_types.OCI_CONFIG
    assert [item["mediaType"] for item in manifest["layers"]] == [media_types.OCI_LAYER_GZIP] * 2
    assert [item["digest"] for item in manifest["layers"]] == [
        str(below.descriptor.digest),
        str(above.descriptor.digest),
    ]
    assert made.config.diff_ids == (below.diff_id, above.diff_id)
    assert [entry["created_by"] for entry in made.config.history] == ["ADD rootfs", "ENV A", "bundler: wheels"]
    assert [item.created_by for item in read_back(blobs, made).layers] == ["ADD rootfs", "bundler: wheels"]


@pytest.mark.parametrize(
    ("docker", "oci"),
    [
        (DOCKER_LAYER, media_types.OCI_LAYER),
        (f"{DOCKER_LAYER}.gzip", media_types.OCI_LAYER_GZIP),
        (f"{DOCKER_LAYER}.zstd", media_types.OCI_LAYER_ZSTD),
    ],
)
def test_each_docker_layer_type_becomes_the_oci_type_of_the_same_bytes(docker: str, oci: str) -> None:
    blobs = Blobs()
    base = Image.from_blobs(docker_image(blobs, [layer(b"1")], layer_type=docker), blobs.__getitem__)
    assert mutate.append_layers(base, [layer(b"2")]).layers[0].descriptor.media_type == oci


def test_unknown_properties_of_the_config_survive_and_stale_ones_go() -> None:
    blobs = Blobs()
    base = Image.from_blobs(docker_image(blobs, [layer(b"1")]), blobs.__getitem__)
    made = mutate.configure(base, user="1001:0")
    assert made.config.document["x-unknown"] == {"kept": True}
    assert made.config.runtime["Healthcheck"] == {"Test": ["NONE"]}
    assert "container_config" not in made.config.document


def test_a_history_that_lacks_layers_is_made_whole() -> None:
    blobs = Blobs()
    base = Image.from_blobs(docker_image(blobs, [layer(b"1")]), blobs.__getitem__)
    short = dataclasses.replace(base, config=ImageConfig({**base.config.document, "history": [{"empty_layer": True}]}))
    made = mutate.append_layers(short, [layer(b"2")])
    assert len([entry for entry in made.config.history if not entry.get("empty_layer")]) == 2


def test_configure_merges_environment_labels_and_annotations() -> None:
    base = mutate.configure(
        image.empty(AMD64), env={"PATH": "/bin", "A": "1"}, labels={"x": "1"}, annotations={"n": "1"}
    )
    made = mutate.configure(
        base,
        user="1001",
        working_dir="/opt",
        env={"A": "2", "B": "3=4"},
        entrypoint=["feast"],
        cmd=["serve"],
        labels={"y": "2"},
        annotations={"m": "2"},
    )
    config = made.config
    assert config.runtime["Env"] == ["PATH=/bin", "A=2", "B=3=4"]
    assert (config.user, config.working_dir, config.entrypoint, config.cmd) == ("1001", "/opt", ("feast",), ("serve",))
    assert config.labels == {"x": "1", "y": "2"}
    assert made.annotations == {"n": "1", "m": "2"}
    assert base.config.env == {"PATH": "/bin", "A": "1"}


def test_created_is_also_the_time_of_history_without_one() -> None:
    made = mutate.append_layers(image.empty(ARM64), [layer(b"1")])
    made = mutate.configure(made, created=1_700_000_000)
    assert made.config.document["created"] == "2023-11-14T22:13:20Z"
    assert [entry["created"] for entry in made.config.history] == ["2023-11-14T22:13:20Z"]


def test_the_same_image_has_the_same_bytes_in_whatever_order_it_was_made() -> None:
    first = mutate.configure(
        image.empty(Platform("linux", "arm64", "v8")), labels={"a": "1", "b": "2"}, user="1001", created=1
    )
    second = mutate.configure(image.empty(Platform("linux", "arm64", "v8")), created=1)
    second = mutate.configure(mutate.configure(second, labels={"b": "2"}), user="1001", labels={"a": "1"})
    assert first.manifest_bytes() == second.manifest_bytes()
    assert first.config_bytes() == second.config_bytes()
    assert first.descriptor.platform == Platform("linux", "arm64", "v8")


def _refusal(config: dict[str, Json] | None = None, manifest: dict[str, Json] | None = None) -> str:
    """Return why an image with these properties of its config and manifest is refused."""
    blobs = Blobs()
    item = layer(b"1")
    good_config: dict[str, Json] = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(item.diff_id)]},
    }
    good_manifest: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": blobs.put({**good_config, **(config or {})}, media_types.OCI_CONFIG).to_json(),
        "layers": [item.descriptor.to_json()],
    }
    descriptor = blobs.put({**good_manifest, **(manifest or {})}, media_types.OCI_MANIFEST)
    with pytest.raises(ValueError) as caught:
        Image.from_blobs(descriptor, blobs.__getitem__)
    assert str(caught.value).startswith(f"image {descriptor.digest}: ")
    return str(caught.value)


def test_hostile_configs_are_refused_with_the_property_that_is_wrong() -> None:
    assert "os and architecture" in _refusal({"os": ""})
    assert "'architecture'" in _refusal({"architecture": ["amd64"]})
    assert "rootfs" in _refusal({"rootfs": {"type": "other", "diff_ids": []}})
    assert "the manifest has 1 layers, the config 0" in _refusal({"rootfs": {"type": "layers", "diff_ids": []}})
    assert "not a sha256 digest" in _refusal({"rootfs": {"type": "layers", "diff_ids": ["sha512:00"]}})
    assert "Env" in _refusal({"config": {"Env": [1]}})
    assert "Entrypoint" in _refusal({"config": {"Entrypoint": "feast"}})
    assert "Labels" in _refusal({"config": {"Labels": {"a": 1}}})
    assert "'User'" in _refusal({"config": {"User": 1001}})
    assert "'config'" in _refusal({"config": []})
    assert "history" in _refusal({"history": ["RUN"]})


def test_hostile_manifests_are_refused_with_the_property_that_is_wrong() -> None:
    item = layer(b"1").descriptor
    assert "schemaVersion" in _refusal(manifest={"schemaVersion": 1})
    assert "has the media type" in _refusal(manifest={"mediaType": media_types.OCI_INDEX})
    assert "must not have 'manifests'" in _refusal(manifest={"manifests": []})
    assert "'layers' is not a list" in _refusal(manifest={"layers": {}})
    assert "more than 512" in _refusal(manifest={"layers": [item.to_json()] * 513})
    assert "not a descriptor" in _refusal(manifest={"config": {"digest": "x"}})
    foreign = dataclasses.replace(item, media_type=f"{DOCKER_LAYER}.foreign.gzip")
    assert "can be bundled" in _refusal(manifest={"layers": [foreign.to_json()]})
    assert "too many" in _refusal(manifest={"config": dataclasses.replace(item, size=1 << 40).to_json()})


def test_a_blob_of_another_content_is_refused() -> None:
    blobs = Blobs()
    descriptor = docker_image(blobs, [layer(b"1")])
    blobs[descriptor.digest] += b" "
    with pytest.raises(ValueError, match="is not what its descriptor says"):
        Image.from_blobs(descriptor, blobs.__getitem__)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b'{"b": {"a": 1, "a": 2}}', "'a' occurs twice"),
        (b"[" * 100_000, "deeper than"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "deeper than"),
        (b'{"a": NaN}', "NaN"),
        (b"\xff\xfe", "not JSON"),
        ("{}".encode("utf-16"), "not JSON"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"a": "' + b"x" * (4 << 20) + b'"}', "bytes, more than"),
    ],
)
def test_a_document_that_is_no_honest_json_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        document.parse(content, "the manifest")


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,0aé', max_size=60).map(str.encode))
def test_parsing_anything_gives_an_object_or_a_value_error(content: bytes) -> None:
    try:
        value = document.parse(content, "it")
    except ValueError:
        return
    assert document.parse(document.canonical(value), "it") == value


def _entry(platform: Platform | None, name: str) -> Descriptor:
    return Descriptor(media_types.OCI_MANIFEST, Digest.of(name.encode()), 7, platform)


def test_an_index_is_read_back_as_it_was_written() -> None:
    made = index.Index((_entry(AMD64, "a"), _entry(ARM64, "b")), {"x": "y"})
    assert index.parse(made.to_bytes()) == made
    assert made.descriptor.digest == Digest.of(made.to_bytes())


def test_an_index_shrinks_to_the_platforms_that_are_asked_for() -> None:
    attestation = _entry(Platform("unknown", "unknown"), "attestation")
    amd64, arm64 = _entry(AMD64, "a"), _entry(Platform("linux", "arm64", "v8"), "b")
    full = index.Index((amd64, attestation, arm64))
    assert full.only([ARM64, AMD64]).manifests == (amd64, arm64)
    assert full.only([ARM64]).manifests == (arm64,)
    assert index.Index((amd64,)).only([AMD64]) == index.Index((amd64,))


def test_an_image_for_a_newer_processor_does_not_stand_for_the_platform() -> None:
    newer = _entry(Platform("linux", "amd64", "v3"), "v3")
    assert index.Index((newer, _entry(AMD64, "v1"))).for_platform(AMD64) == _entry(AMD64, "v1")
    assert index.Index((newer,)).for_platform(AMD64) is None


def test_a_platform_that_an_index_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(ValueError, match="no image for linux/arm64; there are: linux/amd64"):
        index.Index((_entry(AMD64, "a"), _entry(None, "b"))).only([AMD64, ARM64])


def test_a_manifest_given_for_an_index_is_refused() -> None:
    content = image.empty(AMD64).manifest_bytes()
    with pytest.raises(ValueError, match="not that of an image index"):
        index.parse(content)
    with pytest.raises(ValueError, match="has the media type"):
        index.parse(content, media_types.OCI_INDEX)
