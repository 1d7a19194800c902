"""What is asked for by name, and what bounds it: the base image, and the versions that Feast was released with."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.effects import files
from bundler.effects.packages import local_projects
from bundler.effects.packages.feast_release import ReleaseLock
from bundler.effects.packages.index import index_options, masked
from bundler.errors import LockError, SpecError
from bundler.model.digest import Digest
from bundler.model.spec import BundleSpec
from bundler.steps.lock import addresses
from bundler.steps.lock.addresses import Address, AddressKind
from bundler.wheels.compatibility import ImagePython

_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION_OF_LINE = re.compile(r"\s--.*$")
_INCLUDED = re.compile(r"(?:-r|--requirement)(?:\s+|=)(\S+)$")

_CONSTRAINTS = re.compile(r"(?:-c|--constraints?)(?:\s+|=)(\S+)$")
_SAVE_AS_UTF8: Final = "Save it as UTF-8. In PowerShell: pip freeze | Out-File -Encoding utf8 requirements.txt"
_FILE_OPTION = re.compile(r"(-c|--constraints?|-f|--find-links)(?:\s+|=)(\S+)$")
_NAMED_FILE = re.compile(r"(?:-r|--requirement|-c|--constraints?)(?:\s+|=)([^\s#]+)")
_OF_CONDA = re.compile(r"([A-Za-z0-9._-]+)=([^=\s]+)(?:=\S+)?$")
_HASH = re.compile(r"--hash[=\s]sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class _Fault:
    """A fault of the versions ``found`` of a package that Feast's own locks pin; ``sound`` are taken instead."""

    found: SpecifierSet
    sound: str
    why: str


# Gunicorn 25.1 logs from a thread, that of its control socket, while it forks workers. A worker that is forked while
# that thread writes inherits the locked stderr and waits in its own first line, until the startup probe ends the server
# after two minutes. Seen in about one start in ten with 25.1.0 (Feast 0.61), never with 26.2.0 (Feast 0.67).
_FAULTS: Final = {"gunicorn": _Fault(SpecifierSet(">=25.1,<26"), "<25.1", "can hang when it starts")}


@dataclass(frozen=True)
class _Line:
    """A line of a requirement file, and where it is for people."""

    path: Path
    place: str
    text: str


@dataclass(frozen=True)
class Asked:
    """One requirement, and the file and line that ask for it."""

    requirement: Requirement
    place: str
    hashes: frozenset[str] = frozenset()
    """SHA-256 of the files that may be taken for it; empty: any."""

    @property
    def name(self) -> str:
        """The distribution's normalised name."""
        return str(canonicalize_name(self.requirement.name))

    def text(self) -> str:
        """Return the requirement without any address, which might hold a login."""
        url = self.requirement.url
        text = str(self.requirement) if url is None else f"{self.name} @ {Digest.of(masked(url).encode())}"
        return " ".join((text, *(f"--hash=sha256:{sha256}" for sha256 in sorted(self.hashes))))


@dataclass(frozen=True)
class Requirements:
    """All that a spec asks for.

    ``options`` are lines of requirement files that only uv reads, ``constraints`` those of files that they name by -c.
    """

    asked: tuple[Asked, ...]
    options: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    """What lines name by a place instead of a release."""
    flat: tuple[_Line, ...] = ()
    """All lines of all requirement files, those of included ones in their place."""

    @property
    def names(self) -> frozenset[str]:
        """Normalised names of what is asked for."""
        return frozenset(requirement.name for requirement in self.asked)

    @property
    def index_options(self) -> tuple[str, ...]:
        """The options that name indexes; they may hold logins."""
        return index_options(self.options)

    def lines(self) -> tuple[str, ...]:
        """Return what the lock records of them: sorted, each once, no address in it."""
        options = (f"option {Digest.of(masked(line).encode())}" for line in self.options)
        constraints = (f"constraint {Digest.of(masked(line).encode())}" for line in self.constraints)
        named = (requirement.text() for requirement in self.asked)
        return tuple(sorted({*named, *options, *constraints, *map(_recorded, self.addresses)}))

    @property
    def projects(self) -> tuple[Address, ...]:
        """The projects on this machine that wheels are built of."""
        return tuple(address for address in self.addresses if address.kind is AddressKind.PROJECT)

    def for_uv(self, wheels: Mapping[Address, Path]) -> tuple[str, ...]:
        """Return all lines such that uv reads them in any folder; ``wheels`` are those that were built of projects."""
        located = {address.place: address for address in self.addresses}
        return tuple(
            located[line.place].line(wheels.get(located[line.place])) if line.place in located else _absolute(line)
            for line in self.flat
        )

    def check_hashes(self, resolved: Mapping[str, str]) -> None:
        """Raise ``LockError`` where a file that was chosen (name -> SHA-256) is not allowed by a requirement.

        uv reads hashes and does not hold a resolution to them.
        """
        for requirement in self.asked:
            taken = resolved.get(requirement.name)
            if requirement.hashes and taken and taken not in requirement.hashes:
                raise LockError(
                    f"{requirement.place}: of {requirement.name} the index serves a file with SHA-256 {taken}, "
                    "which the requirement does not allow.",
                    remedy="Do not use it before you know why: the index may serve another file than the one reviewed.",
                )


@dataclass(frozen=True)
class Bounds:
    """Constraint lines, and for people where they come from.

    ``pins`` are versions among them that may give way, by name; ``fixed`` are the lines that may not.
    """

    lines: tuple[str, ...]
    source: str
    pins: Mapping[str, str] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()


def read(spec: BundleSpec, folder: Path, extras: Sequence[str]) -> Requirements:
    """Return what a spec in ``folder`` asks for, Feast with its extras included.

    Raises:
        SpecError: a requirement file is not there, or it is not a text.
    """
    feast = Requirement(f"feast[{','.join(sorted(extras))}]=={spec.feast.version}")
    asked = [Asked(feast, "feast.version of the spec")]
    asked += [Asked(Requirement(line), "packages of the spec") for line in spec.packages]
    asked += [Asked(Requirement(line), "sdists of the spec") for line in spec.sdists]
    lines = [line for name in spec.requirements for line in _lines(file(folder, name), name, frozenset())]
    located_or_refused = {
        line: addresses.parse(_OPTION_OF_LINE.sub("", line.text), line.place, line.path.parent) for line in lines
    }
    refused = tuple(address for address in located_or_refused.values() if isinstance(address, str))
    malformed = tuple(
        f"{line.place}: {why}"
        for line, place in located_or_refused.items()
        if not place and (why := _malformed(line.text))
    )
    if malformed:
        remedy = "Write each as NAME==VERSION, or as a path that begins with ./ (PEP 508)."
        raise SpecError("Requirements cannot be read.", remedy=remedy, details=(*malformed, *refused))
    if refused:
        raise SpecError("Requirements name addresses from which packages cannot be installed.", details=refused)
    located = {line: address for line, address in located_or_refused.items() if isinstance(address, Address)}
    parsed = [(_parsed(line.text), line) for line in lines if line not in located or _parsed(line.text)]
    asked += [
        Asked(requirement, line.place, frozenset(_HASH.findall(line.text)))
        for requirement, line in parsed
        if requirement is not None
    ]
    options = tuple(line.text for requirement, line in parsed if requirement is None)
    constraints = [text for line in lines for text in _constraints(line)]
    return Requirements(tuple(asked), options, tuple(constraints), tuple(located.values()), tuple(lines))


def _recorded(address: Address) -> str:
    """Return what the lock records of a place: not where it is, but what is there."""
    if address.kind is AddressKind.PROJECT and address.local:
        return f"project {address.local.name}{address.extras} {local_projects.fingerprint(address.local)}"
    return f"wheel {address.filename}"


def _absolute(line: _Line) -> str:
    """Return a line such that an option that names a file, relative to the requirement file, does so from anywhere."""
    match = _FILE_OPTION.match(line.text)
    if match and "://" not in match[2]:
        return f"{match[1]} {(line.path.parent / match[2]).absolute()}"
    return line.text


def _malformed(line: str) -> str:
    """Return what is wrong with a line that no tool reads as it was meant; what else is wrong is for uv to say."""
    if line.startswith("-") or "${" in line or _parsed(line) is not None:
        return ""
    shown = masked(line)
    if "\\" in line:
        return f"{shown!r} is a path of Windows. Write it with / instead"
    if match := _OF_CONDA.match(line):
        return f"{shown!r} is how conda lists packages. Write {match[1]}=={match[2]}"
    if line.endswith("/"):
        return f"{shown!r} is a folder. Write ./{line.rstrip('/')}"
    return ""


def _parsed(line: str) -> Requirement | None:
    try:
        return Requirement(_OPTION_OF_LINE.sub("", line))
    except InvalidRequirement:
        return None  # an option, or a mistake: that is for uv to judge


def file(folder: Path, name: str) -> Path:
    """Return a requirement file of the spec; raise ``SpecError`` where it is not there."""
    path = folder / name
    if not files.is_file(path):
        fault = "is not a file" if files.is_there(path) else "does not exist"
        raise SpecError(f"The requirement file {path} {fault}.", remedy="Correct 'requirements' in the spec.")
    return path


def files_of(spec: BundleSpec, folder: Path) -> Mapping[str, Path]:
    """Return the requirement files of a spec and all that they include by -r or -c, by their name beside the spec.

    What is not there or not a text is left out: ``read`` says so.
    """
    by_name: dict[str, Path] = {}
    todo = [(name, folder / name) for name in spec.requirements]
    while todo:
        name, path = todo.pop()
        if name in by_name:
            continue
        with suppress(SpecError):
            text = _text(path)
            by_name[name] = path
            named = (_NAMED_FILE.match(line.strip()) for line in text.splitlines())
            todo += [(_beside(name, match[1]), path.parent / match[1]) for match in named if match]
    return by_name


def _beside(name: str, other: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), other))


def _lines(path: Path, name: str, above: frozenset[Path]) -> Iterator[_Line]:
    """Yield each line that says something, those of included files too."""
    pending = ""
    for number, raw in enumerate(_text(path).splitlines(), start=1):
        text = pending + raw
        pending = text[:-1] if text.endswith("\\") else ""
        line = "" if pending else _COMMENT.sub("", text).strip()
        included = _INCLUDED.match(line)
        if not included:
            yield from [_Line(path, f"{name}:{number}", line)] if line else []
            continue
        other = path.parent / included[1]
        if files.is_file(other) and other.resolve() not in above:  # uv says what is wrong with it where it is not
            yield from _lines(other, included[1], above | {path.resolve()})


def _text(path: Path) -> str:
    """Return the text of a requirement file: pip and uv take UTF-8, and UTF-16 where its byte order mark says so."""
    text = files.read_text(path, "the requirement file", remedy=_SAVE_AS_UTF8, utf16=True)
    if "\0" in text:  # UTF-16 without its mark: every second byte is zero
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SpecError(
            f"Cannot read the requirement file {path}: it is not a text in UTF-8 (line {line} has the byte 0x00).",
            remedy=_SAVE_AS_UTF8,
        )
    return text


def _constraints(line: _Line) -> Iterator[str]:
    """Yield the lines of the constraint file that a line names, and those that it includes."""
    if (named := _CONSTRAINTS.match(line.text)) and files.is_file(other := line.path.parent / named[1]):
        yield from (inner.text for inner in _lines(other, named[1], frozenset()))


def bounds(wanted: Requirements, held: Mapping[str, str], release: ReleaseLock | None, python: ImagePython) -> Bounds:
    """Return what the resolution must keep to.

    What the base image holds stays as it is. A version that a Feast release was tested with gives way where somebody
    asks for another by name.

    Raises:
        LockError: a requirement contradicts the base, or the spec's version of Feast; all of them are named.
    """
    asked = [line for line in wanted.asked if python.satisfies(str(line.requirement.marker or ""))]
    kept = {name: public for name, version in held.items() if (public := _public(version)) is not None}
    _check(asked, kept)
    pins = {name: version for name, version in (release.pins if release else {}).items() if name not in kept}
    given_way = {line.name: line.place for line in asked if line.name in pins and not _allows(line, pins[line.name])}
    by_name = {line.name for line in asked}
    faulty = {
        name: fault
        for name, fault in _FAULTS.items()
        if name in pins and name not in by_name and pins[name] in fault.found
    }
    soft = {name: version for name, version in pins.items() if name not in given_way.keys() | faulty.keys()}
    fixed = {name: fault.sound for name, fault in faulty.items()}
    fixed |= {name: f"=={version}" for name, version in kept.items()}
    lines = {**{name: f"=={version}" for name, version in soft.items()}, **fixed}
    source = release.source if release else "what the base image holds"
    exceptions = {**given_way, **{name: f"{pins[name]} {fault.why}" for name, fault in faulty.items()}}
    if exceptions:
        source += f" (except {', '.join(f'{name}: {place}' for name, place in sorted(exceptions.items()))})"
    return Bounds(_sorted(lines), source, soft, _sorted(fixed))


def _sorted(lines: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}{lines[name]}" for name in sorted(lines))


def _public(version: str) -> str | None:
    """Return the version that an index may have: no local part, and none that is not PEP 440."""
    try:
        return Version(version).public
    except InvalidVersion:
        return None


def _allows(line: Asked, version: str) -> bool:
    return line.requirement.specifier.contains(version, prereleases=True)


def _check(asked: Sequence[Asked], held: Mapping[str, str]) -> None:
    feast = next(line for line in asked if line.name == "feast")
    (wanted,) = (specifier.version for specifier in feast.requirement.specifier)
    bound = {name: f"the base image holds {name} {version}" for name, version in held.items()}
    versions = {**held, "feast": wanted}
    bound["feast"] = f"the spec says feast.version {wanted}"
    problems = tuple(
        f"{line.place}: {line.text()}, but {bound[line.name]}"
        for line in asked
        if line.name in versions and not _allows(line, versions[line.name])
    )
    if problems:
        raise LockError(
            "A requirement contradicts the base image or the spec.",
            remedy="Change the requirement, or choose another base image: its packages are never replaced silently.",
            details=problems,
        )
