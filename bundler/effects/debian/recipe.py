"""The options for mmdebstrap, and which files of its result enter an image."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bundler.oci.filetree import Directory, File, FileTree

USER: Final = "feast"
UID: Final = 1001
HOME: Final = "/opt/feast"
# The time of every file: fixed, so that the same packages make the same layer; the earliest that a zip can hold.
EPOCH: Final = 315_532_800
# Raise this where the same packages give another layer or config than before.
_VERSION: Final = 2

# Files that vary between machines or runs, serve the making only, or are documentation; copyright files stay.
_LEFT_OUT: Final = re.compile(
    r"(dev|proc|sys|run|tmp|etc/apt|var/cache|var/lib/apt|var/log|var/tmp)/.+"
    r"|etc/(hostname|resolv\.conf|machine-id|\.pwd\.lock|(passwd|group|shadow|gshadow|subuid|subgid)-)"
    r"|etc/dpkg/dpkg\.cfg\.d/.+|var/lib/dpkg/([^/]+-old|lock.*)|var/lib/(dbus/machine-id|systemd/random-seed)"
    r"|usr/share/(applications|bug|doc-base|gdb|info|lintian|locale|man|menu|pixmaps)/.+"
    r"|usr/share/doc/[^/]+/(?!copyright$).+"
)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# mmdebstrap writes a comment into this file, and newer releases of it another one: as the older ones have it, so that
# all make the same bytes.
_FSTAB: Final = "printf '# UNCONFIGURED FSTAB FOR BASE SYSTEM\\n' > \"$1/etc/fstab\""
_ACCOUNT: Final = f"{USER}:x:{UID}:0:Feast:{HOME}"
# Group 0 owns the home with the rights of the user: OpenShift runs images under a user id of its own, with that group.
# Engines mount /dev, on a root file system that may be read-only.
_FOLDERS: Final = (Directory("dev"), Directory(HOME.lstrip("/"), 0o775, UID, 0))


@dataclass(frozen=True)
class DebianRecipe:
    """One kind of image: ``hooks`` are options of mmdebstrap, ``additions`` files that are put on top.

    ``runs_programs`` says that making it runs programs of the image's platform.
    """

    name: str
    variant: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...]
    additions: FileTree
    runs_programs: bool
    env: Mapping[str, str]
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells this recipe and its version from others, in the cache."""
        return f"{self.name}-{_VERSION} {','.join(self.packages)}"


def is_kept(path: str) -> bool:
    """Tell whether a file of the root file system enters the image."""
    return not _LEFT_OUT.fullmatch(path)


def _text(path: str, *lines: str) -> File:
    content = "".join(f"{line}\n" for line in lines).encode()
    return File(path, len(content), lambda: io.BytesIO(content))


BASE: Final = DebianRecipe(
    name="base",
    variant="essential",
    # Compiled wheels expect the C++ runtime and OpenMP of the system; time zones are data that Python does not bring.
    packages=("ca-certificates", "libgomp1", "libstdc++6", "python3", "tzdata"),
    hooks=(
        "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
        f"--customize-hook={_FSTAB}",
        f"--customize-hook=echo '{_ACCOUNT}:/bin/bash' >> \"$1/etc/passwd\"",
    ),
    additions=FileTree.of(_FOLDERS),
    runs_programs=True,
    env={
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        # An arbitrary user id has no entry in /etc/passwd, and would have / for a home.
        "HOME": HOME,
        # What the image brings is compiled already; what a process compiles is lost with its container.
        "PYTHONDONTWRITEBYTECODE": "1",
    },
    cmd=("python3",),
)

# Packages are unpacked only: nothing of the platform runs, so any machine can make the image of any platform. What
# maintainer scripts would have done and kubectl needs is added here. Each package's control data goes where tools
# look for the packages of an image that has no dpkg.
_CONTROL_DATA: Final = (
    'mkdir -p "$1/var/lib/dpkg/status.d"; '
    'for deb in "$1"/var/cache/apt/archives/*.deb; do '
    'dpkg-deb -f "$deb" Package Version Architecture Maintainer Source '
    '> "$1/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"; done'
)
KUBECTL: Final = DebianRecipe(
    name="kubectl",
    variant="extract",
    packages=("base-files", "kubernetes-client"),
    hooks=(f"--extract-hook={_CONTROL_DATA}", f"--extract-hook={_FSTAB}"),
    additions=FileTree.of(
        [
            *_FOLDERS,
            _text("etc/passwd", "root:x:0:0:root:/root:/usr/sbin/nologin", f"{_ACCOUNT}:/usr/sbin/nologin"),
            _text("etc/group", "root:x:0:"),
        ]
    ),
    runs_programs=False,
    env={"PATH": _PATH, "HOME": HOME},
    entrypoint=("kubectl",),
    labels={"org.opencontainers.image.title": "kubectl"},
)
