"""Calls of the Linux kernel that Python's standard library does not have; each failure names what was tried.

No program is needed for them: unshare(1) and mount(8) are absent on minimal systems.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
ALL_NAMESPACES: Final = (
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWCGROUP
)

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_LAST_CAPABILITY: Final = 63  # more than there are
_CAPABILITY_VERSION_3: Final = 0x20080522
_JOIN_SESSION_KEYRING: Final = 1

# Processor -> numbers of pivot_root, capset and keyctl, which have no function in the C library that one can rely on.
_NUMBERS: Final = {"x86_64": (155, 126, 250), "aarch64": (41, 91, 219)}
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Move this process to new namespaces."""
    _checked(_LIBC.unshare(flags), "making namespaces")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system; ``kind`` is its type, empty for binds and changes."""
    result = _LIBC.mount(
        source.encode(), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
    )
    _checked(result, f"mounting {kind or source} on {target}")


def pivot_into(folder: str) -> None:
    """Make a mount the root of this mount namespace, and detach all that was there before."""
    os.chdir(folder)
    _checked(_LIBC.syscall(ctypes.c_long(_number(0)), b".", b"."), "changing the root")
    _checked(_LIBC.umount2(b".", _MNT_DETACH), "detaching the old root")
    os.chdir("/")


def leave_session_keyring() -> None:
    """Begin an empty session keyring: the inherited one may hold keys of whoever logged in."""
    _checked(_LIBC.syscall(ctypes.c_long(_number(2)), _JOIN_SESSION_KEYRING, None), "making a keyring")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; a change of user resets this."""
    _checked(_LIBC.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "following the parent process")


def shut_memory() -> None:
    """Let no other process of the same user trace this one or read its memory."""
    _checked(_LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "forbidding to trace")


def give_up_rights() -> None:
    """Give up every capability for good, over the namespaces too, and the chance to gain any by a program."""
    for capability in range(_LAST_CAPABILITY + 1):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # unknown before Linux 4.3
    _checked(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "setting no_new_privs")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _checked(_LIBC.syscall(ctypes.c_long(_number(1)), header, none), "giving up capabilities")


def _number(position: int) -> int:
    numbers = _NUMBERS.get(os.uname().machine)
    if numbers is None:
        raise OSError(0, f"no confinement is known for the processor {os.uname().machine}")
    return numbers[position]
