"""Try bundler on bare Debian machines, as three kinds of user, and write what works into docs/machines.md.

Run by ``make test-machines`` as root, on a machine that may make namespaces and mounts. Each machine is a root file
system of its own (``--variant=minbase``) with make, python3 and sudo. Apt's sources and a company's authorities are
those of this machine.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.effects.debian import host as debian_host
from tests.support import registries

PROJECT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = PROJECT / "docs/machines.md"
_MARKS: Final = ("<!-- table: make test-machines -->\n", "<!-- end of table -->\n")
_HEAD: Final = (
    "| machine | who | `make bundle`, cold | verify | push | serve | `bundle.json` |\n|---|---|---|---|---|---|---|\n"
)
_AUTHORITIES: Final = Path("/usr/local/share/ca-certificates")
_BUNDLE: Final = "dist/driver-stats-0.1.0.bundle.tar"
_TIMEOUT: Final = 3600  # seconds
# A real root, not a chroot: in one of those the kernel makes no user namespaces.
_ENTER: Final = """
cd "$1" && shift
mount --bind . . && cd "$PWD"
mount -t proc proc proc && mount --rbind /dev dev && mount --rbind /sys sys
mkdir -p .before && pivot_root . .before && cd / && umount -l /.before
exec "$@"
"""
_SERVE: Final = """
cd ~ && python3 bundler.pyz serve {bundle} --listen 127.0.0.1:{port} > serve.log 2>&1 & server=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    python3 -c "import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/v2/').status)" 2>/dev/null && break
    sleep 1
done
kill $server && wait $server
"""


@dataclass(frozen=True)
class Person:
    """Who builds: a name in the table, an account, and whether the programs are there before."""

    title: str
    account: str
    programs: bool = False


PEOPLE: Final = (
    Person("root", "root"),
    Person("user with sudo", "admin"),
    Person("user without sudo", "plain"),
    Person("user without sudo, packages there", "plain", programs=True),
)


@dataclass(frozen=True)
class Attempt:
    """What all machines have in common: the project as one commit has it, a lock, a registry, and a folder."""

    sources: bytes
    lock: Path
    address: str
    folder: Path


@dataclass(frozen=True)
class Machine:
    """A root file system."""

    root: Path

    def run(self, account: str, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the shell as an account; nothing of this process's environment is there."""
        home = "/root" if account == "root" else f"/home/{account}"
        command = ["env", "-i", f"HOME={home}", f"USER={account}", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]
        if account != "root":
            command += ["setpriv", f"--reuid={account}", f"--regid={account}", "--init-groups"]
        inside = [*command, "sh", "-c", f"cd ~ && {script}"]
        outside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", _ENTER, "sh", self.root]
        return subprocess.run(
            [*map(str, outside), *inside], capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )

    def must(self, account: str, script: str) -> str:
        """Run a script that must succeed."""
        done = self.run(account, script)
        if done.returncode:
            sys.exit(f"{self.root.name}: {script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout


def bare(suite: str, folder: Path) -> Path:
    """Return the tar of a bare machine, made once."""
    tar = folder / f"{suite}.tar"
    if not tar.exists():
        partial = folder / f"{suite}.part.tar"
        lines = (debian_host.sources(suite) or "").splitlines(keepends=True)
        # The newest has neither updates nor security updates apart.
        sources = "".join(line for line in lines if suite != "sid" or f" {suite} " in line)
        if suite == "sid":  # a mirror that is a snapshot of an earlier day has one whose time is over
            sources = sources.replace("deb [", "deb [check-valid-until=no ")
        command = [
            "mmdebstrap",
            "--variant=minbase",
            "--include=ca-certificates,make,python3,sudo",
            suite,
            partial,
            "-",
        ]
        subprocess.run(list(map(str, command)), input=sources.encode(), check=True)
        partial.rename(tar)
    return tar


@contextmanager
def machine(suite: str, folder: Path) -> Iterator[Machine]:
    """Unpack a bare machine, with accounts and a copy of the project for each; it is removed with the block."""
    root = folder / f"{suite}.root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    subprocess.run(["tar", "-xf", bare(suite, folder), "-C", root, "--exclude=./dev/*"], check=True)
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(name, root / name.lstrip("/"))
    if _AUTHORITIES.is_dir():
        shutil.copytree(_AUTHORITIES, root / str(_AUTHORITIES).lstrip("/"), dirs_exist_ok=True)
    made = Machine(root)
    (root / "etc/sudoers.d/admin").write_text("admin ALL=(ALL) NOPASSWD:ALL\n")
    made.must("root", "update-ca-certificates; apt-get -qq update; for name in admin plain; do useradd -m $name; done")
    try:
        yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def row(suite: str, person: Person, attempt: Attempt) -> str:
    """Try everything on a machine of its own and return a row of the table."""
    lock = attempt.lock
    with machine(suite, attempt.folder) as made:
        if person.programs:
            packages = "python3-venv mmdebstrap skopeo uidmap"
            made.must(
                "root", f"DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y {packages}"
            )
        home = made.root / ("root" if person.account == "root" else f"home/{person.account}")
        (home / "project").mkdir()
        subprocess.run(["tar", "-x", "-C", home / "project"], input=attempt.sources, check=True)
        if lock.exists():
            shutil.copy(lock, home / "project/examples/driver-stats/bundle.lock")
        made.must("root", f"chown -R {person.account}: {shlex.quote('/' + str(home.relative_to(made.root)))}")
        start = time.monotonic()
        built = made.run(person.account, "cd project && make bundle")
        seconds = time.monotonic() - start
        start_of_row = f"| {suite} | {person.title} |"
        if built.returncode:
            return f"{start_of_row} says: {said(built.stderr)} | | | | |\n"
        if not lock.exists():
            shutil.copy(home / "project/examples/driver-stats/bundle.lock", lock)
        digest = re.findall(r"sha256:([0-9a-f]{64})", built.stdout)[0][:12]
        bundle = f"project/{_BUNDLE}"
        made.must(person.account, f"tar -xOf {bundle} bundler.pyz > bundler.pyz")
        tried = (
            f"python3 bundler.pyz verify {bundle}",
            f"python3 bundler.pyz push {bundle} --registry {attempt.address}/{suite}-{person.account} --plain-http",
            _SERVE.format(bundle=bundle, port=_free_port()),
        )
        outcomes = [outcome(made.run(person.account, script)) for script in tried]
        return f"{start_of_row} works, {seconds:.0f} s | {' | '.join(outcomes)} | {digest} |\n"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def outcome(done: subprocess.CompletedProcess[str]) -> str:
    """Say in a cell of the table how a command ended."""
    return "works" if done.returncode == 0 else f"says: {said(done.stderr)}"


def said(text: str) -> str:
    """Return the error of a command as a cell of the table."""
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    return (errors[0].removeprefix("error: ") if errors else text.strip()[-200:]).replace("|", "\\|")


def write(rows: Sequence[str]) -> None:
    """Put the rows into the document, in the place of those of the same machine and person before."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(_MARKS[0])
    old, _, after = rest.partition(_MARKS[1])
    kept = {_key(line): f"{line}\n" for line in old.splitlines() if line.startswith("| ") and "machine |" not in line}
    table = "".join({**kept, **{_key(line): line for line in rows}}.values())
    DOCUMENT.write_text(f"{before}{_MARKS[0]}{_HEAD}{table}{_MARKS[1]}{after}", encoding="utf-8")


def _key(line: str) -> tuple[str, ...]:
    return tuple(line.split("|")[1:3])


def main() -> None:
    """Try the suites that the command line names."""
    folder, suites = Path(sys.argv[1]).absolute(), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    sources = subprocess.run(["git", "archive", "HEAD"], cwd=PROJECT, capture_output=True, check=True).stdout
    with registries.running(folder / "registry") as registry:
        # The lock of the first machine: the others must come to the same bundle.
        attempt = Attempt(sources, folder / "bundle.lock", registry.address, folder)
        for suite in suites:
            for person in PEOPLE:
                line = row(suite, person, attempt)
                sys.stderr.write(line)
                write([line])


main()
