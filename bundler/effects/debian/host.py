"""What this machine contributes to a Debian root file system: the permission to make one, apt sources, a proxy."""

from __future__ import annotations

import os
import platform as machine
import pwd
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bundler.effects import process
from bundler.effects.registry import proxies
from bundler.errors import ToolMissingError
from bundler.model.platform import Platform

_INSTALL: Final = "Install it: sudo apt-get install mmdebstrap uidmap debian-archive-keyring"
_NO_APT: Final = "A Debian root file system is made with apt: use a Debian or Ubuntu machine, or name 'base.image'."
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_EMULATORS: Final = Path("/proc/sys/fs/binfmt_misc")
_FIELDS: Final = ("REPO_URI", "RELEASE", "CODENAME", "COMPONENT", "ORIGIN", "SOURCESENTRY")
_NAMESPACE_SETTINGS: Final = (
    Path("/proc/sys/kernel/unprivileged_userns_clone"),
    Path("/proc/sys/user/max_user_namespaces"),
)
_SIGNED_BY: Final = re.compile(r"^\s*Signed-By:\s*(/\S+)\s*$|signed-by=(/[^\s\]]+)", re.MULTILINE | re.IGNORECASE)
_RELEASE: Final = re.compile(r"([a-z]+)(-updates|-security)?")
# A line of "apt-get --print-uris update": where apt would look for the packages of one component of one release.
_INDEX: Final = re.compile(r"^'(\S+)/dists/([^/\s]+)/([^/\s]+)/binary-[^/\s]+/Packages\S*' ", re.MULTILINE)
_APT_SOURCES: Final = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))
_PROXY: Final = re.compile(r'^Acquire::(https?)::Proxy "([^"]+)";$', re.MULTILINE)


def mmdebstrap_version() -> str:
    """Return mmdebstrap's version; raise ``ToolMissingError`` where it is not installed."""
    process.find("mmdebstrap", remedy=_INSTALL)
    completed = process.run(["mmdebstrap", "--version"], purpose="telling its version", remedy=_INSTALL)
    return (completed.stdout or completed.stderr).split()[-1]


def check_apt() -> None:
    """See that apt is here, which mmdebstrap fetches packages with; raise ``ToolMissingError`` where it is not."""
    process.find("apt-get", remedy=_NO_APT)


def mode() -> str:
    """Return the mode in which this user can make a root file system, ``root`` or ``unshare``.

    Raises:
        ToolMissingError: neither is possible; the error says which package or permission is missing.
    """
    if os.geteuid() == 0:
        return "root"
    remedy = "Install it: sudo apt-get install uidmap"
    process.find("newuidmap", remedy=remedy)
    process.find("newgidmap", remedy=remedy)
    check_namespaces()
    user = _user()
    for path, option in (("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")):
        if not _has_range(Path(path), user):
            raise ToolMissingError(
                f"Making a root file system needs subordinate ids, and {path} has none for the user {user!r}.",
                remedy=f"Add one: sudo usermod {option} 100000-165535 {user}",
            )
    return "unshare"


def check_namespaces() -> None:
    """See that the kernel lets users make user namespaces; raise ``ToolMissingError`` where it does not."""
    for path in _NAMESPACE_SETTINGS:
        try:
            value = path.read_text().strip()
        except OSError:
            continue
        if value == "0":
            raise ToolMissingError(
                f"A user cannot make a root file system here: the kernel allows no user namespaces ({path} is 0).",
                remedy="Run the command as root, ask an administrator to set it, or name images of a registry in "
                "'base.image' and 'deployment.cronJob.kubectl'.",
            )


def _user() -> str:
    """Return the name of this user; a container may run under an id that has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _has_range(path: Path, user: str) -> bool:
    """Tell whether a user has subordinate ids; a line may name the user or its number."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return False
    return any(line.split(":")[0] in (user, str(os.geteuid())) for line in lines)


def check_architecture(platform: Platform) -> None:
    """Check that programs of the platform run here, as the installation of packages needs.

    Raises:
        ToolMissingError: they do not; the error says what to install, and what works without it.
    """
    if machine.machine() == platform.machine:
        return
    if (_EMULATORS / f"qemu-{platform.machine}").exists():
        return
    raise ToolMissingError(
        f"A Debian base for {platform} is made by running its programs, which this {machine.machine()} machine cannot.",
        remedy=(
            "Install an emulator: sudo apt-get install qemu-user-static binfmt-support; or name an image that has the "
            "platform in 'base.image', which needs no emulator; or leave the platform out of 'platforms'."
        ),
    )


def sources(suite: str) -> str | None:
    """Return the lines of ``sources.list`` by which apt of this machine takes the suite, or None where it does not.

    They name the keys that this machine trusts for them. They may hold credentials: pass them by standard input only.
    """
    pattern = "|".join(f"$({field})" for field in _FIELDS)
    listed = process.run(
        ["apt-get", "indextargets", "--format", pattern, "Created-By: Packages"],
        purpose="listing this machine's package sources",
        remedy=_NO_APT,
    )
    rows = [line.split("|") for line in listed.stdout.splitlines()]
    configured = process.run(
        ["apt-get", "--print-uris", "update"], purpose="listing this machine's package sources", remedy=_INSTALL
    )
    return select_sources([*rows, *unread(configured.stdout, rows, _file_naming)], suite, _keys_named_in)


def unread(uris: str, rows: list[list[str]], file: Callable[[str], str]) -> Iterator[list[str]]:
    """Yield a row for each source that apt is configured with and has not read yet: apt lists no index targets for it.

    Without it, a machine that has never read the security archive would silently make images without its updates.
    ``uris`` is what "apt-get --print-uris update" says; ``file`` tells which file of sources names an address.
    """
    read = {(row[0].rstrip("/"), row[1]) for row in rows if len(row) == len(_FIELDS)}
    for uri, release, component in dict.fromkeys(_INDEX.findall(uris)):
        if (uri, release) not in read:
            yield [f"{uri}/", release, "$(CODENAME)", component, "$(ORIGIN)", f"{file(uri)}:1"]


def select_sources(rows: list[list[str]], suite: str, keys: Callable[[str], tuple[str, ...]]) -> str | None:
    """Choose from rows of apt's index targets (see ``_FIELDS``) those of Debian's own archive, for a suite.

    A machine that runs another release of Debian takes the suite from the same mirrors. ``keys`` tells the keyrings
    that a file of sources names.
    """
    archives: dict[str, dict[str, None]] = {}
    security = f" {suite}-security "
    for uri, release, codename, component, origin, entry in (row for row in rows if len(row) == len(_FIELDS)):
        name = release if codename.startswith("$(") else codename
        match = _RELEASE.fullmatch(name)
        if component != "main" or not match or not uri.startswith(("http://", "https://")):
            continue
        # Of an archive that apt has not read yet only the name is known.
        if origin != "Debian" and not (origin.startswith("$(") and ("debian" in uri or match[2])):
            continue
        signed_by = ",".join(keys(entry.rpartition(":")[0]))
        options = f"[signed-by={signed_by}] " if signed_by else ""
        archives.setdefault(match[1], {})[f"deb {options}{uri} {suite}{match[2] or ''} main"] = None
    chosen = archives.get(suite) or next(iter(archives.values()), None)
    if chosen and not any(security in line for line in chosen):
        # A source for another release is on the same mirror: a line for one suite does not tell where its updates are.
        chosen = {**chosen, **{line: None for lines in archives.values() for line in lines if security in line}}
    return "".join(f"{line}\n" for line in chosen) if chosen else None


def lines(mirrors: Sequence[str], suite: str) -> str:
    """Return the lines of ``sources.list`` for mirrors, each a URL or such a line already."""
    signed_by = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    return "".join(
        f"{mirror}\n" if mirror.startswith("deb ") else f"deb {signed_by}{mirror} {suite} main\n" for mirror in mirrors
    )


def _file_naming(uri: str) -> str:
    """Return the file of apt's sources that has an address; empty where there is none."""
    for place in _APT_SOURCES:
        for path in sorted(place.glob("*")) if place.is_dir() else (place,):
            with suppress(OSError):
                if uri in path.read_text(encoding="utf-8", errors="replace"):
                    return str(path)
    return ""


def _keys_named_in(file: str) -> tuple[str, ...]:
    """Return the keyrings that a file of apt's sources names; without any, apt uses those it trusts for everything."""
    try:
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(sorted({quoted or bare for quoted, bare in _SIGNED_BY.findall(text)}))


def keyring_options() -> tuple[str, ...]:
    """Return the options by which mmdebstrap knows Debian's keys on a machine without Debian's sources, e.g. Ubuntu."""
    if not _KEYRING.exists():
        raise ToolMissingError(
            f"The keys of Debian's archive are not installed ({_KEYRING}).",
            remedy="Install them: sudo apt-get install debian-archive-keyring",
        )
    return (f"--keyring={_KEYRING}",)


def proxy_environment() -> Mapping[str, str]:
    """Return the proxies of the environment, or else of this machine's apt, as variables that mmdebstrap's apt reads.

    It reads no variable in capitals, and not this machine's configuration of apt. They may hold credentials, so they
    are not put on a command line.
    """
    named = {name: proxies.variable(f"{name}_proxy", os.environ) for name in ("http", "https", "all", "no")}
    completed = process.run(["apt-config", "dump"], purpose="reading this machine's apt configuration", remedy=_INSTALL)
    configured = {scheme: url for scheme, url in _PROXY.findall(completed.stdout) if url != "DIRECT"}
    chosen = {scheme: named[scheme] or named["all"] or configured.get(scheme) for scheme in ("http", "https")}
    return {f"{scheme}_proxy": url for scheme, url in (*chosen.items(), ("no", named["no"])) if url}
