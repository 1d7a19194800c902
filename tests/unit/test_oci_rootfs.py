import io
import tarfile
from collections.abc import Mapping

import pytest

from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci import image, mutate, overlay, rootfs, tar_reader
from bundler.oci.image import Image
from bundler.oci.layer import Layer
from bundler.oci.rootfs import BaseContents

DEBIAN = "ID=debian\nVERSION_ID='12'\n"
UBI = 'ID="rhel"\nID_LIKE="fedora"\n'
GLIBC = b"\x7fELF" + bytes(1000) + b"GNU C Library (Distro GLIBC) stable release version 2.36.\n"
PYTHON_311 = b"\x7fELF\x003.2.0\x00" + bytes(1000) + b"\x003.11.2\x00"

# A layer of a test: a path and its text or bytes, "-> target" for a symbolic link, "= path" for a hard link, None for
# a directory.
Content = str | bytes | None


def _layer(files: Mapping[str, Content]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            match content:
                case None:
                    info.type = tarfile.DIRTYPE
                case str() if content.startswith("-> "):
                    info.type, info.linkname = tarfile.SYMTYPE, content[3:]
                case str() if content.startswith("= "):
                    info.type, info.linkname = tarfile.LNKTYPE, content[2:]
            data = content if isinstance(content, bytes) else (content or "").encode()
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def _inspect(*layers: Mapping[str, Content], env: Mapping[str, str] | None = None) -> BaseContents:
    blobs = [_layer(files) for files in layers]
    return rootfs.inspect(_image(blobs, env), {Digest.of(blob): io.BytesIO(blob) for blob in blobs}.__getitem__)


def _image(blobs: list[bytes], env: Mapping[str, str] | None = None) -> Image:
    layers = [Layer(Descriptor(media_types.OCI_LAYER, Digest.of(blob), len(blob)), Digest.of(blob)) for blob in blobs]
    made = mutate.append_layers(image.empty(Platform("linux", "amd64")), layers)
    return mutate.configure(made, env=env)


def _metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: x\n\nVersion: 9 in the description\n"


_DEBIAN_PYTHON: dict[str, Content] = {
    "bin": "-> usr/bin",
    "etc/os-release": "-> ../usr/lib/os-release",
    "usr/lib/os-release": DEBIAN,
    "usr/bin/python3": "-> python3.11",
    "usr/bin/python3.11": PYTHON_311,
    "usr/bin/bash": b"\x7fELF",
    "usr/lib/x86_64-linux-gnu/libc.so.6": GLIBC,
    "lib": "-> usr/lib",
}


def test_a_debian_base_takes_packages_into_dist_packages_below_usr_local() -> None:
    found = _inspect(_DEBIAN_PYTHON)
    assert found.python == rootfs.PythonInstallation(
        version=(3, 11),
        full_version="3.11.2",
        executable="/usr/bin/python3.11",
        site_packages="/usr/local/lib/python3.11/dist-packages",
        scripts="/usr/local/bin",
    )
    assert found.glibc == (2, 36)
    assert found.has_bash
    assert found.os_release == {"ID": "debian", "VERSION_ID": "12"}


def test_a_debian_base_knows_what_debian_packages_brought_and_what_pip_put_before_them() -> None:
    found = _inspect(
        _DEBIAN_PYTHON,
        {
            "usr/lib/python3/dist-packages/PyYAML-6.0.egg-info/PKG-INFO": _metadata("PyYAML", "6.0"),
            "usr/lib/python3/dist-packages/six-1.16.0.egg-info": _metadata("six", "1.16.0"),
            "usr/local/lib/python3.11/dist-packages/six-1.17.0.dist-info/METADATA": _metadata("six", "1.17.0"),
            "usr/lib/python3.11/site-packages/unseen-1.dist-info/METADATA": _metadata("unseen", "1"),
        },
    )
    assert found.distributions == {"pyyaml": "6.0", "six": "1.17.0"}


_UBI: dict[str, Content] = {
    "etc/os-release": UBI,
    "usr/bin/python3.12": b"\x7fELF",
    "usr/lib64/libpython3.12.so.1.0": b"\x7fELF\x003.12.5\x00",
    "usr/lib64/libc.so.6": GLIBC.replace(b"2.36", b"2.34"),
    "usr/lib/python3.12/site-packages/system-1.dist-info/METADATA": _metadata("system", "1"),
    "opt/app-root/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.12.5\n",
    "opt/app-root/bin/python3.12": "-> /usr/bin/python3.12",
    "opt/app-root/bin/python3": "-> python3.12",
    "opt/app-root/lib64": "-> lib",
    "opt/app-root/lib/python3.12/site-packages/feast-0.61.0.dist-info/METADATA": _metadata("feast", "0.61.0"),
}
_UBI_ENV = {"PATH": "/opt/app-root/src/bin:/opt/app-root/bin:/usr/bin:/bin"}


def test_a_virtual_environment_first_on_path_is_where_packages_go() -> None:
    found = _inspect(_UBI, env=_UBI_ENV)
    assert found.python == rootfs.PythonInstallation(
        version=(3, 12),
        full_version="3.12.5",
        executable="/opt/app-root/bin/python3.12",
        site_packages="/opt/app-root/lib/python3.12/site-packages",
        scripts="/opt/app-root/bin",
    )
    assert found.distributions == {"feast": "0.61.0"}
    assert found.glibc == (2, 34)
    assert not found.has_bash


def test_a_virtual_environment_may_see_the_packages_of_the_system() -> None:
    open_venv: dict[str, Content] = {"opt/app-root/pyvenv.cfg": "include-system-site-packages = true\n"}
    assert _inspect(_UBI, open_venv, env=_UBI_ENV).distributions == {"feast": "0.61.0", "system": "1"}


def test_red_hat_s_own_python_takes_packages_below_usr_local() -> None:
    found = _inspect(_UBI | {"usr/bin/python3": "-> python3.12"})
    assert found.python is not None
    assert found.python.site_packages == "/usr/local/lib/python3.12/site-packages"
    assert found.python.executable == "/usr/bin/python3.12"
    assert found.python.full_version == "3.12.5"
    assert found.distributions == {"system": "1"}


def test_a_python_built_from_source_takes_packages_beside_itself_even_on_debian() -> None:
    found = _inspect(
        _DEBIAN_PYTHON,
        {
            "usr/local/bin/python3.13": b"\x7fELF",
            "usr/local/bin/python3": "-> python3.13",
            "usr/local/lib/libpython3.13.so.1.0": b"\x003.13.1\x00",
        },
    )
    assert found.python is not None
    assert found.python.site_packages == "/usr/local/lib/python3.13/site-packages"
    assert (found.python.scripts, found.python.full_version) == ("/usr/local/bin", "3.13.1")


def test_an_image_without_python_or_glibc_says_so() -> None:
    found = _inspect({"bin/busybox": b"\x7fELF", "lib/ld-musl-x86_64.so.1": b"\x7fELF"})
    assert (found.python, found.glibc, found.has_bash) == (None, None, False)


def test_a_dangling_python_is_none() -> None:
    assert _inspect({"usr/bin/python3": "-> /nowhere"}).python is None


def test_links_in_a_circle_end() -> None:
    assert _inspect({"usr/bin/python3": "-> python", "usr/bin/python": "-> python3"}).python is None


def _distributions(*layers: Mapping[str, Content]) -> Mapping[str, str]:
    return _inspect(_DEBIAN_PYTHON, *layers).distributions


_SITE = "usr/local/lib/python3.11/dist-packages"
_NUMPY: dict[str, Content] = {f"{_SITE}/numpy-1.0.dist-info/METADATA": _metadata("NumPy", "1.0")}


def test_a_package_that_a_later_layer_removed_is_not_there() -> None:
    assert _distributions(_NUMPY) == {"numpy": "1.0"}
    assert _distributions(_NUMPY, {f"{_SITE}/.wh.numpy-1.0.dist-info": b""}) == {}
    assert _distributions(_NUMPY, {f"{_SITE}/numpy-1.0.dist-info/.wh.METADATA": b""}) == {}
    assert _distributions(_NUMPY, {"usr/local/.wh.lib": b""}) == {}


def test_an_opaque_directory_hides_what_lower_layers_put_there_only() -> None:
    newer: dict[str, Content] = {f"{_SITE}/numpy-2.0.dist-info/METADATA": _metadata("numpy", "2.0")}
    for order in (newer | {f"{_SITE}/.wh..wh..opq": b""}, {f"{_SITE}/.wh..wh..opq": b""} | newer):
        assert _distributions(_NUMPY, order) == {"numpy": "2.0"}


def test_a_whiteout_is_about_lower_layers_only() -> None:
    replaced = _NUMPY | {f"{_SITE}/.wh.numpy-1.0.dist-info": b""}
    assert _distributions({f"{_SITE}/numpy-1.0.dist-info": None}, replaced) == {"numpy": "1.0"}


def test_leftovers_of_an_interrupted_pip_do_not_count() -> None:
    leftovers: dict[str, Content] = {
        f"{_SITE}/~umpy-1.0.dist-info/METADATA": _metadata("numpy", "1.0"),
        f"{_SITE}/empty-1.0.dist-info/RECORD": "",
        f"{_SITE}/broken-1.0.dist-info/METADATA": "Name: ../../etc\nVersion: 1\n\n",
    }
    assert _distributions(leftovers) == {}


def test_metadata_that_is_a_hard_link_or_lies_behind_a_link_is_read() -> None:
    linked: dict[str, Content] = {
        "root/.cache/METADATA": _metadata("a", "1"),
        f"{_SITE}/a-1.dist-info/METADATA": "= root/.cache/METADATA",
        "opt/extra/b-2.dist-info/METADATA": _metadata("b", "2"),
        f"{_SITE}/b-2.dist-info": "-> /opt/extra/b-2.dist-info",
    }
    assert _distributions(linked) == {"a": "1", "b": "2"}


def test_a_file_below_a_link_of_a_lower_layer_lands_where_the_link_leads() -> None:
    found = _inspect(_DEBIAN_PYTHON, {"lib/python3/dist-packages/six-1.dist-info/METADATA": _metadata("six", "1")})
    assert found.distributions == {"six": "1"}


def test_pythonpath_of_the_image_counts() -> None:
    extra: dict[str, Content] = {"srv/lib/x-1.dist-info/METADATA": _metadata("x", "1")}
    assert _inspect(_DEBIAN_PYTHON, extra, env={"PYTHONPATH": "/srv/lib"}).distributions == {"x": "1"}


def test_users_and_debian_packages_are_read() -> None:
    status = (
        "Package: bash\nStatus: install ok installed\nVersion: 5.2\nDescription: shell\n Version: 9\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    found = _inspect(
        {
            "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nfeast:x:1001:0::/opt/feast:/bin/bash\nbroken\n",
            "var/lib/dpkg/status": status,
            "var/lib/dpkg/status.d/libc6": "Package: libc6\nVersion: 2.36\n",
        }
    )
    assert found.users == {"root": 0, "feast": 1001}
    assert found.debian_packages == {"bash": "5.2", "libc6": "2.36"}


def test_a_release_that_lies_across_two_reads_is_found() -> None:
    for offset in range(-12, 3):
        padding = bytes((1 << 18) + offset)
        found = _inspect({"usr/bin/python3.11": padding + b"\x003.11.9\x00", "usr/bin/python3": "-> python3.11"})
        assert found.python is not None
        assert found.python.full_version == "3.11.9"


def test_a_layer_that_leaves_the_root_is_refused_by_its_digest() -> None:
    blob = _layer({"../../etc/passwd": "root"})
    with pytest.raises(ValueError, match=rf"layer {Digest.of(blob)} of image sha256:.* leaves its root"):
        rootfs.inspect(_image([blob]), {Digest.of(blob): io.BytesIO(blob)}.__getitem__)


def test_an_image_of_endless_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "_MOST_NODES", 5)
    with pytest.raises(ValueError, match="more than 5 files"):
        _inspect({f"{number}": b"" for number in range(9)})


def test_a_symlink_out_of_the_root_stays_inside() -> None:
    files = overlay.Overlay(lambda _: lambda stream: stream.read(10))
    files.apply(tar_reader.members(io.BytesIO(_layer({"a": "-> ../../../../b", "b": "text"}))))
    assert files.content("/a") == b"text"
    assert files.find("/a/../../b") is None  # not a directory


def test_contents_survive_the_cache() -> None:
    for found in (_inspect(_UBI, env=_UBI_ENV), _inspect({"a": b""})):
        assert BaseContents.from_json(found.to_json()) == found
    with pytest.raises(ValueError, match="not the record"):
        BaseContents.from_json([])
