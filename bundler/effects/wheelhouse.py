"""Fetch locked wheels into the content-addressed cache: in parallel, verified, resumed after a break."""

from __future__ import annotations

import netrc
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from bundler.effects import trust, uv
from bundler.effects.blobs import BlobStore, BlobWriter
from bundler.effects.uv import Candidate, Resolution
from bundler.errors import LockError, RegistryError, VerificationError
from bundler.model.digest import Digest
from bundler.model.lock import LockedWheel
from bundler.model.progress import Progress, Task
from bundler.wheels.compatibility import ImagePython

_PARALLEL = 8
_ATTEMPTS = 5
_CHUNK = 1 << 20
_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
)


class _BrokenError(Exception):
    """A transfer that broke off and may be continued."""


def fetch(
    wheels: Sequence[LockedWheel],
    python: ImagePython,
    store: BlobStore,
    *,
    wheels_dir: Path | None,
    progress: Progress,
) -> None:
    """Bring every wheel that the store lacks.

    The lock names no index, so uv is asked where the configured index has the locked releases; what answers must have
    the locked hash.

    Raises:
        LockError: the index has no file of that name and hash any more.
        RegistryError: the index refused or cannot be reached.
        VerificationError: a file has another hash or size than the lock says.
    """
    missing = [wheel for wheel in wheels if not store.has(Digest(wheel.sha256), wheel.size)]
    if not missing:
        return
    pins = uv.constraint_lines({wheel.name: wheel.version for wheel in missing})
    offered = uv.resolve(Resolution(python, requirements=pins, wheels=wheels_dir, dependencies=False))
    places = {(found.filename, found.sha256): found for found in map(_hashed, offered)}
    work: list[tuple[LockedWheel, Candidate]] = []
    for wheel in missing:
        found = places.get((wheel.filename, wheel.sha256))
        if found is None:
            raise LockError(
                f"The index has no {wheel.filename} with the locked hash {wheel.sha256[:12]}….",
                remedy=f"It may have been replaced or removed: bundler lock --upgrade-package {wheel.name}",
            )
        work.append((wheel, found))
    download([(found, wheel.size) for wheel, found in work], store, progress=progress)


def _hashed(found: Candidate) -> Candidate:
    """Hash a file of the spec's own wheels, which uv does not say the hash of."""
    return replace(found, sha256=found.locked_from_file().sha256) if found.local is not None else found


def download(files: Sequence[tuple[Candidate, int | None]], store: BlobStore, *, progress: Progress) -> None:
    """Download files with their sizes in bytes (None: unknown) into the store, several at once."""
    total = sum(size or 0 for _, size in files)
    http = trust.pool(_PARALLEL)
    with (
        progress.task("Fetching Python packages", total=total or None, unit="bytes") as task,
        ThreadPoolExecutor(_PARALLEL) as threads,
    ):
        # Big ones first: the last thread should not begin the biggest file when the others are done.
        ordered = sorted(files, key=lambda row: -(row[1] or 0))
        running = [threads.submit(_one, http, found, size, store, task) for found, size in ordered]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _one(http: urllib3.PoolManager, found: Candidate, size: int | None, store: BlobStore, task: Task) -> None:
    task.note(found.filename)
    expected = Digest(found.sha256) if found.sha256 else None
    try:
        with store.writing(expected, size) as writer:
            if found.local is not None:
                _copy(found.local, writer, task)
            else:
                _stream(http, found.url, writer, task)
    except VerificationError as error:
        raise VerificationError(
            f"{found.filename}: {error.problem}",
            remedy="The index serves other bytes than were locked; do not use them.",
        ) from error


def _copy(source: Path, writer: BlobWriter, task: Task) -> None:
    with source.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            writer.write(chunk)
            task.advance(len(chunk))


def _stream(http: urllib3.PoolManager, url: str, writer: BlobWriter, task: Task) -> None:
    for attempt in range(1, _ATTEMPTS):
        broken = _attempt(http, url, writer, task)
        if broken is None:
            return
        time.sleep(min(0.2 * 2**attempt, 5))
    if broken := _attempt(http, url, writer, task):
        raise RegistryError(
            f"{uv.masked(url)} broke off {_ATTEMPTS} times: {uv.masked(str(broken))}.",
            remedy="Run the same command again: what is complete is kept.",
        )


def _attempt(http: urllib3.PoolManager, url: str, writer: BlobWriter, task: Task) -> Exception | None:
    """Return why the transfer broke off, or None where it is complete."""
    try:
        _continue(http, url, writer, task)
    except (_BrokenError, urllib3.exceptions.HTTPError) as error:
        return error
    return None


def _continue(http: urllib3.PoolManager, url: str, writer: BlobWriter, task: Task) -> None:
    headers = dict(_credentials(url))
    if writer.size:
        headers["Range"] = f"bytes={writer.size}-"
    response = http.request("GET", url, headers=headers, preload_content=False, decode_content=False)
    try:
        _check(response.status, url)
        # A server without ranges begins anew: pass over what is here already.
        skip = writer.size if response.status == 200 else 0  # noqa: PLR2004  (HTTP: OK, not Partial Content)
        while chunk := response.read(_CHUNK):
            fresh = chunk[skip:]
            skip -= len(chunk) - len(fresh)
            writer.write(fresh)
            task.advance(len(fresh))
    finally:
        response.release_conn()


def _check(status: int, url: str) -> None:
    if status in (200, 206):
        return
    if status in (408, 429) or status >= 500:  # noqa: PLR2004  (HTTP: worth another try)
        raise _BrokenError(f"HTTP status {status}")
    remedy = "Check the credentials for this host (netrc, or the index's URL)." if status in (401, 403) else ""
    raise RegistryError(f"The package index answered {status} for {uv.masked(url)}.", remedy=remedy)


def _credentials(url: str) -> dict[str, str]:
    """Return the header for a file's host: from the configured index of the same host, else from netrc."""
    host = urlsplit(url).hostname or ""
    for name in _INDEX_VARIABLES:
        for index in os.environ.get(name, "").split():
            parts = urlsplit(index.rpartition("=")[2] if "=" in index.partition("://")[0] else index)
            if parts.hostname == host and parts.username:
                return dict(urllib3.make_headers(basic_auth=f"{parts.username}:{parts.password or ''}"))
    try:
        known = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        known = None
    return dict(urllib3.make_headers(basic_auth=f"{known[0]}:{known[2] or ''}")) if known else {}
