"""BundleManifest: the description of a bundle in ``bundle.json``, the only file that is signed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.errors import VerificationError
from bundler.model import json_document, layout, limits
from bundler.model.delta import BaseBundle, LeftOut
from bundler.model.descriptor import Descriptor, Json, is_size
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef, is_registry

FORMAT: Final = 1
DELTA_FORMAT: Final = 2
"""Format of a delta; programs that know only format 1 must not take a delta for a full bundle."""

# What containers/image (skopeo, podman) takes as a name in a layout; image names may be a little freer.
_LAYOUT_NAME = re.compile(
    r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*"
)

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_TEXT = re.compile(r"[ -~]{0,400}")


@dataclass(frozen=True)
class BundledImage:
    """An image of the bundle.

    ``reference`` is the name it is known by (of its source; of the internal registry for a baked one), ``internal``
    the name by which the manifests of the bundle pull it, ``size`` the bytes of all its blobs over all platforms,
    manifests included. ``source_digest`` is what its source calls it where platforms were left out; else it is the
    digest of ``root``.
    """

    reference: str
    role: str
    root: Descriptor
    platforms: tuple[Platform, ...]
    size: int
    internal: str = ""
    source_digest: Digest | None = None

    @property
    def pinned(self) -> str:
        """The name in the internal registry, by tag and digest: as manifests say it."""
        return f"{self.internal}@{self.root.digest}"

    @property
    def layout_name(self) -> str:
        """The name of its entry in ``index.json``: ``skopeo inspect oci-archive:BUNDLE:NAME``."""
        if _LAYOUT_NAME.fullmatch(self.reference):
            return self.reference
        # Doubled separators ("a__b") are names to registries but not to skopeo; the digest keeps the short form unique.
        return re.sub(r"([^A-Za-z0-9/])[^A-Za-z0-9/]+", r"\1", self.reference) + f"-{self.root.digest.short}"

    def to_json(self) -> dict[str, Json]:
        """Return the image as ``bundle.json`` spells it."""
        value: dict[str, Json] = {
            "reference": self.reference,
            "role": self.role,
            "root": self.root.to_json(),
            "platforms": [str(platform) for platform in self.platforms],
            "size": self.size,
            "internal": self.internal,
        }
        if self.source_digest:
            value["sourceDigest"] = str(self.source_digest)
        return value

    @classmethod
    def from_json(cls, value: Json) -> BundledImage:
        """Read an image; raise ``ValueError`` where it is malformed."""
        source = value.get("sourceDigest") if isinstance(value, dict) else None
        match value:
            case {
                "reference": str(reference),
                "role": str(role),
                "root": root,
                "platforms": list(platforms),
                "size": int(size),
                "internal": str(internal),
            } if is_size(size):
                return cls(
                    reference,
                    role,
                    Descriptor.from_json(root),
                    tuple(_platform(platform) for platform in platforms),
                    size,
                    internal,
                    Digest.parse(source) if isinstance(source, str) else None,
                )
        raise ValueError(f"not an image: {value!r:.200}")


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle; ``size`` in bytes."""

    path: str
    role: str
    size: int
    digest: Digest

    def to_json(self) -> dict[str, Json]:
        """Return the file as ``bundle.json`` spells it."""
        return {"path": self.path, "role": self.role, "size": self.size, "digest": str(self.digest)}

    @classmethod
    def from_json(cls, value: Json) -> FileEntry:
        """Read a file; raise ``ValueError`` where it is malformed."""
        match value:
            case {"path": str(path), "role": str(role), "size": int(size), "digest": str(digest)} if is_size(size):
                layout.check_path(path)
                return cls(path, role, size, Digest.parse(digest))
        raise ValueError(f"not a file: {value!r:.200}")


@dataclass(frozen=True)
class BundleManifest:
    """The whole of ``bundle.json``: every file of the bundle, and what its images are.

    ``files`` are in the order in which they lie in the bundle (``layout.order``) and leave out only
    ``layout.UNLISTED``. ``created`` is in seconds since 1970 and the time of every file. ``registry`` is the
    HOST[:PORT][/PREFIX] that the bundle's manifests pull from; pushing elsewhere replaces exactly that. ``base`` is
    what a delta leaves to another bundle, None where the bundle is whole.
    """

    name: str
    version: str
    tool: str
    created: int
    images: tuple[BundledImage, ...]
    files: tuple[FileEntry, ...]
    registry: str = ""
    base: BaseBundle | None = None

    @property
    def blobs(self) -> Mapping[str, int]:
        """The blobs in the bundle, shared ones once: path -> size in bytes."""
        return {entry.path: entry.size for entry in self.files if layout.blob_digest(entry.path)}

    @property
    def left_out(self) -> Mapping[Digest, LeftOut]:
        """Blobs that images need and that another bundle brings."""
        return self.base.blobs if self.base else {}

    def to_bytes(self) -> bytes:
        """Return the canonical form: names sorted, ASCII, a line a value, so that two bundles can be compared."""
        value: dict[str, Json] = {
            "format": DELTA_FORMAT if self.base else FORMAT,
            "name": self.name,
            "version": self.version,
            "tool": self.tool,
            "created": self.created,
            "registry": self.registry,
            "images": [image.to_json() for image in self.images],
            "files": [entry.to_json() for entry in self.files],
        }
        if self.base:
            value["base"] = self.base.to_json()
        return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def parse(cls, content: bytes) -> BundleManifest:
        """Read ``bundle.json``.

        Raises:
            VerificationError: it is too large, malformed, of a later format, lists a file twice or out of order, or
                is not in its canonical form, in which alone it can mean only one thing.
        """
        try:
            return cls._from_json(json_document.parse(content, "it", size=limits.BUNDLE_MANIFEST_SIZE), content)
        except ValueError as error:
            raise VerificationError(
                f"{layout.MANIFEST} cannot be read: {error}.", remedy="Copy the bundle again from where it was built."
            ) from error

    @classmethod
    def _from_json(cls, value: Json, content: bytes) -> BundleManifest:
        if isinstance(value, dict) and value.get("format", FORMAT) not in (FORMAT, DELTA_FORMAT):
            raise ValueError(
                f"it has the format {value['format']!r:.20}, this program reads up to {DELTA_FORMAT}; "
                f"use the bundle's own {layout.OFFLINE_PROGRAM}"
            )
        base = value.get("base") if isinstance(value, dict) else None
        match value:
            case {
                "name": str(name),
                "version": str(version),
                "tool": str(tool),
                "created": int(created),
                "registry": str(registry),
                "images": list(images),
                "files": list(files),
            }:
                if isinstance(created, bool) or not 0 <= created <= limits.LATEST_TIME:
                    raise ValueError(f"'created' is {created}, which no header of a tar can say")
                if len(images) > limits.BUNDLE_IMAGES:
                    raise ValueError(f"it lists {len(images)} images, more than {limits.BUNDLE_IMAGES}")
                if len(files) > limits.BUNDLE_FILES:
                    raise ValueError(f"it lists {len(files)} files, more than {limits.BUNDLE_FILES}")
                manifest = cls(
                    name,
                    version,
                    tool,
                    created,
                    tuple(BundledImage.from_json(image) for image in images),
                    tuple(FileEntry.from_json(entry) for entry in files),
                    registry,
                    BaseBundle.from_json(base) if base is not None else None,
                )
                manifest.check()
                # Each meaning has one form: a second value for a name or an unknown property must not pass.
                if manifest.to_bytes() != content:
                    raise ValueError(
                        "it is not in its canonical form, or has a property that its format does not define"
                    )
                return manifest
        raise ValueError("it lacks a property, or one has the wrong type")

    def check(self) -> None:
        """Raise ``ValueError`` for a file or name that occurs twice, files out of order, or unsafe texts."""
        paths = [entry.path for entry in self.files]
        for before, after in itertools.pairwise(paths):
            if layout.order(before) >= layout.order(after):
                raise ValueError(f"the file {after} is listed twice or out of order")
        if unlistable := set(filter(layout.unlisted, paths)):
            raise ValueError(f"it lists {min(unlistable)}, which is written after it")
        if both := {layout.blob(digest) for digest in self.left_out}.intersection(paths):
            raise ValueError(f"it lists {min(both)} as a file, and as a blob that the base bundle brings")
        _check_names((*layout.UNLISTED, *paths))
        texts = [self.name, self.version, self.tool, self.registry, *(entry.role for entry in self.files)]
        for image in self.images:
            if image.root.annotations:
                raise ValueError(
                    f"the image {image.reference!r:.200} has annotations, which belong into {layout.INDEX}"
                )
            texts += [image.reference, image.role, image.internal, image.root.media_type, *_parts(image.root.platform)]
        if unprintable := [text for text in texts if not _TEXT.fullmatch(text)]:
            raise ValueError(f"it has a text that is too long or has control characters: {unprintable[0]!r:.100}")
        self._check_types()
        names = [image.layout_name for image in self.images]
        if len(set(names)) != len(names):
            raise ValueError(f"two images have the same name: {', '.join(sorted(names))}")

    def _check_types(self) -> None:
        """Hold what reaches programs, registries and file names to the form that a spec allows."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"its name is not a DNS label: {self.name!r:.100}")
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f"its version cannot be the tag of an image: {self.version!r:.100}")
        if self.registry and not is_registry(self.registry):
            raise ValueError(f"its registry is not HOST[:PORT][/PREFIX]: {self.registry!r:.100}")
        for image in self.images:
            if image.internal:
                ImageRef.parse(image.internal)

    @property
    def file_name(self) -> str:
        """The name of the bundle's file."""
        return layout.file_name(self.name, self.version)

    @property
    def created_text(self) -> str:
        """The time at which the bundle was made (RFC 3339, UTC)."""
        return _utc(self.created)


def _utc(epoch: int) -> str:
    import datetime as dt  # noqa: PLC0415  (start-up time of the offline program)

    return dt.datetime.fromtimestamp(epoch, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_names(paths: Iterable[str]) -> None:
    """Raise ``ValueError`` for two names that are one on a disk, also on one that ignores case, or file and folder."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        known = files.setdefault(path.lower(), path)
        folder = path.rpartition("/")[0]
        if known != path:
            raise ValueError(f"{known} and {path} are one file on some disks")
        # Where a folder is known, those that it lies in are, too.
        while folder and folder.lower() not in folders:
            folders[folder.lower()] = folder
            folder = folder.rpartition("/")[0]
        if folder and folders[folder.lower()] != folder:
            raise ValueError(f"{folders[folder.lower()]} and {folder} are one folder on some disks")
    if both := files.keys() & folders.keys():
        raise ValueError(f"{files[min(both)]} is both a file and a folder")


def _parts(platform: Platform | None) -> tuple[str, ...]:
    return (platform.os, platform.architecture, platform.variant) if platform else ()


def _platform(text: Json) -> Platform:
    if not isinstance(text, str):
        raise ValueError(f"not a platform: {text!r:.100}")  # noqa: TRY004  (a malformed document)
    return Platform.parse(text)
