"""Lock: resolve everything that a build of a spec uses, and say how that differs from an earlier lock."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from bundler import __version__
from bundler.effects.blobs import BlobStore
from bundler.effects.packages import feast_release, local_projects, wheelhouse
from bundler.effects.packages.uv import Candidate, Resolution
from bundler.errors import LockError, SpecError, UsageError
from bundler.feast.rules import missing_parts
from bundler.feast.stores.known_types import JAVA_EXTRAS
from bundler.model import spec_reader
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock, LockedImage, LockedPlatform, LockedWheel
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.spec import BundleSpec
from bundler.oci.layer import COMPRESSOR
from bundler.steps.lock import conflicts, requirements, secrets
from bundler.steps.lock import sdists as lock_sources
from bundler.steps.lock.project import Project
from bundler.steps.lock.sdists import Asking
from bundler.steps.sources.unpacked_base import UnpackedBase
from bundler.wheels import together
from bundler.wheels.compatibility import ImagePython

_JAVA = re.compile(r"\b(jre|jdk|openjdk)\b")


@dataclass(frozen=True)
class LockInputs:
    """All that a lock is made from: the project, the bases, the images that are not baked.

    ``old`` is the earlier lock whose pins are kept, but for the packages in ``upgrade`` (None: keep none).
    """

    project: Project
    bases: Mapping[Platform, UnpackedBase]
    images: tuple[LockedImage, ...]
    now: int
    old: BundleLock | None = None
    upgrade: frozenset[str] | None = frozenset()


def run(inputs: LockInputs, store: BlobStore, progress: Progress) -> BundleLock:
    """Resolve each platform in turn and return the lock.

    Raises:
        SpecError: the base has no Python, or holds another Feast than the spec asks for.
        LockError: the requirements cannot be met with wheels.
        RegistryError: the package index refused or cannot be reached.
        VerificationError: a wheel is not what the index says, or cannot be installed.
    """
    rows: list[LockedPlatform] = []
    sources: list[str] = []
    upgrade = _normalised(inputs.upgrade, inputs.old)
    # One platform's versions are the next one's preferences: the same image, as far as wheels allow.
    preferences: dict[str, str] = {}
    with progress.task("Resolving Python packages", total=len(inputs.bases)) as task:
        for platform in inputs.bases:
            task.note(str(platform))
            kept = {**preferences, **_kept_versions(inputs.old, upgrade, platform)}
            row, source = _platform(inputs, platform, kept, store, progress)
            rows.append(row)
            sources.append(source)
            preferences |= {package.name: package.version for package in (*row.tools, *row.installed)}
            task.advance(1)
    lock = BundleLock(
        tool=f"bundler {__version__}",
        created=inputs.now,
        spec=str(spec_reader.fingerprint(inputs.project.spec)),
        repo=str(inputs.project.fingerprint),
        compressor=COMPRESSOR,
        requirements=inputs.project.requirements.lines(),
        constraints=", ".join(dict.fromkeys(sources)),
        platforms=tuple(rows),
        images=inputs.images,
    )
    # A lock that says nothing new keeps its time, so that it keeps its bytes.
    if inputs.old is not None and lock.model_copy(update={"created": inputs.old.created}) == inputs.old:
        return inputs.old
    return lock


def stale(lock: BundleLock, now: LockInputs) -> tuple[str, ...]:
    """Return what the lock no longer fits, a line each with ``-`` locked and ``+`` found; empty where it fits.

    Images that are not baked are not looked at.
    """
    bases = now.bases
    pairs = [
        ("spec", lock.spec, str(spec_reader.fingerprint(now.project.spec))),
        ("feature repo", lock.repo, str(now.project.fingerprint)),
        ("compressor", lock.compressor, COMPRESSOR),
        ("platforms", " ".join(row.platform for row in lock.platforms), " ".join(map(str, bases))),
    ]
    locked = {row.platform: row for row in lock.platforms}
    lines = _moved(lock.requirements, now.project.requirements.lines())
    for platform, base in bases.items():
        if (row := locked.get(str(platform))) is not None:
            pairs.append((f"{platform} base", row.base_digest, str(base.image.descriptor.digest)))
            lines += _package_changes(row.base_packages, base.contents.debian_packages)
    for what, before, after in pairs:
        if before != after:
            lines += [f"- {what} {before}", f"+ {what} {after}"]
    return tuple(lines)


def _moved(before: Sequence[str], now: Sequence[str]) -> list[str]:
    lines = [line for line in difflib.ndiff(before, now) if line.startswith(("-", "+"))]
    return [f"{line[:2]}requirement {line[2:]}" for line in lines]


def _package_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names = sorted({*before, *now})
    changed = [name for name in names if before.get(name) != now.get(name)]
    lines: list[str] = []
    for name in changed:
        lines += [f"- {name} {before[name]}"] if name in before else []
        lines += [f"+ {name} {now[name]}"] if name in now else []
    return lines


def image_python(base: UnpackedBase, platform: Platform) -> ImagePython:
    """Return the Python of a base; raise ``SpecError`` where it has none that wheels can be installed into."""
    python, glibc = base.contents.python, base.contents.glibc
    if python is None:
        raise SpecError(
            f"The base image for {platform} does not have Python.",
            remedy="Choose a base image with CPython 3.10 or newer.",
        )
    if glibc is None:
        raise SpecError(
            f"The base image for {platform} does not have a GNU C library that bundler recognises.",
            remedy="Choose a base image such as Debian, Ubuntu or UBI: manylinux wheels do not run on musl (Alpine).",
        )
    # Debian marks builds from a branch with "+", which uv does not accept as a version.
    return ImagePython(python.version, python.full_version.rstrip("+"), glibc, platform)


def _platform(
    inputs: LockInputs, platform: Platform, preferences: Mapping[str, str], store: BlobStore, progress: Progress
) -> tuple[LockedPlatform, str]:
    base = inputs.bases[platform]
    python = image_python(base, platform)
    project, held = inputs.project, base.contents.distributions
    spec = project.spec
    _check_feast(spec, held)
    release = None
    if "feast" not in held:
        release = feast_release.release_lock(spec.feast.version, python, store, progress=progress)
    wanted = project.requirements
    if wanted.asked[0].requirement.extras & JAVA_EXTRAS and not _brings_java(spec, base):
        remedy = missing_parts.java(base.contents.os_release)
        progress.say(f"{platform}: Spark and Flink start Java, which nothing of the spec brings: {remedy}")
    bounds = requirements.bounds(wanted, held, release, python)
    asking = Asking(python, wanted.index_options, store, progress)
    named = [(address.local, address.place) for address in wanted.projects if address.local]
    with (
        lock_sources.resolved(spec.sdists, held, asking, preferences) as sources,
        local_projects.built(named) as built,
    ):
        _refuse_compiled(built, python)
        secrets.refuse_built(spec, zip((place for _, place in named), built, strict=True), progress)
        local_projects.keep(built, store)
        # uv reads requirement files itself, unless a line of them names a place that it could not find.
        lines = wanted.for_uv(dict(zip(wanted.projects, built, strict=True))) if wanted.addresses else ()
        resolution = Resolution(
            python,
            requirements=(str(wanted.asked[0].requirement), *spec.packages, *sources.requirements, *lines),
            files=() if lines else tuple(requirements.file(project.folder, name) for name in spec.requirements),
            constraints=bounds.lines,
            preferences=preferences,
            wheels=project.folder / spec.wheels,
            stand_ins=sources.folder,
            pins=bounds.source,
        )
        settled = conflicts.settle(resolution, wanted, bounds, progress)
        new = [candidate for candidate in settled.candidates if candidate.name not in held.keys() | sources.names]
        wheels = wheelhouse.lock(new, store, progress=progress, options=wanted.index_options)
        wheelhouse.bring(new, wheels, store, progress=progress, options=wanted.index_options)
    _judge(new, wheels, store, progress)
    wanted.check_hashes({wheel.name: wheel.sha256 for wheel in wheels})
    row = LockedPlatform(
        platform=str(platform),
        python=python.full_version,
        glibc=".".join(map(str, python.glibc)),
        base_digest=str(base.image.descriptor.digest),
        base_packages=dict(sorted(base.contents.debian_packages.items())),
        wheels=wheels,
        sources=sources.locked,
        tools=lock_sources.tools(sources, asking, preferences),
    )
    source = f"{bounds.source} (given way: {', '.join(settled.gave_way)})" if settled.gave_way else bounds.source
    return row, source


def _brings_java(spec: BundleSpec, base: UnpackedBase) -> bool:
    """Tell whether packages bring Java; the build looks into the image, which may have it from elsewhere."""
    return any(_JAVA.search(name) for name in (*spec.system_packages, *base.contents.debian_packages))


def _judge(
    candidates: Sequence[Candidate], wheels: Sequence[LockedWheel], store: BlobStore, progress: Progress
) -> None:
    """Say which releases were withdrawn and which wheels overlap.

    Raises:
        VerificationError: a wheel cannot be installed.
    """
    for candidate in candidates:
        if candidate.yanked is not None:
            reason = f" ({candidate.yanked})" if candidate.yanked else ""
            progress.say(
                f"{candidate.name} {candidate.version} was withdrawn by its authors{reason}. Ask for another release."
            )
    digests = {wheel.filename: Digest(wheel.sha256) for wheel in wheels}
    for overlap in together.check(list(digests), lambda filename: store.open(digests[filename])):
        progress.say(str(overlap))


def _refuse_compiled(wheels: Sequence[Path], python: ImagePython) -> None:
    """Refuse wheels of this machine that do not run in the image: those of projects with compiled code."""
    for wheel in wheels:
        if python.best((wheel.name,)) is None:
            raise LockError(
                f"{wheel.name} was built here and does not run in the image (Python {python.full_version} on "
                f"{python.platform}).",
                remedy="Build it on a machine like the image, into the folder 'wheels' beside the spec.",
            )


def _check_feast(spec: BundleSpec, held: Mapping[str, str]) -> None:
    held_version = held.get("feast")
    if held_version is not None and held_version != spec.feast.version:
        raise SpecError(
            f"The base image holds Feast {held_version}, the spec asks for {spec.feast.version}.",
            remedy="Set feast.version to the release in the base image, or choose another base image.",
        )


def _kept_versions(old: BundleLock | None, upgrade: frozenset[str] | None, platform: Platform) -> Mapping[str, str]:
    """Return the versions of an earlier lock that are kept where they still fit."""
    if old is None or upgrade is None:
        return {}
    rows = [row for row in old.platforms if row.platform == str(platform)]
    pinned = [package for row in rows for package in (*row.tools, *row.installed)]
    return {package.name: package.version for package in pinned if package.name not in upgrade}


def _normalised(upgrade: frozenset[str] | None, old: BundleLock | None) -> frozenset[str] | None:
    """Return the names of packages to upgrade; raise ``UsageError`` for one that the lock does not have."""
    if not upgrade:
        return upgrade
    known = {package.name for row in old.platforms for package in (*row.tools, *row.installed)} if old else set()
    names = frozenset(str(canonicalize_name(name)) for name in upgrade)
    for name in sorted(names - known):
        near = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f"Did you mean {near[0]}?" if near else "Only packages that a lock pins can be upgraded."
        raise UsageError(f"--upgrade-package {name}: the lock does not have this package.", remedy=hint)
    return names
