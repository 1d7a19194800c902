import io
import os
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.debian import host as debian_host
from bundler.effects.debian import images as debian
from bundler.effects.debian import recipe as debian_recipe
from bundler.errors import ToolFailedError, ToolMissingError
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.oci import image, mutate
from bundler.oci.filetree import File, FileTree
from bundler.oci.layer import write_layer

AMD64 = Platform("linux", "amd64")


def _row(uri: str, release: str, *, component: str = "main", origin: str = "Debian", codename: str = "") -> list[str]:
    return [uri, release, codename or release, component, origin, "/etc/apt/sources.list.d/debian.sources:1"]


def _no_keys(_: str) -> tuple[str, ...]:
    return ()


HOST = [
    _row("http://mirror.example/debian/", "bookworm"),
    _row("http://mirror.example/debian/", "bookworm", component="contrib"),
    _row("http://mirror.example/debian/", "bookworm-updates"),
    _row("http://mirror.example/security/", "bookworm-security"),
    _row("https://vendor.example/apt/", "bookworm", origin="Vendor"),
    _row("file:/srv/local/", "bookworm"),
]


def test_the_sources_of_this_machine_are_used_for_debian_s_own_packages_only() -> None:
    assert debian_host.select_sources(HOST, "bookworm", _no_keys) == (
        "deb http://mirror.example/debian/ bookworm main\n"
        "deb http://mirror.example/debian/ bookworm-updates main\n"
        "deb http://mirror.example/security/ bookworm-security main\n"
    )


def test_another_suite_comes_from_the_mirrors_of_this_machine_too() -> None:
    found = debian_host.select_sources(HOST, "trixie", _no_keys)
    assert found is not None
    assert "deb http://mirror.example/security/ trixie-security main\n" in found
    assert "bookworm" not in found


def test_the_keys_that_the_machine_names_for_its_sources_go_with_them() -> None:
    found = debian_host.select_sources(HOST[:1], "bookworm", lambda _: ("/etc/apt/keyrings/site.gpg", "/x.gpg"))
    assert found == "deb [signed-by=/etc/apt/keyrings/site.gpg,/x.gpg] http://mirror.example/debian/ bookworm main\n"


def test_sources_that_were_never_updated_are_known_by_their_release() -> None:
    row = _row("http://mirror.example/debian/", "bookworm", origin="$(ORIGIN)", codename="$(CODENAME)")
    assert (
        debian_host.select_sources([row], "bookworm", _no_keys) == "deb http://mirror.example/debian/ bookworm main\n"
    )


def test_security_updates_come_along_where_apt_has_not_read_their_archive_yet() -> None:
    uris = (
        "'http://mirror.example/debian/dists/bookworm/InRelease' x 0 \n"
        "'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' x 0 \n"
        "'http://mirror.example/debian/dists/bookworm/main/binary-all/Packages.xz' x 0 \n"
        "'http://mirror.example/security/dists/bookworm-security/main/binary-amd64/Packages.xz' x 0 \n"
        "'https://other.example/dists/nodistro/main/binary-amd64/Packages.xz' x 0 \n"
        "'https://other.example/dists/bookworm/main/binary-amd64/Packages.xz' x 0 \n"
    )
    rows = [HOST[0], *debian_host.unread(uris, HOST[:1], lambda uri: f"/etc/{uri.rpartition('/')[2]}.list")]

    assert [row[1] for row in rows] == ["bookworm", "bookworm-security", "nodistro", "bookworm"]
    keys = {"/etc/security.list": ("/s.gpg",)}
    assert debian_host.select_sources(rows, "bookworm", lambda file: keys.get(file, ())) == (
        "deb http://mirror.example/debian/ bookworm main\n"
        "deb [signed-by=/s.gpg] http://mirror.example/security/ bookworm-security main\n"
    )


def test_a_symbolic_suite_of_the_machine_is_known_by_its_codename() -> None:
    row = _row("http://mirror.example/debian/", "stable", codename="bookworm")
    assert (
        debian_host.select_sources([row], "bookworm", _no_keys) == "deb http://mirror.example/debian/ bookworm main\n"
    )


def test_a_machine_without_debian_s_sources_has_none() -> None:
    rows = [_row("http://mirror.example/ubuntu/", "noble", origin="Ubuntu"), ["malformed"]]
    assert debian_host.select_sources(rows, "bookworm", _no_keys) is None


def test_keyrings_are_read_from_both_forms_of_sources(tmp_path: Path) -> None:
    deb822 = tmp_path / "a.sources"
    deb822.write_text("Types: deb\nSigned-By: /usr/share/keyrings/a.gpg\n")
    one_line = tmp_path / "b.list"
    one_line.write_text("deb [arch=amd64 signed-by=/etc/b.gpg] http://x bookworm main\n")
    assert debian_host._keys_named_in(str(deb822)) == ("/usr/share/keyrings/a.gpg",)
    assert debian_host._keys_named_in(str(one_line)) == ("/etc/b.gpg",)
    assert debian_host._keys_named_in(str(tmp_path / "absent")) == ()


def test_mirrors_may_be_addresses_or_whole_lines() -> None:
    found = debian_host.lines(
        ["http://mirror.example/debian", "deb http://x.example/d bookworm-security main"], "bookworm"
    )
    first, second = found.splitlines()
    assert first.endswith("http://mirror.example/debian bookworm main")
    assert second == "deb http://x.example/d bookworm-security main"


@pytest.mark.parametrize(
    "path",
    [
        "etc/apt/sources.list",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/machine-id",
        "etc/passwd-",
        "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
        "dev/null",
        "run/lock/x",
        "tmp/x",
        "var/cache/ldconfig/aux-cache",
        "var/lib/apt/lists/x",
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/lock-frontend",
        "var/log/dpkg.log",
        "usr/share/doc/bash/README.gz",
        "usr/share/man/man1/bash.1.gz",
        "usr/share/locale/de/LC_MESSAGES/x.mo",
    ],
)
def test_what_varies_or_documents_does_not_enter_the_image(path: str) -> None:
    assert not debian_recipe.is_kept(path)


@pytest.mark.parametrize(
    "path",
    [
        "etc/apt",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "tmp",
        "usr/bin/python3.11",
        "usr/lib/python3.11/doctest.py",
        "usr/share/doc/bash/copyright",
        "usr/share/zoneinfo/Europe/Berlin",
        "var/lib/dpkg/status",
        "var/lib/dpkg/info/bash.list",
        "var/log",
    ],
)
def test_what_a_program_needs_and_every_copyright_file_stays(path: str) -> None:
    assert debian_recipe.is_kept(path)


def _remembered(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> debian.DebianBase:
    """Put a base into the store as an earlier run would have."""
    monkeypatch.setattr(debian_host, "mmdebstrap_version", lambda: "1.0")
    with store.writing() as sink:
        layer = write_layer(FileTree.of([File("a", 1, lambda: io.BytesIO(b"x"))]), sink, epoch=0, created_by="test")
    made = mutate.append_layers(image.empty(AMD64), [layer])
    store.put(made.config_bytes())
    store.put(made.manifest_bytes())
    key = debian.DebianRequest(debian_recipe.BASE, "bookworm", AMD64).key("1.0")
    store.remember("debian", key, {"image": made.descriptor.to_json(), "packages": {"bash": "5"}})
    return debian.DebianBase(made, {"bash": "5"})


def test_a_base_that_is_in_the_store_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlobStore(tmp_path)
    made = _remembered(store, monkeypatch)
    found = debian.make(debian.DebianRequest.base("bookworm", AMD64), store, progress=SilentProgress())
    assert found.image.descriptor == made.image.descriptor
    assert found.packages == {"bash": "5"}


@pytest.mark.parametrize("damage", ["layer is gone", "config is gone", "manifest is another"])
def test_a_store_that_lost_a_part_of_the_base_does_not_have_it(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(tmp_path)
    made = _remembered(store, monkeypatch).image
    match damage:
        case "layer is gone":
            store.path(made.layers[0].descriptor.digest).unlink()
        case "config is gone":
            for path in store.folder.rglob("*"):
                if path.is_file() and path.read_bytes() == made.config_bytes():
                    path.unlink()
        case _:
            store.path(made.descriptor.digest).write_bytes(b"{}")
    key = debian.DebianRequest(debian_recipe.BASE, "bookworm", AMD64).key("1.0")
    assert debian._recalled(store, key) is None


def test_the_key_of_the_cache_tells_mirrors_apart_without_naming_them() -> None:
    def key(*mirrors: str) -> str:
        return debian.DebianRequest(debian_recipe.BASE, "bookworm", AMD64, mirrors).key("1.0")

    secret = key("http://user:secret@mirror.example/debian")
    assert len({key(), key("http://mirror.example/debian"), secret}) == 3
    assert "secret" not in secret
    assert "example" not in secret


def test_a_platform_that_cannot_run_here_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(debian_host, "_EMULATORS", tmp_path)
    debian_host.check_architecture(AMD64)
    with pytest.raises(ToolMissingError) as caught:
        debian_host.check_architecture(Platform("linux", "arm64"))
    assert "qemu-user-static" in caught.value.remedy
    assert "base.image" in caught.value.remedy
    (tmp_path / "qemu-aarch64").touch()
    debian_host.check_architecture(Platform("linux", "arm64"))


def test_a_range_of_subordinate_ids_is_that_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("other:100000:65536\n")
    assert not debian_host._has_range(file, "feast")
    assert debian_host._has_range(file, "other")
    assert not debian_host._has_range(tmp_path / "absent", "feast")
    file.write_text(f"{os.geteuid()}:100000:65536\n")
    assert debian_host._has_range(file, "feast")


def test_a_user_without_a_name_is_told_what_is_missing_as_every_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(debian_host, "_NAMESPACE_SETTINGS", ())
    with pytest.raises(ToolMissingError, match="'4000000'"):
        debian_host.mode()


def test_a_kernel_without_user_namespaces_is_told_to_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = tmp_path / "max_user_namespaces"
    setting.write_text("0\n")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(debian_host, "_NAMESPACE_SETTINGS", (tmp_path / "absent", setting))
    with pytest.raises(ToolMissingError, match="no user namespaces"):
        debian_host.mode()


@pytest.mark.parametrize("suite", ["bookworm", "forky"])
def test_one_line_for_a_suite_does_without_no_security_updates(suite: str) -> None:
    rows = [
        _row("http://mirror.example/debian/", "trixie"),
        _row("http://mirror.example/security/", "trixie-security"),
        _row("http://other.example/debian/", "bookworm"),
    ]
    found = debian_host.select_sources(rows, suite, _no_keys)
    assert found is not None
    assert f"deb http://mirror.example/security/ {suite}-security main\n" in found


def test_a_full_disk_for_temporary_files_is_told_with_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> object:
        raise ToolFailedError("mmdebstrap failed", details=("dpkg: error: cannot write: No space left on device",))

    monkeypatch.setattr(debian_host, "mmdebstrap_version", lambda: "1.0")
    monkeypatch.setattr(debian_host, "mode", lambda: "root")
    monkeypatch.setattr(debian_host, "sources", lambda _: "deb x y main\n")
    monkeypatch.setattr(debian_host, "proxy_environment", dict)
    monkeypatch.setattr(debian_host, "check_architecture", lambda _: None)
    monkeypatch.setattr("bundler.effects.process.streaming", failing)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/small")
    with pytest.raises(ToolFailedError, match="no space left for the Debian bookworm") as caught:
        debian.make(debian.DebianRequest.base("bookworm", AMD64), BlobStore(tmp_path), progress=SilentProgress())
    assert "gigabyte in /small" in caught.value.remedy
