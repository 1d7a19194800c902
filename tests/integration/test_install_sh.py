"""The bundle's install.sh with a real registry; kubectl is real for what needs no cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.steps.build import pack
from bundler.steps.build.pack import ImageToPack, Packed
from tests.support import artifacts, memory_registry, registries
from tests.support.memory_registry import MemoryRegistry, Reply, error
from tests.support.registries import RunningRegistry, require
from tests.unit import packed

pytestmark = pytest.mark.integration

SERVER = f"{packed.REGISTRY}/driver-stats:0.1.0"
MANIFESTS = {
    "manifests/namespace.yaml": b"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: feast\n",
    "manifests/featurestore.yaml": b"apiVersion: feast.dev/v1\nkind: FeatureStore\nmetadata:\n  name: s\n"
    b"  namespace: feast\nspec:\n  image: " + SERVER.encode() + b"\n  other: registryXexample.internal:5000/feast/no\n",
    "manifests/kustomization.yaml": b"kind: Kustomization\nresources:\n  - namespace.yaml\n  - featurestore.yaml\n",
    "manifests/secrets/credentials.yaml": b"apiVersion: v1\nkind: Secret\nmetadata:\n  name: c\n  namespace: feast\n",
}

ACCOUNTS = b"""\
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: feast-s
  namespace: feast
imagePullSecrets:
  - name: registry-credentials
  - name: mirror-credentials
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: feast-s-cronjob
  namespace: feast
imagePullSecrets:
  - name: registry-credentials
"""
SEVERAL = {
    "manifests/namespace.yaml": MANIFESTS["manifests/namespace.yaml"],
    "manifests/kustomization.yaml": b"kind: Kustomization\nresources:\n  - namespace.yaml\n  - team-a\n  - team-b\n",
    **{
        f"manifests/{path}": text
        for team in ("team-a", "team-b")
        for path, text in {
            f"{team}/kustomization.yaml": b"kind: Kustomization\nresources:\n  - featurestore.yaml\n",
            f"{team}/featurestore.yaml": MANIFESTS["manifests/featurestore.yaml"].replace(
                b"name: s", f"name: {team}".encode()
            ),
            f"{team}/serviceaccounts.yaml": ACCOUNTS,
            f"secrets/{team}/credentials.yaml": MANIFESTS["manifests/secrets/credentials.yaml"],
        }.items()
    },
}


def make(folder: Path, manifests: dict[str, bytes]) -> Packed:
    store = BlobStore(folder / "cache")
    plan = replace(packed.plan(store), documents={**packed.DOCUMENTS, **manifests})
    return pack.run(plan, folder, store, progress=SilentProgress())


def unpack(made: Packed, target: Path) -> Path:
    target.mkdir()
    subprocess.run(["tar", "-xf", made.path, "-C", target], check=True)
    return target


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return make(tmp_path_factory.mktemp("bundle"), MANIFESTS)


@pytest.fixture
def folder(made: Packed, tmp_path: Path) -> Path:
    return unpack(made, tmp_path / "a folder")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with registries.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


def install(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", str(folder / layout.INSTALL_SCRIPT), *arguments],
        cwd=folder.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_script_is_clean_to_shellcheck_and_to_a_strict_shell(folder: Path) -> None:
    script = folder / layout.INSTALL_SCRIPT
    for command in (["shellcheck", "--shell=sh", str(script)], ["dash", "-n", str(script)]):
        require(command[0])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_images_are_pushed_with_their_digests_and_a_second_push_changes_nothing(
    made: Packed, folder: Path, registry: RunningRegistry
) -> None:
    require("skopeo")
    for _ in range(2):
        status, said = install(
            folder, "push", f"{registry.address}/mirror/feast", SKOPEO_OPTIONS="--dest-tls-verify=false"
        )
        assert status == 0, said
        server, operator = (image.root.digest for image in made.manifest.images)
        assert Digest.of(registry.manifest("mirror/feast/driver-stats", "0.1.0")) == server
        assert Digest.of(registry.manifest("mirror/feast/feastdev/feast-operator", "0.61.0")) == operator
    assert {Digest(name) for name in registry.blobs()} == {
        entry.digest for entry in made.manifest.files if entry.role == "blob"
    }


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """A bundle with a signature before its image."""
    folder = tmp_path_factory.mktemp("signed")
    store = BlobStore(folder / "cache")
    plan = packed.plan(store)
    tag = f"sha256-{plan.images[0].root.digest.hex}.sig"
    signature = artifacts.signature("ours")
    for content in signature.blobs.values():
        store.put(content)
    name = f"{packed.REGISTRY}/driver-stats:{tag}"
    images = (ImageToPack(name, "companion", signature.root, name), *plan.images)
    return pack.run(replace(plan, images=images), folder, store, progress=SilentProgress())


def test_a_registry_without_nested_paths_is_one_for_bundler(folder: Path) -> None:
    def nested(_method: str, target: str, _headers: Mapping[str, str]) -> Reply | None:
        return error(400, "NAME_INVALID") if "/feastdev/" in target else None

    with memory_registry.running(MemoryRegistry(before=nested)) as address:
        status, said = install(folder, "push", f"{address}/feast", SKOPEO_OPTIONS="--dest-tls-verify=false")
    assert status == 7, said
    assert "for a registry without nested paths: bundler.pyz push --flatten" in said


def test_a_signature_that_is_refused_loses_no_image(signed: Packed, tmp_path: Path) -> None:
    folder = unpack(signed, tmp_path / "a folder")
    store = MemoryRegistry(refuses=lambda _name, content: b"simplesigning" in content)
    with memory_registry.running(store) as address:
        status, said = install(folder, "push", f"{address}/feast", SKOPEO_OPTIONS="--dest-tls-verify=false")
    assert status == 9, said
    assert "every image is there, and artifacts beside them (signatures, attestations) are not" in said
    assert {("feast/driver-stats", "0.1.0"), ("feast/feastdev/feast-operator", "0.61.0")} <= store.manifests.keys()


def test_signatures_of_the_site_are_left_alone(signed: Packed, tmp_path: Path) -> None:
    folder = unpack(signed, tmp_path / "a folder")
    image, repository = signed.manifest.images[0], "feast/driver-stats"
    tag = image.internal.rpartition(":")[2]
    store = MemoryRegistry()
    with memory_registry.running(store) as address:
        first, said = install(folder, "push", f"{address}/feast", SKOPEO_OPTIONS="--dest-tls-verify=false")
        assert first == 0, said
        assert Digest.of(store.manifests[repository, tag][1]) == image.root.digest
        store.add(repository, tag, artifacts.signature("the site's"))
        status, said = install(folder, "push", f"{address}/feast", SKOPEO_OPTIONS="--dest-tls-verify=false")
    assert status == 9, said
    assert "has other signatures, which stay" in said
    assert Digest.of(store.manifests[repository, tag][1]) == artifacts.signature("the site's").root.digest


def test_a_registry_that_is_not_there_is_told_with_its_exit_code(folder: Path) -> None:
    require("skopeo")
    status, said = install(
        folder, "push", f"127.0.0.1:{registries.free_port()}", SKOPEO_OPTIONS="--dest-tls-verify=false"
    )
    assert status == 7, said
    assert "was not pushed" in said


@pytest.mark.parametrize(
    "arguments",
    [(), ("push",), ("push", ""), ("verify", "extra"), ("fly", "there"), ("push", "https://r"), ("push", "a|b;c")],
)
def test_wrong_usage_is_refused(folder: Path, arguments: tuple[str, ...]) -> None:
    assert install(folder, *arguments)[0] == 2


def test_a_missing_program_is_named(folder: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "sed", "grep", "printf"):
        (tools / name).symlink_to(shutil.which(name) or "")
    status, said = install(folder, "push", "registry.example", PATH=str(tools))
    assert status == 4
    assert "skopeo" in said


# A kubectl that notes what it is asked, lets the real one build what would be applied, and knows one Secret or none.
RECORDER = """#!/bin/sh
echo "$*" >> "$RECORD/calls"
case $1 in
-n) test -e "$RECORD/pulls" ;;
get) test "$2" != --raw || printf '{"gitVersion": "v1.%s.1+x"}' "${MINOR:-32}"; test -e "$RECORD/secret" ;;
apply) while test $# -gt 1; do shift; test "$1" = -k && "$REAL" kustomize "$2" >> "$RECORD/applied"; done; : ;;
esac
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "kubectl-recorder"
    program.write_text(RECORDER)
    program.chmod(0o755)
    return {"KUBECTL": str(program), "RECORD": str(tmp_path), "REAL": require("kubectl")}


def test_manifests_are_applied_in_order_with_the_registry_that_is_given(
    folder: Path, tmp_path: Path, cluster: dict[str, str]
) -> None:
    (tmp_path / "secret").touch()
    status, said = install(folder, "apply", "other.example:443/a.b/c", **cluster)
    assert status == 0, said
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == ["get", "apply", "get", "apply", "wait"]
    applied = (tmp_path / "applied").read_text()
    assert "image: other.example:443/a.b/c/driver-stats:0.1.0" in applied
    # Only the registry's own name is replaced, not what merely looks like it.
    assert "other: registryXexample.internal:5000/feast/no" in applied
    # The bundle itself stays as it was.
    assert install(folder, "verify")[0] == 0


@pytest.mark.parametrize(("minor", "checked"), [("19", "false"), ("24", "false"), ("25", "true"), ("32", "true")])
def test_kubectl_checks_no_object_for_servers_that_do_not_themselves(
    folder: Path, tmp_path: Path, cluster: dict[str, str], minor: str, checked: str
) -> None:
    (tmp_path / "secret").touch()
    assert install(folder, "apply", packed.REGISTRY, MINOR=minor, **cluster)[0] == 0
    assert f"--validate={checked} -k" in (tmp_path / "calls").read_text()


def test_a_secret_that_is_not_there_stops_before_the_feature_store(
    folder: Path, tmp_path: Path, cluster: dict[str, str]
) -> None:
    status, said = install(folder, "apply", packed.REGISTRY, **cluster)
    assert status == 8
    assert "manifests/secrets/credentials.yaml" in said
    assert not (tmp_path / "applied").exists()


def test_a_bundle_of_several_waits_for_each_and_asks_for_the_secrets_of_each(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    (tmp_path / "made").mkdir()
    folder = unpack(make(tmp_path / "made", SEVERAL), tmp_path / "several")
    status, said = install(folder, "apply", packed.REGISTRY, **cluster)
    assert status == 8
    lacking = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("not there: ")]
    assert [line.split(" --docker-server")[0].split(",")[0].rpartition(" ")[2] for line in lacking] == [
        "mirror-credentials",
        "registry-credentials",
        f"{folder}/manifests/secrets/team-a/credentials.yaml",
        f"{folder}/manifests/secrets/team-b/credentials.yaml",
    ]
    assert not (tmp_path / "applied").exists()
    (tmp_path / "calls").unlink()
    (tmp_path / "pulls").touch()
    status, said = install(folder, "apply", packed.REGISTRY, **cluster)
    assert status == 8
    assert said.count("not there: copy ") == said.count("not there: ") == 2
    assert not (tmp_path / "applied").exists()
    (tmp_path / "secret").touch()
    (tmp_path / "calls").unlink()
    status, said = install(folder, "apply", packed.REGISTRY, **cluster)
    assert status == 0, said
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [line.split()[0] for line in calls] == ["get", "apply", "-n", "-n", "get", "get", "apply", "wait", "wait"]
    assert calls[2:4] == [f"-n feast get secret -o name -- {name}-credentials" for name in ("mirror", "registry")]
    assert [line.rpartition("/manifests/")[2] for line in calls[-2:]] == [
        "team-a/featurestore.yaml",
        "team-b/featurestore.yaml",
    ]
    assert (tmp_path / "applied").read_text().count("kind: FeatureStore") == 2


# A program that would show that a text of the bundle was run, and what a terminal would do with one.
EVIL = "$(touch pwned)`touch pwned`;touch pwned"


def changed(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("images.txt", "driver-stats:0.1.0", "--dest-tls-verify=false"),
        ("images.txt", "driver-stats:0.1.0", "../../library/evil:1"),
        ("images.txt", "driver-stats:0.1.0", f"driver-stats:0.1.0{EVIL}"),
        ("images.txt", "driver-stats:0.1.0", "driver-stats:0.1.0\x1b[2J"),
        ("images.txt", "\tsha256:", "\t--authfile="),
    ],
)
def test_a_list_of_images_that_is_not_one_is_refused_before_anything_is_pushed(
    folder: Path, tmp_path: Path, name: str, old: str, new: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "skopeo").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tools / "skopeo").chmod(0o755)
    changed(folder, name, old, new)
    status, said = install(folder, "push", "registry.example", PATH=f"{tools}:{os.environ['PATH']}")
    assert status == 6, said
    assert "images.txt has lines that no bundle has: " in said
    assert not (tmp_path / "ran").exists()
    assert not list(folder.parent.rglob("pwned"))
    assert "\x1b" not in said


@pytest.mark.parametrize("registry", [EVIL, "-e s/x/y/", "a|b", "a\x1b[2J", "a/$1", "a\\1&"])
def test_the_registry_that_a_bundle_was_built_for_is_never_a_program(
    folder: Path, cluster: dict[str, str], registry: str
) -> None:
    changed(folder, "images.txt", f"# {packed.REGISTRY}\n", f"# {registry}\n")
    status, said = install(folder, "apply", "other.example", **cluster)
    assert status == 6, said
    assert "images.txt does not begin with a registry" in said
    assert not list(folder.parent.rglob("pwned"))


@pytest.mark.parametrize("name", ["--kubeconfig=evil", "a;touch pwned", "$(touch pwned)", "-A", '"x\\e[2J"', "A"])
def test_the_name_of_a_pull_secret_is_never_an_option(tmp_path: Path, cluster: dict[str, str], name: str) -> None:
    manifests = {
        f"manifests/{path}": text.replace(b"name: mirror-credentials", f"name: {name}".encode())
        for path, text in ((path.removeprefix("manifests/"), text) for path, text in SEVERAL.items())
    }
    (tmp_path / "made").mkdir()
    folder = unpack(make(tmp_path / "made", manifests), tmp_path / "several")
    status, said = install(folder, "apply", packed.REGISTRY, **cluster)
    assert status == 6, said
    assert "imagePullSecrets has lines that no bundle has: 1. " in said or " 2. " in said
    calls = (tmp_path / "calls").read_text()
    assert "secret" not in calls
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    "name", ["-e evil.yaml", "a\nverified: 9 files", "x\x1b[2J.yaml", ".hidden", "$(touch pwned).yaml"]
)
def test_a_file_name_that_no_bundle_has_stops_every_command(folder: Path, cluster: dict[str, str], name: str) -> None:
    (folder / "manifests" / name).write_text("kind: x\n")
    for arguments in (("verify",), ("push", "registry.example"), ("apply", packed.REGISTRY)):
        status, said = install(folder, *arguments, **cluster)
        assert status == 6, said
        assert "file names that a bundle never contains" in said
        assert "\x1b" not in said
        assert len(said.splitlines()) == 1
    assert not list(folder.parent.rglob("pwned"))


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "-c", "a b", "x\x1b[2J", "./README.md"])
def test_names_in_the_checksums_are_looked_at_before_any_is_opened(folder: Path, path: str) -> None:
    with (folder / layout.CHECKSUMS).open("a") as stream:
        stream.write(f"{'0' * 64}  {path}\n")
    status, said = install(folder, "verify")
    assert status == 6
    assert "SHA256SUMS has lines that no bundle has: " in said
    assert len(said.splitlines()) == 1


def test_what_programs_say_steers_no_terminal(folder: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "skopeo").write_text("#!/bin/sh\nprintf 'denied \\033[2J\\302\\233 \\342\\200\\256' >&2\nexit 1\n")
    (tools / "kubectl").write_text("#!/bin/sh\nprintf 'no \\033[2J\\n'\nprintf 'no \\007' >&2\nexit 1\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    for command, code in (("push", 7), ("apply", 8)):
        status, said = install(folder, command, packed.REGISTRY, PATH=f"{tools}:{os.environ['PATH']}")
        assert status == code, said
        assert all(" " <= letter <= "~" or letter in "\t\n" for letter in said), said


def test_nothing_is_left_in_the_temporary_folder(folder: Path, tmp_path: Path, cluster: dict[str, str]) -> None:
    (tmp_path / "tmp").mkdir()
    install(folder, "apply", packed.REGISTRY, TMPDIR=str(tmp_path / "tmp"), **cluster)
    assert not list((tmp_path / "tmp").iterdir())
