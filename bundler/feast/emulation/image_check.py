"""Whether manifests name any image that a disconnected cluster could not pull."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bundler.feast.operator import images as operator_images
from bundler.kube.manifest_file import ManifestFile
from bundler.model.findings import Finding, Status


def check(manifests: Collection[ManifestFile], internal: Iterable[str], external: Iterable[str] = ()) -> Finding:
    """Check every string of every manifest.

    ``internal`` are the references that the bundle brings, as the internal registry names them, with or without their
    digests; ``external`` those that the site has by other means.
    """
    brought, elsewhere = frozenset(internal), frozenset(external)
    seen: dict[str, list[str]] = {}
    for file in manifests:
        for reference in operator_images.image_references(file.documents):
            seen.setdefault(reference, []).append(file.path)
    stray = {reference: paths for reference, paths in seen.items() if reference not in brought | elsewhere}
    title = "Every image in the manifests comes from the internal registry"
    if stray:
        return Finding(
            "manifests.images",
            title,
            Status.FAIL,
            tuple(f"{reference} in {', '.join(paths)}" for reference, paths in sorted(stray.items())),
            remedy="Mirror it (images: in the spec), or declare that the site has it.",
        )
    evidence = tuple(f"{reference} in {', '.join(paths)}" for reference, paths in sorted(seen.items()))
    return Finding("manifests.images", title, Status.PASS, evidence or (f"{len(manifests)} files name no image",))
