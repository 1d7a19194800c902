"""Fetch locked wheels into the content-addressed cache: in parallel, verified, resumed after a break."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from bundler.effects.blobs import BlobStore
from bundler.effects.packages import uv
from bundler.effects.packages.download import Downloads
from bundler.effects.packages.index import PackageIndexes
from bundler.effects.packages.uv import Candidate, Resolution
from bundler.errors import LockError
from bundler.model.digest import Digest
from bundler.model.lock import LockedWheel
from bundler.model.progress import Progress
from bundler.wheels.compatibility import ImagePython

_PARALLEL = 8


def fetch(
    wheels: Sequence[LockedWheel],
    python: ImagePython,
    store: BlobStore,
    *,
    wheels_dir: Path | None,
    progress: Progress,
    options: tuple[str, ...] = (),
    direct: Mapping[str, str] | None = None,
) -> None:
    """Bring every wheel that the store lacks.

    The lock names no index, so uv is asked where the configured index has the locked releases; what answers must have
    the locked hash. An index is not asked for what the spec's own folder of wheels holds. ``options`` are the lines of
    requirement files that name further indexes, ``direct`` the addresses of wheels that they name (filename -> URL).

    Raises:
        LockError: the index has no file of that name and hash any more.
        RegistryError: the index refused or cannot be reached.
        VerificationError: a file has another hash or size than the lock says.
    """
    missing = [wheel for wheel in wheels if not store.has(Digest(wheel.sha256), wheel.size)]
    own = [candidate for wheel in missing if (candidate := _in_folder(wheel, wheels_dir)) is not None]
    addresses = direct or {}
    own += [
        Candidate(wheel.name, wheel.version, wheel.filename, wheel.size, wheel.sha256, addresses[wheel.filename])
        for wheel in missing
        if wheel.filename in addresses and wheel.filename not in {candidate.filename for candidate in own}
    ]
    here = {candidate.filename for candidate in own}
    away = [wheel for wheel in missing if wheel.filename not in here]
    offered = _offered(away, Resolution(python, wheels=wheels_dir, dependencies=False, options=options))
    download([*own, *offered], store, progress=progress, options=options)


def _in_folder(wheel: LockedWheel, folder: Path | None) -> Candidate | None:
    if folder is None or not (path := folder / wheel.filename).is_file():
        return None
    with path.open("rb") as stream:
        if Digest.of_stream(stream).hex != wheel.sha256:
            return None  # a newer build of it: the index may still have the locked one
    return Candidate(wheel.name, wheel.version, wheel.filename, wheel.size, wheel.sha256, path.resolve().as_uri())


def _offered(wheels: Sequence[LockedWheel], resolution: Resolution) -> Iterator[Candidate]:
    if not wheels:
        return
    pins = tuple(f"{wheel.name}=={wheel.version}" for wheel in wheels)
    releases = uv.releases(replace(resolution, requirements=pins))
    offered = [candidate for release in releases for candidate in release.files]
    for wheel in wheels:
        same_name = [candidate for candidate in offered if candidate.filename == wheel.filename]
        # An index that gives no hashes is believed so far: what it serves is verified.
        matching = [candidate for candidate in same_name if candidate.sha256 in (wheel.sha256, "")]
        if not matching:
            raise _gone(wheel, same_name)
        yield replace(matching[0], size=wheel.size, sha256=wheel.sha256)


def _gone(wheel: LockedWheel, same_name: Sequence[Candidate]) -> LockError:
    remedy = f"If that is meant to be: bundler lock --upgrade-package {wheel.name}"
    local = [candidate.local for candidate in same_name if candidate.local is not None]
    if local:
        return LockError(f"{local[0]} is not the file that was locked ({wheel.sha256[:12]}…).", remedy=remedy)
    was = "another file of that name" if same_name else "no such file"
    return LockError(
        f"The lock names {wheel.filename} with SHA-256 {wheel.sha256[:12]}…, the index has {was}.", remedy=remedy
    )


def lock(
    candidates: Sequence[Candidate], store: BlobStore, *, progress: Progress, options: tuple[str, ...] = ()
) -> tuple[LockedWheel, ...]:
    """Return the entries of the lock for files, in their order.

    What lies in a folder, and what the index gives no size or hash of, is brought into the store to be measured.
    """
    unknown = [
        candidate
        for candidate in candidates
        if candidate.local is not None or candidate.size is None or not candidate.sha256
    ]
    measured = dict(zip(unknown, download(unknown, store, progress=progress, options=options), strict=True))
    rows = [measured.get(candidate, (candidate.sha256, candidate.size or 0)) for candidate in candidates]
    return tuple(
        replace(candidate, sha256=sha256).locked(size)
        for candidate, (sha256, size) in zip(candidates, rows, strict=True)
    )


def bring(
    candidates: Sequence[Candidate],
    locked: Sequence[LockedWheel],
    store: BlobStore,
    *,
    progress: Progress,
    options: tuple[str, ...] = (),
) -> None:
    """Bring the files that the store lacks, for which ``lock`` returned these entries; raises as ``fetch``."""
    pairs = zip(candidates, locked, strict=True)
    missing = [(candidate, wheel) for candidate, wheel in pairs if not store.has(Digest(wheel.sha256), wheel.size)]
    exact = [replace(candidate, size=wheel.size, sha256=wheel.sha256) for candidate, wheel in missing]
    download(exact, store, progress=progress, options=options)


def download(
    files: Sequence[Candidate], store: BlobStore, *, progress: Progress, options: tuple[str, ...] = ()
) -> tuple[tuple[str, int], ...]:
    """Bring files into the store, several at once; return SHA-256 and size in bytes of each, in their order."""
    if not files:
        return ()
    total = sum(file.size or 0 for file in files)
    with (
        progress.task("Fetching Python packages", total=total or None, unit="bytes") as task,
        ThreadPoolExecutor(_PARALLEL) as threads,
    ):
        downloads = Downloads(store, task, PackageIndexes.of_this_host(options), _PARALLEL, progress.say)
        # Big ones first: the last thread should not begin the biggest file when the others are done.
        ordered = sorted(range(len(files)), key=lambda number: -(files[number].size or 0))
        running = {number: threads.submit(downloads.bring, files[number]) for number in ordered}
        try:
            for done in as_completed(running.values()):
                done.result()
        except BaseException:
            downloads.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
        return tuple(running[number].result() for number in range(len(files)))
