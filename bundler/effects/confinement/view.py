"""What confined code sees of the file system: one image, a few devices, and a ``/proc`` that cannot be written.

All mounts are in a mount namespace of their own, which ends with the code. What is shown is the current folder, or
folders in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from bundler.effects.confinement import kernel, limits

_PLACE: Final = "/tmp"  # noqa: S108  (any folder does: what is mounted there is only seen in here)
_ROOT: Final = f"{_PLACE}/root"
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_INERT: Final = kernel.MS_NOSUID | kernel.MS_NODEV
# Of /proc, what tells of the machine or commands it. As long as something covers them, the kernel also lets nobody in
# here mount a second /proc that has them.
_MASKED_FILES: Final = (
    "kcore",
    "keys",
    "key-users",
    "kmsg",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "latency_stats",
)
_MASKED_FOLDERS: Final = ("acpi", "asound", "bus", "fs", "irq", "scsi")
# What the folder that is shown must have.
FOLDERS: Final = ("/dev", "/proc", "/run", "/tmp", "/var/tmp")  # noqa: S108
_SCRATCH_FOLDERS: Final = ("tmp", "var/tmp", "run", "dev/shm")


def show_writable() -> None:
    """Make the current folder the root, as it is: for code of ours that unpacks into it."""
    _begin()
    kernel.mount(".", _ROOT, "", kernel.MS_BIND)
    kernel.mount("none", _ROOT, "", kernel.MS_REMOUNT | kernel.MS_BIND | _INERT | _kept())
    _enter()


def show_unchanged(names: Sequence[str]) -> None:
    """Make folders of the current one the root, the topmost first, such that they cannot be changed.

    Devices and ``/proc`` are added. What is written lies in memory and is gone afterwards; on kernels that do not let
    users stack file systems, there must be one folder only, and only the usual folders for temporary files can be
    written.
    """
    _begin()
    read_only = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | _INERT | _kept()
    places = [f"{_PLACE}/image{position}" for position in range(len(names))]
    for name, place in zip(names, places, strict=True):
        os.mkdir(place)  # noqa: PTH102
        kernel.mount(name, place, "", kernel.MS_BIND)
        kernel.mount("none", place, "", read_only)
    try:
        _stack(places)
    except OSError:
        if len(places) > 1:
            raise
        kernel.mount(places[0], _ROOT, "", kernel.MS_BIND)
        kernel.mount("none", _ROOT, "", read_only)
    _add_devices()
    for name in _SCRATCH_FOLDERS:
        if _is_folder(f"{_ROOT}/{name}"):
            kernel.mount("tmpfs", f"{_ROOT}/{name}", "tmpfs", _INERT, _scratch("1777"))
    _add_proc()
    kernel.mount("none", f"{_ROOT}/dev", "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID)
    _enter()


def _kept() -> int:
    """Return what this machine has set for the mount of the current folder, which no program in here may take back."""
    return os.statvfs(".").f_flag & (kernel.MS_RDONLY | kernel.MS_NOEXEC)


def _begin() -> None:
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)  # which the next mount may hide
    kernel.mount("tmpfs", _PLACE, "tmpfs", _INERT, _scratch("755"))
    os.mkdir(_ROOT)  # noqa: PTH102
    os.fchdir(here)
    os.close(here)


def _enter() -> None:
    """Leave everything else behind: the old root is detached, and the folder is entered by chroot.

    In a changed root the kernel refuses new user namespaces, and with them every right over new mounts.
    """
    inside = _ROOT
    with suppress(OSError):  # a machine that runs from an initial RAM file system cannot: there the chroot must do
        kernel.pivot_into(_PLACE)
        inside = "/root"
    os.chroot(inside)
    os.chdir("/")


def _stack(places: Sequence[str]) -> None:
    for name in ("upper", "work"):
        os.mkdir(f"{_PLACE}/{name}")  # noqa: PTH102
    options = f"lowerdir={':'.join(places)},upperdir={_PLACE}/upper,workdir={_PLACE}/work,userxattr"
    kernel.mount("overlay", _ROOT, "overlay", _INERT, options)


def _add_devices() -> None:
    kernel.mount("tmpfs", f"{_ROOT}/dev", "tmpfs", kernel.MS_NOSUID, "mode=755,size=64k,nr_inodes=64")
    for name in _DEVICES:
        target = f"{_ROOT}/dev/{name}"
        os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o600))
        kernel.mount(f"/dev/{name}", target, "", kernel.MS_BIND)
    for name, target in _LINKS.items():
        os.symlink(target, f"{_ROOT}/dev/{name}")  # noqa: PTH211
    os.mkdir(f"{_ROOT}/dev/shm")  # noqa: PTH102,S108


def _add_proc() -> None:
    """Mount ``/proc``, which some modules read as they are imported; some machines (containers) forbid it."""
    proc = f"{_ROOT}/proc"
    inert = _INERT | kernel.MS_NOEXEC
    try:
        kernel.mount("proc", proc, "proc", inert)
    except OSError:
        return
    for name in _MASKED_FILES:
        if os.path.exists(f"{proc}/{name}"):  # noqa: PTH110
            kernel.mount(f"{_ROOT}/dev/null", f"{proc}/{name}", "", kernel.MS_BIND)
    for name in _MASKED_FOLDERS:
        if _is_folder(f"{proc}/{name}"):
            kernel.mount("tmpfs", f"{proc}/{name}", "tmpfs", inert | kernel.MS_RDONLY, "mode=755")
    kernel.mount("none", proc, "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | inert)


def _is_folder(path: str) -> bool:
    """Tell whether a name is a folder itself; a link of the image would lead out of it."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _scratch(mode: str) -> str:
    return f"mode={mode},size={limits.SCRATCH},nr_inodes={limits.SCRATCH_FILES}"
