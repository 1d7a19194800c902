"""Lock: resolve everything that a build of a spec uses, and say how that differs from an earlier lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bundler import __version__
from bundler.effects import feast_release, uv
from bundler.effects.blobs import BlobStore
from bundler.effects.feature_repo import RepoContents
from bundler.effects.uv import Resolution
from bundler.errors import LockError, SpecError
from bundler.feast.extras import extras_for
from bundler.model import spec_reader
from bundler.model.lock import BundleLock, LockedImage, LockedPlatform, LockedWheel
from bundler.model.platform import Platform
from bundler.model.progress import Progress
from bundler.model.spec import BundleSpec
from bundler.oci.image import Image
from bundler.oci.layer import COMPRESSOR
from bundler.oci.rootfs import BaseContents
from bundler.wheels.compatibility import ImagePython

# The operator may start each of them from the one image, so the image can run each of them.
SERVERS = frozenset({"registry", "online", "offline", "ui"})


@dataclass(frozen=True)
class Base:
    """The base image of one platform, and what is in it."""

    image: Image
    contents: BaseContents


@dataclass(frozen=True)
class LockInputs:
    """All that a lock is made from: the spec and its folder, the repo, the bases, the images that are not baked.

    ``old`` is the earlier lock whose pins are kept, but for the packages in ``upgrade`` (None: keep none).
    """

    spec: BundleSpec
    folder: Path
    repo: RepoContents
    bases: Mapping[Platform, Base]
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
    """
    rows: list[LockedPlatform] = []
    sources: list[str] = []
    with progress.task("Resolving Python packages", total=len(inputs.bases)) as task:
        for platform, base in inputs.bases.items():
            task.note(str(platform))
            row, source = _platform(inputs, platform, base, store, progress)
            rows.append(row)
            sources.append(source)
            task.advance(1)
    lock = BundleLock(
        tool=f"bundler {__version__}",
        created=inputs.now,
        spec=str(spec_reader.fingerprint(inputs.spec)),
        repo=str(inputs.repo.fingerprint),
        compressor=COMPRESSOR,
        constraints=", ".join(dict.fromkeys(sources)),
        platforms=tuple(rows),
        images=inputs.images,
    )
    # A lock that says nothing new keeps its time, so that it keeps its bytes.
    if inputs.old is not None and lock.model_copy(update={"created": inputs.old.created}) == inputs.old:
        return inputs.old
    return lock


def stale(lock: BundleLock, spec: BundleSpec, repo: RepoContents, bases: Mapping[Platform, Base]) -> tuple[str, ...]:
    """Return what the lock no longer fits, a line each with ``-`` locked and ``+`` found; empty where it fits."""
    pairs = [
        ("spec", lock.spec, str(spec_reader.fingerprint(spec))),
        ("feature repo", lock.repo, str(repo.fingerprint)),
        ("compressor", lock.compressor, COMPRESSOR),
        ("platforms", " ".join(row.platform for row in lock.platforms), " ".join(map(str, bases))),
    ]
    locked = {row.platform: row for row in lock.platforms}
    lines = []
    for platform, base in bases.items():
        if (row := locked.get(str(platform))) is not None:
            pairs.append((f"{platform} base", row.base_digest, str(base.image.descriptor.digest)))
            lines += _package_changes(row.base_packages, base.contents.debian_packages)
    for what, before, now in pairs:
        if before != now:
            lines += [f"- {what} {before}", f"+ {what} {now}"]
    return tuple(lines)


def _package_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names = sorted({*before, *now})
    changed = [name for name in names if before.get(name) != now.get(name)]
    lines: list[str] = []
    for name in changed:
        lines += [f"- {name} {before[name]}"] if name in before else []
        lines += [f"+ {name} {now[name]}"] if name in now else []
    return lines


def image_python(base: Base, platform: Platform) -> ImagePython:
    """Return the Python of a base; raise ``SpecError`` where it has none that wheels can be installed into."""
    python, glibc = base.contents.python, base.contents.glibc
    if python is None:
        raise SpecError(
            f"The base image for {platform} has no Python.", remedy="Choose a base with CPython 3.10 or newer."
        )
    if glibc is None:
        raise SpecError(
            f"The base image for {platform} has no GNU C library that could be recognised.",
            remedy="Choose a base such as Debian, Ubuntu or UBI: manylinux wheels do not run on musl (Alpine).",
        )
    return ImagePython(python.version, python.full_version, glibc, platform)


def requested_names(spec: BundleSpec, folder: Path) -> frozenset[str]:
    """Return the normalised names of what the spec asks for by name."""
    lines = [*spec.packages, "feast"]
    for name in spec.requirements:
        lines += requirement_file(folder, name).read_text(encoding="utf-8").splitlines()
    return frozenset(found for line in lines if (found := _name(line)) is not None)


def _name(line: str) -> str | None:
    """Return what a line of a requirement file asks for; None for an option or a comment, which uv judges."""
    try:
        return str(canonicalize_name(Requirement(line.partition("#")[0].strip()).name))
    except InvalidRequirement:
        return None


def requirement_file(folder: Path, name: str) -> Path:
    """Return a requirement file of the spec; raise ``SpecError`` where it is not there."""
    path = folder / name
    if not path.is_file():
        raise SpecError(f"The requirement file {path} does not exist.", remedy="Correct 'requirements' in the spec.")
    return path


def _platform(
    inputs: LockInputs, platform: Platform, base: Base, store: BlobStore, progress: Progress
) -> tuple[LockedPlatform, str]:
    python = image_python(base, platform)
    spec, held = inputs.spec, base.contents.distributions
    _check_feast(spec, held)
    if "feast" in held:
        constraints, source = uv.constraint_lines(held), "what the base image holds"
    else:
        release = feast_release.release_lock(spec.feast.version, python, store, progress=progress)
        constraints, source = (*release.pins, *uv.constraint_lines(held)), release.source
    auth = inputs.repo.config.auth
    extras = sorted({*spec.feast.extras, *extras_for(inputs.repo.config, servers=SERVERS, auth=auth)})
    wanted = Resolution(
        python,
        requirements=(f"feast[{','.join(extras)}]=={spec.feast.version}", *spec.packages),
        files=tuple(requirement_file(inputs.folder, name) for name in spec.requirements),
        constraints=tuple(constraints),
        wheels=inputs.folder / spec.wheels,
        pins=source,
    )
    found = uv.without(_resolved(wanted, inputs, platform), held)
    wheels = tuple(_locked(candidate) for candidate in found)
    row = LockedPlatform(
        platform=str(platform),
        python=python.full_version,
        glibc=".".join(map(str, python.glibc)),
        base_digest=str(base.image.descriptor.digest),
        base_packages=dict(sorted(base.contents.debian_packages.items())),
        wheels=wheels,
    )
    return row, source


def _check_feast(spec: BundleSpec, held: Mapping[str, str]) -> None:
    found = held.get("feast")
    if found is not None and found != spec.feast.version:
        raise SpecError(
            f"The base image holds Feast {found}, the spec asks for {spec.feast.version}.",
            remedy="Set feast.version to what the base holds, or choose another base.",
        )


def _resolved(wanted: Resolution, inputs: LockInputs, platform: Platform) -> Sequence[uv.Candidate]:
    """Resolve with the earlier lock's pins where they still fit, without them where they do not."""
    kept = _kept_pins(inputs, platform)
    if kept:
        try:
            return uv.resolve(replace(wanted, constraints=(*wanted.constraints, *kept)))
        except LockError:
            pass  # a requirement has moved past a pin: resolve anew
    return uv.resolve(wanted)


def _kept_pins(inputs: LockInputs, platform: Platform) -> tuple[str, ...]:
    if inputs.old is None or inputs.upgrade is None:
        return ()
    rows = [row for row in inputs.old.platforms if row.platform == str(platform)]
    pins = {wheel.name: wheel.version for row in rows for wheel in row.wheels if wheel.name not in inputs.upgrade}
    pins.pop("feast", None)
    return uv.constraint_lines(pins)


def _locked(candidate: uv.Candidate) -> LockedWheel:
    if candidate.local is not None:
        return candidate.locked_from_file()
    if candidate.size is None or not candidate.sha256:
        raise LockError(
            f"The package index gives no size or no SHA-256 of {candidate.filename}.",
            remedy="Use an index that speaks the JSON simple API (PEP 691), or put the wheel into 'wheels'.",
        )
    return candidate.locked(candidate.size)
