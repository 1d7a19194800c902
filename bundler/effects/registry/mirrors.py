"""Where else an image may be read: mirrors of the spec and of the host's ``registries.conf``; pure but for the files.

Connected half: reads TOML, which CPython 3.10 cannot by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bundler.effects import files, user_config
from bundler.errors import UsageError
from bundler.model.descriptor import Json
from bundler.model.json_document import rows, text
from bundler.model.reference import ImageRef


@dataclass(frozen=True)
class Rule:
    """References below ``prefix`` (a host, or host and path) are read from ``locations``, in this order.

    ``insecure`` locations may speak plain HTTP, or TLS that is not verified. ``last`` is where to look when none of
    them has it; None: nowhere, the registry is blocked.
    """

    prefix: str
    locations: tuple[Location, ...] = ()
    last: Location | None = None


@dataclass(frozen=True)
class Location:
    """What a rule's prefix is replaced by."""

    path: str
    insecure: bool = False
    only_digests: bool = False


@dataclass(frozen=True)
class PullLocation:
    """One place to read an image from, and whether it is the place that the reference itself names."""

    reference: ImageRef
    insecure: bool
    own: bool


def sources(reference: ImageRef, rules: Iterable[Rule]) -> Iterator[PullLocation]:
    """Yield the places to try, the reference's own last; of several rules that fit, the first longest counts.

    Raises:
        UsageError: ``registries.conf`` blocks the registry.
    """
    fitting = [rule for rule in rules if _fits(rule.prefix, reference)]
    if not fitting:
        yield PullLocation(reference, insecure=False, own=True)
        return
    rule = max(fitting, key=lambda rule: len(rule.prefix))
    for location in rule.locations:
        if reference.digest or not location.only_digests:
            yield PullLocation(_moved(reference, rule.prefix, location.path), location.insecure, own=False)
    if rule.last is None:
        raise UsageError(
            f"The host's registries.conf blocks {rule.prefix}, so {reference} cannot be read.",
            remedy="Give a mirror for it ('mirrors' in the spec), or unblock it.",
        )
    yield PullLocation(_moved(reference, rule.prefix, rule.last.path), rule.last.insecure, own=True)


def _fits(prefix: str, reference: ImageRef) -> bool:
    if prefix.startswith("*."):  # containers-registries.conf(5): any subdomain
        return reference.registry.endswith(prefix[1:])
    return reference.name == prefix or reference.name.startswith(f"{prefix}/")


def _moved(reference: ImageRef, prefix: str, path: str) -> ImageRef:
    kept = reference.repository if prefix.startswith("*.") else reference.name[len(prefix) :]
    host, _, rest = f"{path.rstrip('/')}/{kept.strip('/')}".rstrip("/").partition("/")
    return replace(reference, registry=host, repository=rest)


def of_spec(mirrors: Iterable[tuple[str, str, bool]]) -> tuple[Rule, ...]:
    """Make rules of (source, location, insecure); several for one source are tried in their order."""
    by_source: dict[str, tuple[Location, ...]] = {}
    for source, location, insecure in mirrors:
        by_source[source] = (*by_source.get(source, ()), Location(location, insecure))
    return tuple(Rule(source, locations, Location(source)) for source, locations in by_source.items())


def of_host(environment: Mapping[str, str]) -> tuple[Rule, ...]:
    """Read the host's configuration (containers-registries.conf(5)): the user's file or the system's, and drop-ins.

    Raises:
        UsageError: a file is not TOML.
    """
    rules: dict[str, Rule] = {}
    for path in _files(environment):
        for rule in _read(path):
            rules[rule.prefix] = rule  # a later file overrides an earlier one
    return tuple(rules.values())


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    if named := environment.get("CONTAINERS_REGISTRIES_CONF"):
        yield Path(named)
        return
    system, user = Path("/etc/containers"), user_config.containers(environment)
    own = user / "registries.conf" if user else None
    yield own if own and own.exists() else system / "registries.conf"
    for folder in (system, user):
        if folder:
            yield from sorted((folder / "registries.conf.d").glob("*.conf"))


def _read(path: Path) -> Iterator[Rule]:
    from bundler.model import toml_document  # noqa: PLC0415  (CPython 3.10 has no tomllib)

    try:
        value = toml_document.parse(files.read_bytes(path).decode())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"Cannot read the registries configuration {path}: {reason}.",
            remedy="Correct it; containers-registries.conf(5) has its form.",
        ) from error
    for row in rows(value.get("registry")):
        yield from _rule(row)


def _rule(row: Mapping[str, Json]) -> Iterator[Rule]:
    location = text(row.get("location"))
    prefix = text(row.get("prefix")) or location
    if not prefix:
        return
    digests = row.get("mirror-by-digest-only") is True
    locations = tuple(
        Location(
            text(mirror.get("location")),
            mirror.get("insecure") is True,
            digests or mirror.get("pull-from-mirror") == "digest-only",
        )
        for mirror in rows(row.get("mirror"))
        if text(mirror.get("location"))
    )
    own = Location(location or prefix, row.get("insecure") is True)
    if own.path.startswith("*."):
        own = replace(own, path=prefix)
    yield Rule(prefix, locations, None if row.get("blocked") is True else own)
