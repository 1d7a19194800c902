"""Where images lie in the internal registry, and that nothing else is left in what is applied."""

from __future__ import annotations

import re
import sys
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import SpecError
from bundler.feast.emulation import image_check
from bundler.feast.operator.images import image_references
from bundler.kube import yaml_values
from bundler.kube.manifest_file import ManifestFile
from bundler.model import layout
from bundler.model.findings import Status
from bundler.model.reference import ImageRef
from bundler.model.spec import Registry
from bundler.oci import references, relocation
from bundler.render import mirror_config
from tests.unit import manifest_cases
from tests.unit.operator_manifests import RELEASES, real_manifest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REGISTRY = Registry(host="registry.internal:5000", prefix="mirror/feast")
SERVER = ImageRef.parse("quay.io/feastdev/feature-server:0.61.0")
DIGEST = f"sha256:{'a' * 64}"


def registry(*rules: tuple[str, str]) -> Registry:
    return Registry.model_validate(
        {"host": "r.example", "rules": [{"source": source, "path": path} for source, path in rules]}
    )


def relocations(*names: str) -> dict[ImageRef, ImageRef]:
    return dict(relocation.relocations([ImageRef.parse(name) for name in names], REGISTRY))


def test_an_image_keeps_path_tag_and_digest_below_the_prefix() -> None:
    moved = relocation.relocate(ImageRef.parse(f"{SERVER}@{DIGEST}"), REGISTRY)
    assert str(moved) == f"registry.internal:5000/mirror/feast/feastdev/feature-server:0.61.0@{DIGEST}"
    assert relocation.prefix(REGISTRY) == "registry.internal:5000/mirror/feast"


def test_without_a_prefix_only_the_host_changes() -> None:
    assert str(relocation.relocate(SERVER, registry())) == "r.example/feastdev/feature-server:0.61.0"
    assert relocation.prefix(registry()) == "r.example"


def test_a_registry_without_nested_paths_gets_one_component_below_the_prefix() -> None:
    flat = Registry(host="registry.internal:5000", prefix="feast", flatten=True)
    moved = relocation.relocate(ImageRef.parse(f"{SERVER}@{DIGEST}"), flat)
    assert str(moved) == f"registry.internal:5000/feast/feastdev-feature-server:0.61.0@{DIGEST}"
    names = [ImageRef.parse(name) for name in ("quay.io/a/b-c:1", "quay.io/a-b/c:1")]
    with pytest.raises(SpecError, match="the same name"):
        relocation.relocations(names, flat)
    source = ImageRef.parse("quay.io/team/app:1.0")
    mapping = relocation.relocations([source], flat)
    assert mirror_config.containerd_hosts(mapping) == {}, "containerd asks a mirror for the path of the source"
    conf = tomllib.loads(mirror_config.registries_conf(mapping))
    assert conf["registry"][0]["mirror"][0]["location"] == "registry.internal:5000/feast/team-app"


def test_the_longest_rule_that_names_the_source_counts() -> None:
    chosen = registry(("quay.io", "public"), ("quay.io/openshift", "tools"), ("quay.io/open", "never"))
    names = {
        "quay.io/openshift/origin-cli:4.17": "r.example/tools/origin-cli:4.17",
        "quay.io/feastdev/feature-server:1": "r.example/public/feastdev/feature-server:1",
        "other.example/a:1": "r.example/a:1",
    }
    for source, internal in names.items():
        assert str(relocation.relocate(ImageRef.parse(source), chosen)) == internal


def test_two_images_that_would_get_one_name_are_refused_and_both_named() -> None:
    with pytest.raises(SpecError) as caught:
        relocations("quay.io/a/b:1", "docker.io/a/b:1", "docker.io/a/b:2")
    assert caught.value.details == (
        "quay.io/a/b:1 and docker.io/a/b:1 would both be registry.internal:5000/mirror/feast/a/b:1",
    )


def test_a_rule_parts_what_would_collide() -> None:
    both = [ImageRef.parse("quay.io/a/b:1"), ImageRef.parse("docker.io/a/b:1")]
    found = relocation.relocations(both, registry(("docker.io", "hub")))
    assert [str(internal) for internal in found.values()] == ["r.example/a/b:1", "r.example/hub/a/b:1"]


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["image: {}", 'image: "{}"', "value: {}\n", "[{}]", "--image={}", "'{}'", "see {}.", "a\n{}\nb", "{},"],
)
def test_a_reference_is_replaced_wherever_it_is_whole(text: str) -> None:
    found, count = references.relocate_text(text.format("quay.io/a/b:1"), {"quay.io/a/b:1": "r/x@d"})
    assert (found, count) == (text.format("r/x@d"), 1)


@pytest.mark.parametrize(
    "text",
    [
        "quay.io/a/b:1.2",
        "quay.io/a/b:12",
        f"quay.io/a/b:1@{DIGEST}",
        "x.quay.io/a/b:1",
        "quay.io/a/b:1-rc",
        "m/quay.io/a/b:1",
    ],
)
def test_a_part_of_another_reference_stays(text: str) -> None:
    assert references.relocate_text(text, {"quay.io/a/b:1": "r/x"}) == (text, 0)


def test_what_was_put_in_is_not_replaced_again() -> None:
    mapping = {"a.b/x:1": "c.d/y:1", "c.d/y:1": "e.f/z:1"}
    assert references.relocate_text("a.b/x:1 c.d/y:1", mapping) == ("c.d/y:1 e.f/z:1", 2)
    assert references.relocate_text("a.b/x:1", {}) == ("a.b/x:1", 0)


def test_a_registry_by_ipv6_address_stays_one_value_of_yaml() -> None:
    text = """image: a.b/x:1
list:
  - a.b/x:1
  - - name: e
      value: a.b/x:1
quoted: "a.b/x:1"
note: see a.b/x:1
"""
    moved, count = references.relocate_text(text, {"a.b/x:1": "[fd00::5]:5000/x:1@sha256:0"})
    assert count == 5
    found = yaml.safe_load(moved)
    assert found["image"] == found["list"][0] == found["list"][1][0]["value"] == found["quoted"]
    assert found["image"] == "[fd00::5]:5000/x:1@sha256:0"
    back, _ = references.relocate_text(moved, {"[fd00::5]:5000/x:1@sha256:0": "a.b/x:1"})
    assert yaml.safe_load(back) == yaml.safe_load(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["quay.io/a/b:1", "quay.io/a/b:1.2", "x", "image: "]), max_size=8))
def test_relocating_and_back_changes_nothing(words: list[str]) -> None:
    text = " ".join(words)
    there, count = references.relocate_text(text, {"quay.io/a/b:1": "r.i/a/b:1"})
    assert references.relocate_text(there, {"r.i/a/b:1": "quay.io/a/b:1"}) == (text, count)
    assert count == words.count("quay.io/a/b:1")


# --- images in manifests ----------------------------------------------------------------------------------------------


def test_images_are_found_where_a_cluster_reads_them_and_wherever_one_is_written() -> None:
    manifest = """
spec:
  containers: [{image: short, name: a, env: [{name: RELATED_IMAGE_X, value: related}, {name: Y, value: "no image"}]}]
  config: {env: [{name: RELATED_IMAGE_CRON_JOB, value: ""}]}
  annotation: "pull reg.example:5000/team/app:1.0, then see https://host.example/path:80 or kubernetes.io/hostname"
  services: {initImage: init}
"""
    found = image_references(yaml_values.read(manifest, "a.yaml"))
    assert found == ("short", "related", "reg.example:5000/team/app:1.0", "init")


def test_a_manifest_that_is_not_yaml_is_refused_by_its_path() -> None:
    with pytest.raises(SpecError, match=r"a\.yaml: not YAML"):
        image_check.check([ManifestFile("a.yaml", "a: [")], [])


@pytest.mark.parametrize("release", RELEASES)
def test_the_operators_manifest_names_three_images_and_none_is_left(release: str) -> None:
    text = real_manifest(release).read_text(encoding="utf-8")
    sources = image_references(yaml_values.read(text, release))
    assert [source.rpartition("/")[2].partition(":")[0] for source in sources] == [
        "feature-server",
        "origin-cli",
        "feast-operator",
    ]
    mapping = {source: f"{relocation.relocate(ImageRef.parse(source), REGISTRY)}@{DIGEST}" for source in sources}
    relocated, count = references.relocate_text(text, mapping)
    assert count == 3
    file = ManifestFile("install.yaml", relocated)
    assert set(image_references(file.documents)) == set(mapping.values())
    assert image_check.check([file], mapping.values()).status is Status.PASS


def test_an_image_that_is_neither_brought_nor_declared_fails_and_names_the_file() -> None:
    files = manifest_cases.parsed(manifest_cases.render()).values()
    images = manifest_cases.IMAGES
    assert image_check.check(files, [images.feature_server, images.kubectl]).status is Status.PASS
    finding = image_check.check(files, [images.feature_server])
    assert finding.status is Status.FAIL
    assert finding.evidence == (f"{images.kubectl} in featurestore.yaml",)
    assert image_check.check(files, [images.feature_server], external=[images.kubectl]).status is Status.PASS


def test_manifests_without_images_pass_and_say_so() -> None:
    assert image_check.check([ManifestFile("a.yaml", "a: 1\n")], []).evidence == ("1 files name no image",)


# --- configuration of nodes -------------------------------------------------------------------------------------------

MOVED = ("quay.io/feastdev/feature-server:0.61.0", "quay.io/feastdev/feast-operator:0.61.0", "redis:7")


def test_the_mapping_file_has_a_line_an_image() -> None:
    assert mirror_config.mapping_file(relocations("redis:7")) == (
        "docker.io/library/redis:7=registry.internal:5000/mirror/feast/library/redis:7\n"
    )


def test_containerd_asks_the_mirror_below_its_prefix() -> None:
    files = mirror_config.containerd_hosts(relocations(*MOVED))
    assert list(files) == ["quay.io/hosts.toml", "docker.io/hosts.toml"]
    hub = tomllib.loads(files["docker.io/hosts.toml"])
    assert hub["server"] == "https://registry-1.docker.io"
    [(location, settings)] = hub["host"].items()
    assert location == "https://registry.internal:5000/v2/mirror/feast"
    assert settings == {"capabilities": ["pull", "resolve"], "override_path": True}


def test_containerd_has_no_file_for_a_registry_whose_images_do_not_keep_their_path() -> None:
    sources = [ImageRef.parse(name) for name in MOVED]
    moved = relocation.relocations(sources, registry(("quay.io/feastdev/feast-operator", "operator")))
    files = mirror_config.containerd_hosts(moved, plain_http=True)
    assert list(files) == ["docker.io/hosts.toml"]
    assert 'host."http://r.example/v2"' in files["docker.io/hosts.toml"]


@pytest.mark.parametrize(
    ("registry", "folder", "on_the_node"),
    [
        ("quay.io", "quay.io", "quay.io"),
        ("registry.corp.example:5000", "registry.corp.example_5000_", "registry.corp.example_5000_"),
        ("localhost:5000", "localhost_5000_", "localhost_5000_"),
        ("[::1]:5000", "ipv6_--1_5000_", "[::1]_5000_"),
        ("[fd00::2]", "ipv6_fd00--2", "[fd00::2]"),
    ],
)
def test_a_registry_with_a_port_has_the_folder_that_containerd_reads(
    registry: str, folder: str, on_the_node: str
) -> None:
    moved = relocations(f"{registry}/team/app:1.0")
    [(path, text)] = mirror_config.containerd_hosts(moved).items()
    assert path == f"{folder}/hosts.toml"
    assert layout.certs_folder(registry) == on_the_node
    assert tomllib.loads(text)["server"] == f"https://{registry}"
    assert (f"certs.d/{on_the_node}/hosts.toml" in text) == (folder != on_the_node)
    for name in mirror_config.files(moved, "feast"):
        layout.check_path(layout.mirror(name))


def test_registries_conf_has_a_mirror_a_repository() -> None:
    conf = tomllib.loads(mirror_config.registries_conf(relocations(*MOVED)))
    assert {entry["prefix"]: entry["mirror"][0]["location"] for entry in conf["registry"]} == {
        "quay.io/feastdev/feature-server": "registry.internal:5000/mirror/feast/feastdev/feature-server",
        "quay.io/feastdev/feast-operator": "registry.internal:5000/mirror/feast/feastdev/feast-operator",
        "docker.io/library/redis": "registry.internal:5000/mirror/feast/library/redis",
    }


def test_openshift_gets_both_kinds_of_mirror_set() -> None:
    files = {
        name: yaml.safe_load(text)
        for name, text in mirror_config.openshift_mirror_sets(relocations("redis:7"), "feast").items()
    }
    assert [value["kind"] for value in files.values()] == ["ImageDigestMirrorSet", "ImageTagMirrorSet"]
    assert files["image-tag-mirror-set.yaml"]["spec"]["imageTagMirrors"] == [
        {
            "source": "docker.io/library/redis",
            "mirrors": ["registry.internal:5000/mirror/feast/library/redis"],
            "mirrorSourcePolicy": "NeverContactSource",
        }
    ]


def test_all_of_it_lies_in_one_folder() -> None:
    assert list(mirror_config.files(relocations("redis:7"), "feast")) == [
        "mapping.txt",
        "registries.conf",
        "containerd/docker.io/hosts.toml",
        "openshift/image-digest-mirror-set.yaml",
        "openshift/image-tag-mirror-set.yaml",
    ]


def test_thousands_of_references_take_no_longer_than_one() -> None:
    mapping = {f"r/{number:x}a:1": f"other/{number:x}a:1" for number in range(4000)}
    text = "r/ " * 300_000 + "r/fa:1 x/r/fa:1 r/fa:1.2 r/fa:1. r/fa0a:1,\n"
    began = time.process_time()
    there, count = references.relocate_text(text, mapping)
    assert time.process_time() - began < 5
    assert there.endswith("other/fa:1 x/r/fa:1 r/fa:1.2 other/fa:1. r/fa0a:1,\n")
    assert count == 2


@given(st.text("ab/:@.- ", max_size=60), st.lists(st.text("ab/:@.-[]", min_size=1, max_size=6), max_size=5))
@settings(max_examples=200, deadline=None)
def test_references_are_those_that_one_expression_finds(text: str, sources: list[str]) -> None:
    mapping = dict.fromkeys(sources, "NEW")
    alternatives = "|".join(re.escape(source) for source in sorted(mapping, key=len, reverse=True))
    pattern = rf"(?<![\w/@:.-])(?:{alternatives})(?![\w/@:]|[.-]\w)"
    assert references.relocate_text(text, mapping)[0] == (re.sub(pattern, "NEW", text) if mapping else text)
