"""Images of this machine's own programs, for tests that need some image: no registry is asked, nothing is unpacked."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.programs import require

SHELL = ("/bin/sh", "/bin/cat", "/bin/sleep", "/usr/bin/id", "/bin/chmod", "/usr/bin/touch", "/bin/mkdir", "/bin/ls")
_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*"), reverse=True)
_PASSWD = b"root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n"


def write(target: Path, programs: Sequence[str | Path], folders: Iterable[Path] = ()) -> Path:
    """Write a root file system (tar) of programs, the libraries that they are linked with, and whole folders."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    libraries = {word for word in said.split() if word.startswith("/") and not word.endswith(":")}
    with tarfile.open(target, "w") as archive:
        for path in sorted({*map(str, programs), *libraries}):
            archive.add(Path(path).resolve(), path.lstrip("/"))
        for folder in folders:
            archive.add(folder, str(folder).lstrip("/"), filter=_without_bitcode)
        entry = tarfile.TarInfo("tmp")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(entry)
        entry = tarfile.TarInfo("etc/passwd")
        entry.size, entry.mode = len(_PASSWD), 0o644
        archive.addfile(entry, io.BytesIO(_PASSWD))
    return target


def write_stores(target: Path) -> Path:
    """Write a root file system with Redis and PostgreSQL."""
    redis = require("redis-server")
    version = _DEBIAN[0]
    programs: list[str | Path] = [*SHELL, "/usr/bin/tail", redis, version / "bin" / "initdb"]
    programs.append(version / "bin" / "postgres")
    return write(target, programs, [version / "lib", Path("/usr/share/postgresql") / version.name])


def _without_bitcode(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "bitcode" in entry.name or "llvmjit" in entry.name else entry
