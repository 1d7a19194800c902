"""Diff: what one bundle brings that another does not, for whoever approves an upgrade."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from bundler.effects.archive.reader import Bundle
from bundler.errors import VerificationError
from bundler.model import layout, limits
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage, BundleManifest, FileEntry
from bundler.model.reference import ImageRef
from bundler.model.trust import UNCHECKED, Trust
from bundler.render import sbom_reader, text_diff
from bundler.render.sbom_reader import Component
from bundler.steps.bundle import verify

_TEXTS: Final = (layout.MANIFESTS, layout.BUILD)
_Pair: TypeAlias = "tuple[str, FileEntry | None, FileEntry | None]"
# What differs wherever anything does, or is told in another way.
_DERIVED: Final = frozenset(
    {
        layout.OCI_LAYOUT,
        layout.INDEX,
        layout.README,
        layout.IMAGES,
        layout.CHECKLIST_HTML,
        layout.CHECKLIST_JSON,
        layout.CHECKLIST_MARKDOWN,
        layout.LOCK,
    }
)


@dataclass(frozen=True)
class Change:
    """Something that is not the same in both; ``old`` or ``new`` is empty where a bundle does not have it."""

    name: str
    old: str
    new: str

    @property
    def mark(self) -> str:
        """``+`` for what is new, ``-`` for what is gone, ``~`` for what changed."""
        return "+" if not self.old else "-" if not self.new else "~"

    def to_json(self) -> dict[str, Json]:
        """Return the change for scripts."""
        return {"name": self.name, "old": self.old, "new": self.new}


@dataclass(frozen=True)
class TextChange(Change):
    """A changed text; ``old`` and ``new`` are digests, ``patch`` is a unified diff."""

    patch: tuple[str, ...]

    @property
    def added(self) -> int:
        """How many lines are new."""
        return sum(line.startswith("+") for line in self.patch[2:])

    @property
    def removed(self) -> int:
        """How many lines are gone."""
        return sum(line.startswith("-") for line in self.patch[2:])

    def to_json(self) -> dict[str, Json]:
        """Return the change for scripts."""
        return {**super().to_json(), "patch": "".join(f"{line}\n" for line in self.patch)}


@dataclass(frozen=True)
class Side:
    """One of the two bundles; ``digest`` is that of its ``bundle.json``."""

    path: Path
    digest: Digest
    manifest: BundleManifest

    @property
    def blobs(self) -> Mapping[str, int]:
        """What the bundle's images need: path -> size in bytes, also of what a delta leaves to another bundle."""
        return {**self.manifest.blobs, **self.left_out}

    @property
    def left_out(self) -> Mapping[str, int]:
        """What a delta leaves to another bundle: path -> size in bytes."""
        return {layout.blob(digest): blob.size for digest, blob in self.manifest.left_out.items()}

    def to_json(self) -> dict[str, Json]:
        """Return what it is, for scripts."""
        manifest = self.manifest
        return {
            "file": str(self.path),
            "digest": str(self.digest),
            "name": manifest.name,
            "version": manifest.version,
            "tool": manifest.tool,
            "created": manifest.created_text,
            "base": manifest.base.brief() if manifest.base else None,
        }


@dataclass(frozen=True)
class Difference:
    """How two bundles differ.

    ``packages`` are what bills of materials name, by the name of the bill: ``pypi/feast``, ``deb/debian/libc6``, files
    of the feature repo by their digests.
    """

    old: Side
    new: Side
    images: tuple[Change, ...]
    packages: Mapping[str, tuple[Change, ...]]
    texts: tuple[TextChange, ...]
    files: tuple[Change, ...]

    @property
    def new_blobs(self) -> Mapping[str, int]:
        """What only the new bundle holds, path -> size in bytes: what its push sends where the old one was pushed."""
        return self._unknown(self.new.manifest.blobs)

    @property
    def lacking(self) -> Mapping[str, int]:
        """What the new bundle, a delta, leaves to another one than the old: path -> size in bytes."""
        return self._unknown(self.new.left_out)

    def _unknown(self, blobs: Mapping[str, int]) -> Mapping[str, int]:
        known = self.old.blobs
        return {path: size for path, size in blobs.items() if path not in known}

    def to_json(self) -> dict[str, Json]:
        """Return the difference for scripts."""
        blobs, fresh = self.new.blobs, self.new_blobs
        return {
            "old": self.old.to_json(),
            "new": self.new.to_json(),
            "identical": self.old.digest == self.new.digest,
            "images": [entry.to_json() for entry in self.images],
            "packages": {bill: [entry.to_json() for entry in changes] for bill, changes in self.packages.items()},
            "texts": [entry.to_json() for entry in self.texts],
            "files": [entry.to_json() for entry in self.files],
            "blobs": len(blobs),
            "blobsSize": sum(blobs.values()),
            "newBlobs": len(fresh),
            "newBlobsSize": sum(fresh.values()),
            "lackingBlobs": len(self.lacking),
        }


def run(old: Path, new: Path, trust: Trust = UNCHECKED) -> Difference:
    """Compare what two bundles say of themselves, and the files in which they say it; no blob is read.

    Raises:
        UsageError: there is no such file.
        VerificationError: one is not a bundle, or anything but the bytes of its layers is damaged.
    """
    with Bundle.open(old, trust) as old_bundle, Bundle.open(new, trust) as new_bundle:
        verify.require_metadata(old_bundle)
        verify.require_metadata(new_bundle)
        pairs = tuple(_pairs(old_bundle.manifest, new_bundle.manifest))
        return Difference(
            _side(old_bundle),
            _side(new_bundle),
            images=_changes(_images(old_bundle.manifest), _images(new_bundle.manifest)),
            packages=dict(_packages(old_bundle, new_bundle, pairs)),
            texts=tuple(_texts(old_bundle, new_bundle, pairs)),
            files=tuple(
                Change(path, _digest(before), _digest(after))
                for path, before, after in pairs
                if path not in _DERIVED and not path.startswith((*_TEXTS, layout.SBOM, layout.PROVENANCE, layout.BLOBS))
            ),
        )


def _side(bundle: Bundle) -> Side:
    return Side(bundle.path, Digest.of(bundle.read(layout.MANIFEST)), bundle.manifest)


def _pairs(old: BundleManifest, new: BundleManifest) -> Iterator[_Pair]:
    """Yield the files that are not the same in both, by path."""
    before = {entry.path: entry for entry in old.files}
    after = {entry.path: entry for entry in new.files}
    for path in sorted(before.keys() | after.keys(), key=layout.order):
        if _digest(before.get(path)) != _digest(after.get(path)):
            yield path, before.get(path), after.get(path)


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Change, ...]:
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return tuple(Change(name, old.get(name, ""), new.get(name, "")) for name in names)


def _images(manifest: BundleManifest) -> dict[str, str]:
    """Return each image's name without registry and tag -> tags and digests that it has there."""
    by_name: dict[str, list[str]] = {}
    for image in manifest.images:
        name, pinned = _named(manifest, image)
        by_name.setdefault(name, []).append(pinned)
    return {name: ", ".join(sorted(pinned)) for name, pinned in by_name.items()}


def _named(manifest: BundleManifest, image: BundledImage) -> tuple[str, str]:
    text = image.internal or image.reference
    try:
        reference = ImageRef.parse(text)
    except ValueError:
        return text, str(image.root.digest)
    pinned = f"{reference.tag}@{image.root.digest}" if reference.tag else str(image.root.digest)
    return reference.name.removeprefix(f"{manifest.registry}/"), pinned


def _packages(old: Bundle, new: Bundle, pairs: Sequence[_Pair]) -> Iterator[tuple[str, tuple[Change, ...]]]:
    for path, before, after in pairs:
        if path.startswith(layout.SBOM) and path != layout.BUNDLE_BILL:  # its images are compared by themselves
            name = PurePosixPath(path).name.removesuffix(".json").removesuffix(".cdx")
            yield name, tuple(_shown(_bill(old, before), _bill(new, after)))


def _shown(old: Mapping[str, Component], new: Mapping[str, Component]) -> Iterator[Change]:
    """Yield what is not the same in two bills: by version, or by what else tells them apart where that is the same."""
    nothing = Component("", "")
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, nothing), new.get(name, nothing)
        if before.version != after.version:
            yield Change(name, before.version, after.version)
        elif before != after:
            yield Change(
                name, f"{before.version} {before.identity}".strip(), f"{after.version} {after.identity}".strip()
            )


def _bill(bundle: Bundle, entry: FileEntry | None) -> Mapping[str, Component]:
    if entry is None:
        return {}
    try:
        return sbom_reader.components(_content(bundle, entry))
    except ValueError as error:
        raise VerificationError(
            f"{entry.path} in the bundle {bundle.path} cannot be read: {error}.",
            remedy="Copy the bundle again, then run: bundler verify BUNDLE",
        ) from error


def _texts(old: Bundle, new: Bundle, pairs: Sequence[_Pair]) -> Iterator[TextChange]:
    left = limits.DIFF_LINES
    for path, before, after in pairs:
        if path.startswith(_TEXTS):
            contents = [_content(bundle, entry) if entry else b"" for bundle, entry in ((old, before), (new, after))]
            left -= sum(content.count(b"\n") for content in contents)
            if left < 0:
                patch = [f"--- a/{path}", f"+++ b/{path}", f" not compared: after {limits.DIFF_LINES} lines in all"]
            else:
                lines, other = (_lines(content.decode(errors="backslashreplace")) for content in contents)
                patch = "\n".join(text_diff.unified(lines, other, f"a/{path}", f"b/{path}")).split("\n")
            yield TextChange(path, _digest(before), _digest(after), tuple(patch))


def _lines(text: str) -> list[str]:
    """Return the lines of a text as patches count them: only a line feed ends a line."""
    lines = text.split("\n")
    if last := lines.pop():
        lines.append(f"{last}\n\\ No newline at end of file")
    return lines


def _content(bundle: Bundle, entry: FileEntry) -> bytes:
    content = bundle.read(entry.path)
    if Digest.of(content) != entry.digest:
        raise VerificationError(
            f"{entry.path} in the bundle {bundle.path} is damaged: its digest should be {entry.digest}.",
            remedy="Copy the bundle again: bundler verify says what else is damaged.",
        )
    return content


def _digest(entry: FileEntry | None) -> str:
    return str(entry.digest) if entry else ""
