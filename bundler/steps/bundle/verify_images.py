"""Verify that the images of a bundle are complete: every pointer leads to a blob of the announced kind and size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bundler.effects.archive.reader import Bundle
from bundler.errors import VerificationError
from bundler.model import layout
from bundler.model.delta import BaseBundle, LeftOut
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Status
from bundler.model.manifest import BundledImage, BundleManifest
from bundler.model.plain_text import plain
from bundler.oci import bundle_index, document, graph

_BUILD_AGAIN: Final = "Copy the bundle again from where it was built; if that one has the same fault, build it again."


def check(bundle: Bundle, manifest: BundleManifest) -> Iterator[Finding]:
    """Yield a finding for each image and fault. Digests of layers are computed elsewhere, with those of all files."""
    yield from _layout(bundle)
    named = {image.layout_name: image.root for image in manifest.images}
    indexed, problem = _roots(bundle)
    if problem or indexed != named:
        details = [
            f"{name}: {named.get(name, _NONE)} and {indexed.get(name, _NONE)}" for name in _differing(named, indexed)
        ]
        yield _fault(f"{layout.INDEX} names other images than {layout.MANIFEST}", *([problem] if problem else details))
    reached: set[Digest] = set()
    for image in manifest.images:
        yield _image(bundle, image, reached, manifest.left_out)
    unreached = [path for path in bundle.known if (blob := layout.blob_digest(path)) and blob not in reached]
    for path in unreached:
        yield _fault(f"{path} belongs to no image")
    if manifest.base:
        for digest in manifest.left_out.keys() - reached:
            yield _fault(f"{digest} is left to {manifest.base}, and belongs to no image")
        yield _delta(manifest.base)


def _delta(base: BaseBundle) -> Finding:
    title = plain(f"It is a delta: {len(base.blobs)} blobs, {base.size} bytes, are only in {base}")
    remedy = "Verify that bundle, too. A push proves that the registry has what is left out, before it sends anything."
    return Finding("base", title, Status.MANUAL, (f"{layout.MANIFEST} of {base}: {base.digest}",), remedy)


_NONE: Final = "none"


def _fault(title: str, *evidence: str) -> Finding:
    return Finding("images", plain(title), Status.FAIL, tuple(map(plain, evidence)), _BUILD_AGAIN)


def _layout(bundle: Bundle) -> Iterator[Finding]:
    content = bundle.read(layout.OCI_LAYOUT) if layout.OCI_LAYOUT in bundle.known else b""
    if content != layout.LAYOUT_VERSION:
        yield _fault(f"{layout.OCI_LAYOUT} is not that of an image layout", repr(content[:80]))


def _roots(bundle: Bundle) -> tuple[Mapping[str, Descriptor], str]:
    if layout.INDEX not in bundle.known:
        return {}, f"{layout.INDEX} is missing"
    try:
        return bundle_index.roots(bundle.read(layout.INDEX)), ""
    except (ValueError, VerificationError) as error:
        return {}, str(error)


def _differing(expected: Mapping[str, Descriptor], indexed: Mapping[str, Descriptor]) -> list[str]:
    return sorted(name for name in expected.keys() | indexed.keys() if expected.get(name) != indexed.get(name))


def _image(bundle: Bundle, image: BundledImage, reached: set[Digest], left_out: Mapping[Digest, LeftOut]) -> Finding:
    def read(descriptor: Descriptor) -> bytes:
        path = layout.blob(descriptor.digest)
        if path not in bundle.known:
            raise FileNotFoundError(f"{descriptor.digest} ({descriptor.media_type}) is missing")
        if bundle.known[path].size > document.LIMIT:
            raise ValueError(f"{descriptor.digest} is too large for a document")
        return bundle.read(path)

    below = graph.below(image.root, read)
    reached.update(blob.digest for blob in below.blobs)
    problems = [*below.problems, *_sizes(bundle, below.blobs, left_out)]
    if not problems and below.size != image.size:
        problems.append(f"its blobs have {below.size} bytes, {layout.MANIFEST} says {image.size}")
    if not problems and sorted(below.platforms) != sorted(image.platforms):
        problems.append(f"it is for {_names(below.platforms)}, {layout.MANIFEST} says {_names(image.platforms)}")
    if problems:
        return _fault(f"The image {image.reference} is not complete", *dict.fromkeys(problems))
    facts = f"{image.root.digest}: {len(below.blobs)} blobs, {below.size} bytes, for "
    facts += _names(below.platforms)
    if elsewhere := sum(blob.digest in left_out for blob in below.blobs):
        facts += f"; {elsewhere} of the blobs are those of the base"
    return Finding("images", f"The image {image.reference} is complete", Status.PASS, (facts,))


def _sizes(bundle: Bundle, blobs: tuple[Descriptor, ...], left_out: Mapping[Digest, LeftOut]) -> Iterator[str]:
    for blob in blobs:
        member = bundle.known.get(layout.blob(blob.digest))
        held = member or left_out.get(blob.digest)
        if held is None:
            yield f"{blob.digest} ({blob.media_type}) is missing"
        elif held.size != blob.size:
            yield f"{blob.digest} has {held.size} bytes, its descriptor says {blob.size}"


def _names(platforms: tuple[object, ...]) -> str:
    return ", ".join(sorted(map(str, platforms))) or "no platform (it is an artifact)"
