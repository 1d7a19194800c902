"""Lock sources: which source distributions are built in an engine, and the wheels that they are built with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.effects import files
from bundler.effects.blobs import BlobStore
from bundler.effects.packages import uv, wheelhouse
from bundler.effects.packages.uv import Candidate, Resolution
from bundler.errors import LockError
from bundler.model.digest import Digest
from bundler.model.lock import LockedPlatform, LockedSource, LockedWheel
from bundler.model.progress import Progress
from bundler.wheels import sdist
from bundler.wheels.compatibility import ImagePython
from bundler.wheels.sdist import SourceFacts

_REMEDY = "Build a wheel of it once and keep it in the folder 'wheels' beside the spec, instead of 'sdists'."


@dataclass(frozen=True)
class Sources:
    """What is built from source, what that says of itself, and the folder of what stands in for it (None: nothing).

    ``asked`` are the requirements of the spec that led to it.
    """

    asked: tuple[str, ...] = ()
    locked: tuple[LockedSource, ...] = ()
    facts: tuple[SourceFacts, ...] = ()
    folder: Path | None = None

    @property
    def names(self) -> frozenset[str]:
        """Normalised names."""
        return frozenset(source.name for source in self.locked)

    @property
    def requirements(self) -> tuple[str, ...]:
        """What was asked for, with its extras, and the exact versions that were found."""
        return (*self.asked, *(f"{source.name}=={source.version}" for source in self.locked))


@dataclass(frozen=True)
class Asking:
    """How an index is asked: for which Python, with which options of requirement files."""

    python: ImagePython
    options: tuple[str, ...]
    store: BlobStore
    progress: Progress


@contextmanager
def resolved(
    wanted: Sequence[str], held: Mapping[str, str], asking: Asking, preferences: Mapping[str, str]
) -> Iterator[Sources]:
    """Find the sources that are asked for and that the base does not hold; none of their code runs here.

    Raises:
        LockError: there is none, or it cannot be read.
    """
    lines = [line for line in wanted if canonicalize_name(Requirement(line).name) not in held]
    if not lines:
        yield Sources()
        return
    candidates = _candidates(tuple(lines), asking, preferences)
    measured = wheelhouse.download(candidates, asking.store, progress=asking.progress, options=asking.options)
    facts = tuple(
        _facts(candidate, sha256, asking.store) for candidate, (sha256, _) in zip(candidates, measured, strict=True)
    )
    locked = tuple(
        LockedSource(name=fact.name, version=fact.version, filename=candidate.filename, size=size, sha256=sha256)
        for candidate, fact, (sha256, size) in zip(candidates, facts, measured, strict=True)
    )
    with files.temporary_folder("bundler-sources-", dict(fact.stand_in() for fact in facts)) as folder:
        yield Sources(tuple(lines), locked, facts, folder)


def tools(sources: Sources, asking: Asking, preferences: Mapping[str, str]) -> tuple[LockedWheel, ...]:
    """Return what sources are built with, each of them resolved by itself: they are built apart."""
    by_filename: dict[str, Candidate] = {}
    for needed in dict.fromkeys(fact.build_requires for fact in sources.facts):
        wanted = Resolution(asking.python, requirements=needed, options=asking.options, preferences=preferences)
        by_filename |= {candidate.filename: candidate for candidate in uv.resolve(wanted)}
    ordered = [by_filename[filename] for filename in sorted(by_filename)]
    return wheelhouse.lock(ordered, asking.store, progress=asking.progress, options=asking.options)


def fetch(row: LockedPlatform, asking: Asking, wheels_dir: Path) -> None:
    """Bring locked sources and what they are built with into the store; raises as ``wheelhouse.fetch``."""
    wheelhouse.fetch(
        row.tools, asking.python, asking.store, wheels_dir=wheels_dir, progress=asking.progress, options=asking.options
    )
    missing = [source for source in row.sources if not asking.store.has(Digest(source.sha256), source.size)]
    if not missing:
        return
    offered = _candidates(tuple(f"{source.name}=={source.version}" for source in missing), asking, {})
    named = {candidate.filename: candidate for candidate in offered}
    for source in missing:
        # An index that gives no hashes is believed so far: what it serves is verified.
        if source.filename not in named or named[source.filename].sha256 not in (source.sha256, ""):
            raise LockError(
                f"The lock names {source.filename} with SHA-256 {source.sha256[:12]}…, the index has no such file.",
                remedy="If the index changed on purpose, accept it: bundler lock --upgrade -f SPEC",
            )
    exact = [replace(named[source.filename], size=source.size, sha256=source.sha256) for source in missing]
    wheelhouse.download(exact, asking.store, progress=asking.progress, options=asking.options)


def _candidates(lines: tuple[str, ...], asking: Asking, preferences: Mapping[str, str]) -> tuple[Candidate, ...]:
    wanted = Resolution(
        asking.python,
        requirements=lines,
        preferences=preferences,
        dependencies=False,
        sources=True,
        options=asking.options,
    )
    releases = uv.releases(wanted)
    archives = tuple(next(iter(_archives(release.files)), None) for release in releases)
    for release, archive in zip(releases, archives, strict=True):
        if archive is None:
            raise LockError(
                f"{release.name} {release.version} has no source distribution (.tar.gz).",
                remedy="Ask for it in 'packages' where it has a wheel.",
            )
    return tuple(archive for archive in archives if archive is not None)


def _archives(files: Sequence[Candidate]) -> Iterator[Candidate]:
    yield from (file for file in files if file.filename.endswith(".tar.gz"))


def _facts(candidate: Candidate, sha256: str, store: BlobStore) -> SourceFacts:
    try:
        with store.open(Digest(sha256)) as stream:
            facts = sdist.read(stream)
    except ValueError as error:
        raise LockError(f"{candidate.filename}: {error}.", remedy=_REMEDY) from error
    if (facts.name, Version(facts.version)) != (canonicalize_name(candidate.name), Version(candidate.version)):
        raise LockError(f"{candidate.filename} says that it is {facts.name} {facts.version}.", remedy=_REMEDY)
    return facts
