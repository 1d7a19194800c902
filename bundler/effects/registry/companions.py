"""What a registry keeps beside an image: cosign's tags, and what refers to its manifests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bundler.effects.registry import parallel
from bundler.effects.registry.faults import transient
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.retry import Cancellation
from bundler.errors import RegistryError
from bundler.model import limits, media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.oci import document, manifest
from bundler.oci.index import Index
from bundler.oci.manifest import RawManifest

# What cosign puts beside an image, by tag: signatures, attestations, bills of materials.
_SUFFIXES = ("sig", "att", "sbom")


@dataclass(frozen=True)
class FoundCompanion:
    """A signature or another artifact, or an index of several, that belongs to a manifest; found by its tag."""

    tag: str
    root: RawManifest
    children: tuple[RawManifest, ...] = ()


@dataclass(frozen=True)
class UnknownCompanions:
    """The registry did not say whether something is there; ``reason`` is a sentence. ``passes``: it may say later."""

    reason: str
    passes: bool = False


def find(home: Repository, subject: Digest) -> Iterator[FoundCompanion | UnknownCompanions]:
    """Yield what belongs to a manifest, whether that is here or not."""
    for suffix in _SUFFIXES:
        tag = f"sha256-{subject.hex}.{suffix}"
        outcome = _tagged(home, tag)
        if isinstance(outcome, UnknownCompanions):
            yield outcome
        elif outcome and _is_artifact(outcome):
            yield FoundCompanion(tag, outcome)
    yield from _referrers(home, subject)


def find_all(
    home: Repository, subjects: Iterable[Digest], *, workers: int, cancellation: Cancellation
) -> tuple[FoundCompanion | UnknownCompanions, ...]:
    """Return what belongs to manifests, and what belongs to that in turn: a bill of materials may be signed."""
    outcomes_of_all: list[FoundCompanion | UnknownCompanions] = []
    following = tuple(subjects)
    for _ in range(limits.COMPANION_DEPTH):
        each = parallel.each(
            following, lambda subject: tuple(find(home, subject)), workers=workers, cancellation=cancellation
        )
        outcomes = tuple(outcome for of_one in each for outcome in of_one)
        outcomes_of_all += outcomes
        following = _artifacts(outcomes)
        if not following:
            return tuple(outcomes_of_all)
    reason = f"only {limits.COMPANION_DEPTH} levels of what refers to each other are looked through"
    return (*outcomes_of_all, UnknownCompanions(reason))


def _artifacts(outcomes: Iterable[FoundCompanion | UnknownCompanions]) -> tuple[Digest, ...]:
    """Return the manifests that were found, each once; an index of them was made here, and nobody refers to it."""
    digests: list[Digest] = []
    for outcome in outcomes:
        if isinstance(outcome, FoundCompanion):
            digests += (raw.descriptor.digest for raw in outcome.children or (outcome.root,))
    return tuple(dict.fromkeys(digests))


def _tagged(home: Repository, tag: str) -> RawManifest | UnknownCompanions | None:
    """Return what has a tag, None where the registry says that nothing has."""
    try:
        return home.manifest(tag) if home.find_manifest(tag) else None
    except RegistryError as error:
        return _unknown(error)


def _unknown(error: RegistryError) -> UnknownCompanions:
    return UnknownCompanions(error.problem, passes=transient(error))


def _is_artifact(raw: RawManifest) -> bool:
    """Tell whether this is an artifact, and not an image that somebody tagged with a digest (GitLab does)."""
    try:
        return manifest.parse(raw.content, raw.descriptor.media_type).is_artifact
    except ValueError:
        return False


def _referrers(home: Repository, subject: Digest) -> Iterator[FoundCompanion | UnknownCompanions]:
    """Yield an index of what refers to a manifest, as registries without a referrers API keep it under a tag."""
    try:
        listed = home.referrers(subject)
    except RegistryError as error:
        yield _unknown(error)
        return
    yield from map(UnknownCompanions, listed.unread)
    rows: list[Descriptor] = []
    children: list[RawManifest] = []
    for row in listed.listed:
        if row.media_type not in media_types.MANIFESTS_AND_INDEXES:
            continue
        outcome = _child(home, row.digest)
        if isinstance(outcome, UnknownCompanions):
            yield outcome
        elif refers_to(outcome, subject):
            rows.append(_row(row, outcome))
            children.append(outcome)
    if rows:
        index = Index(tuple(sorted(rows, key=lambda row: row.digest)))
        root = RawManifest(index.descriptor, index.to_bytes())
        yield FoundCompanion(f"sha256-{subject.hex}", root, tuple(children))


def _child(home: Repository, digest: Digest) -> RawManifest | UnknownCompanions:
    try:
        return home.manifest(digest)
    except RegistryError as error:
        return _unknown(error)


def refers_to(raw: RawManifest, subject: Digest) -> bool:
    """Tell whether a manifest says that it belongs to another: the index under a tag may be of something else."""
    pointed = document.parse(raw.content, "the manifest").get("subject")
    return isinstance(pointed, dict) and pointed.get("digest") == str(subject)


def _row(listed: Descriptor, raw: RawManifest) -> Descriptor:
    """Return the descriptor as a referrers API would: with the type of the artifact, and its annotations."""
    value = document.parse(raw.content, "the manifest")
    config = value.get("config")
    kind = value.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    annotations = value.get("annotations")
    own = (
        {key: text for key, text in annotations.items() if isinstance(text, str)}
        if isinstance(annotations, dict)
        else {}
    )
    return replace(
        raw.descriptor,
        annotations={**own, **listed.annotations},
        artifact_type=kind if isinstance(kind, str) else listed.artifact_type,
    )


def reasons(outcomes: Iterable[FoundCompanion | UnknownCompanions]) -> tuple[str, ...]:
    """Return what the registry did not say, each sentence once."""
    return tuple(dict.fromkeys(outcome.reason for outcome in outcomes if isinstance(outcome, UnknownCompanions)))
