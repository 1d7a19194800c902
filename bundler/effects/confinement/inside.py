"""The process tree of a confinement: who makes it, who watches it, and the program in it.

``launch`` runs in a child of this program (``python -I -c``) and becomes a chain of processes:

1. the launcher, with the rights of the caller; it only writes which user the namespaces' user is outside,
2. the entrant, which makes the namespaces,
3. the watcher, the first process of the process namespace. It makes the view of the file system, gives up every right,
   and ends when the program does or takes too much memory. The kernel then kills all that is left in the namespace,
4. the program.

A program can neither kill nor trace the watcher. Each of the four dies with the one before it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from bundler.effects.confinement import kernel, limits, seccomp

_NOBODY: Final = 65534
_LOOK: Final = 0.25  # seconds between two looks at the memory in use
_STATUS_OF_SIGNALS: Final = 128
_FAILED: Final = 125


def outside_ids() -> tuple[int, int]:
    """Return the user and the group that confined code has outside: never root, where there is anybody else."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    return _unprivileged("/proc/self/uid_map"), _unprivileged("/proc/self/gid_map")


def _unprivileged(path: str) -> int:
    """Return the id of nobody, or the highest that this user namespace (a container's) knows."""
    with open(path, encoding="ascii") as file:  # noqa: PTH123
        ranges = [(int(first), int(count)) for first, _, count in (line.split() for line in file)]
    if any(first <= _NOBODY < first + count for first, count in ranges):
        return _NOBODY
    return max(first + count - 1 for first, count in ranges)


def launch(work: Callable[[], None], *, show: Callable[[], None]) -> NoReturn:
    """Run ``work`` in a confinement whose root ``show`` makes of the current folder; end with its status.

    ``work`` runs in the watcher's place as the only process, or calls ``run_program``. It can import nothing.
    """
    user, group = outside_ids()
    limits.prefer_to_kill()
    if os.geteuid() == 0:
        with suppress(PermissionError):  # in a container without that right the groups are unprivileged, too
            os.setgroups([])
    made, mapped = os.pipe(), os.pipe()
    entrant = os.fork()
    if entrant == 0:
        os.close(made[0])
        os.close(mapped[1])
        _ended_by_errors(lambda: _enter(made[1], mapped[0], work, show))
    os.close(made[1])
    os.close(mapped[0])
    if os.read(made[0], 1):
        _ended_by_errors(lambda: _map(entrant, user, group), end=False)
        os.write(mapped[1], b"1")
    os._exit(_status(os.waitpid(entrant, 0)[1]))


def _map(entrant: int, user: int, group: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/{entrant}/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(text)


def _enter(made: int, mapped: int, work: Callable[[], None], show: Callable[[], None]) -> None:
    kernel.die_with_parent()
    kernel.unshare(kernel.ALL_NAMESPACES)
    os.write(made, b"1")
    if not os.read(mapped, 1):
        os._exit(_FAILED)  # the launcher has said why
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    kernel.die_with_parent()  # the change of user has undone it
    with suppress(OSError):  # a kernel without keys, or a container that forbids this; the program may ask for none
        kernel.leave_session_keyring()
    with suppress(OSError), open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("0")  # of this one: no program in here makes another
    watcher = os.fork()
    if watcher == 0:
        _ended_by_errors(lambda: _watch(work, show))
    os._exit(_status(os.waitpid(watcher, 0)[1]))


def _watch(work: Callable[[], None], show: Callable[[], None]) -> None:
    kernel.die_with_parent()
    show()
    kernel.give_up_rights()
    kernel.shut_memory()
    work()


def run_program(command: Sequence[str], environment: Mapping[str, str], *, seconds: float, others: int) -> NoReturn:
    """Run a program of the image beneath the watcher, and end as it ends; ``others`` as ``limits`` has it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    program = os.fork()
    if program == 0:
        _ended_by_errors(lambda: _become(command, environment, seconds, others))
    while True:
        signal.sigtimedwait({signal.SIGCHLD}, _LOOK)
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(_FAILED)
            if ended == program:
                os._exit(_status(status))
            if ended == 0:
                break
        if limits.memory_used() > limits.MEMORY:
            sys.stderr.write(f"more than {limits.MEMORY >> 30} GiB of memory are used\n")
            sys.stderr.flush()
            os._exit(_FAILED)


def _become(command: Sequence[str], environment: Mapping[str, str], seconds: float, others: int) -> None:
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
        signal.signal(ignored, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    limits.set_for_program(seconds, others)
    seccomp.refuse_dangerous()
    os.execve(command[0], list(command), dict(environment))  # noqa: S606  (a program of the image, no shell)


def _ended_by_errors(work: Callable[[], None], *, end: bool = True) -> None:
    """Run ``work``; what goes wrong ends the process with one sentence, not with a traceback."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001  (a forked process must not go on with its parent's work)
        reason = f"{error.filename or ''} {error.strerror}".strip() if isinstance(error, OSError) else error
        sys.stderr.write(f"{reason}\n")
        sys.stderr.flush()
        os._exit(_FAILED)
    if end:
        sys.stdout.flush()
        os._exit(0)


def _status(waited: int) -> int:
    status = os.waitstatus_to_exitcode(waited)
    return _STATUS_OF_SIGNALS - status if status < 0 else status
