"""Filters for system calls (seccomp): a list that is refused, and a short list beside which nothing is allowed.

This module needs the standard library only and Python 3.8: interpreters that compile byte code run it as text.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_KILL = 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _PROCESSOR, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the argument's lower half
_X32 = 0x40000000  # system calls of the x32 form of x86_64 have this bit
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*
_PROCESSORS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# What a program that is imported or compiled has no use for: namespaces, mounts, tracing, keys, changes of the kernel.
# Name -> number on x86_64 and on aarch64.
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pidfd_getfd": (438, 438),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "personality": (135, 92),
}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6; others (VSOCK, NETLINK, PACKET) lead past the network namespace

# All that an interpreter needs which has imported everything, and compiles what it reads.
_COMPILING = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "brk": (12, 214),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "futex": (202, 98),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "setitimer": (38, 103),
    "clock_gettime": (228, 113),
    "getrandom": (318, 278),
    "sched_yield": (24, 124),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}


def refuse_dangerous() -> bool:
    """Have the kernel refuse calls that lead out of a confinement, for good; False on an unknown processor."""
    column = _column()
    if column is None:
        return False
    refused = _ERRNO | errno.EPERM
    rows = [row for numbers in _REFUSED.values() for row in _on_number(numbers[column], [(_RETURN, 0, 0, refused)])]
    # clone3 has its flags in memory, where no filter sees them; the C library then uses clone.
    rows += _on_number(_CLONE3[column], [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)])
    rows += _on_number(
        _CLONE[column],
        [
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
            (_RETURN, 0, 0, refused),
            (_RETURN, 0, 0, _ALLOW),
        ],
    )
    families = [(_EQUAL, len(_FAMILIES) - place, 0, family) for place, family in enumerate(_FAMILIES)]
    rows += _on_number(
        _SOCKET[column],
        [(_LOAD, 0, 0, _FIRST_ARGUMENT), *families, (_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)],
    )
    _install([*_beginning(column), *rows, (_RETURN, 0, 0, _ALLOW)])
    return True


def allow_compiling() -> bool:
    """Have the kernel refuse all but what compiling needs, for good; False on an unknown processor."""
    column = _column()
    if column is None:
        return False
    rows = [row for numbers in _COMPILING.values() for row in _on_number(numbers[column], [(_RETURN, 0, 0, _ALLOW)])]
    _install([*_beginning(column), *rows, (_RETURN, 0, 0, _ERRNO | errno.EPERM)])
    return True


def _column() -> int | None:
    machine = os.uname().machine
    return list(_PROCESSORS).index(machine) if machine in _PROCESSORS else None


def _beginning(column: int) -> list[tuple[int, int, int, int]]:
    """Kill who calls by the numbers of another processor: they would mean other calls."""
    return [
        (_LOAD, 0, 0, _PROCESSOR),
        (_EQUAL, 1, 0, list(_PROCESSORS.values())[column]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]


def _on_number(number: int, then: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Return the instructions that do ``then``, which always returns, where the call has this number."""
    return [(_EQUAL, 0, len(then), number), *then]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("rows", ctypes.c_char_p)]


def _install(rows: list[tuple[int, int, int, int]]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    text = b"".join(struct.pack("HBBI", *row) for row in rows)
    program = _Program(len(rows), text)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "setting no_new_privs")
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "setting a filter for system calls")
