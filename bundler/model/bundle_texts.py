"""The files of a bundle that follow from ``bundle.json`` alone: whoever writes one or checks one takes it from here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bundler.model import checksums as sha256sums
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage, BundleManifest
from bundler.model.reference import ImageRef


def checksums(manifest: BundleManifest) -> bytes:
    """Return ``SHA256SUMS``, which covers ``bundle.json`` and all that it lists.

    The signature is left out: it covers ``bundle.json`` itself, and signing later must change no other file.
    """
    sums = {entry.path: entry.digest for entry in manifest.files}
    sums[layout.MANIFEST] = Digest.of(manifest.to_bytes())
    return sha256sums.text({path: sums[path] for path in sorted(sums, key=layout.order)})


def image_list(images: Iterable[BundledImage], registry: str) -> str:
    """Return ``images.txt``: for each image its name in the layout, its digest and its name below the registry.

    The shell has no JSON, so this repeats what install.sh needs. The first line names the registry of the manifests.

    Raises:
        ValueError: an image has no name below the registry, or two different ones have the same.
    """
    return f"# {registry}\n" + "".join(_rows(images, registry))


def _rows(images: Iterable[BundledImage], registry: str) -> Iterator[str]:
    owners: dict[str, Digest] = {}
    for image in images:
        prefix = registry.rstrip("/") + "/"
        if not image.internal.startswith(prefix):
            raise ValueError(f"the image {image.reference!r:.200} has an internal name outside of {prefix!r:.200}")
        internal = ImageRef.parse(f"localhost/{image.internal.removeprefix(prefix)}")
        target = f"{internal.repository}:{internal.tag or f'sha256-{image.root.digest.short}'}"
        if owners.setdefault(target, image.root.digest) != image.root.digest:
            raise ValueError(f"two images have the internal name {target}")
        yield f"{image.layout_name}\t{image.root.digest}\t{target}\n"
