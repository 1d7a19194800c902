"""What an install is about: a bundle's manifests named for a registry, and the names that an install gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry.endpoint import Destination
from bundler.kube.kustomize import Object
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage
from bundler.oci import references
from bundler.steps.bundle.images import check_metadata
from bundler.steps.install import plan as install_plan
from bundler.steps.install.plan import InstallPlan

RECORD_LABEL = "bundler.feast.dev/bundle"
"""On the ConfigMap that says what was installed last; its value is the bundle's name."""


def first_run(store: str, digest: Digest) -> str:
    """Return the name of the Job that runs a feature store's CronJob once for a bundle."""
    # The names of feature stores may be longer than what a Job's leaves room for.
    return f"feast-{store}"[:40] + f"-first-{Digest.of(f'{digest} {store}'.encode()).hex[:10]}"


@dataclass(frozen=True)
class Release:
    """The bundle that is installed, or asked after; ``manifests`` are path below ``manifests/`` -> text.

    ``registry`` is HOST[:PORT][/PREFIX], where the images are for the cluster; ``relocated`` leads from the name of an
    image in the bundle's manifests to the one there, for those that differ.
    """

    name: str
    version: str
    digest: Digest
    registry: str
    manifests: Mapping[str, str]
    images: tuple[BundledImage, ...]
    relocated: Mapping[str, str]

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{self.name} {self.version}"

    @property
    def record_name(self) -> str:
        """The name of the ConfigMap that says what was installed last."""
        return f"bundler-{self.name}"

    @classmethod
    def of(cls, path: Path, registry: str | None = None) -> Release:
        """Read a bundle's manifests, with images named for a registry, else for that of the spec.

        Raises:
            VerificationError: the bundle is damaged.
            UsageError: the registry is none.
        """
        with Bundle.open(path) as bundle:
            check_metadata(bundle)
            manifest = bundle.manifest
            place = str(Destination.parse(registry)) if registry else manifest.registry
            mapping = install_plan.registry_mapping(manifest, place)
            texts = bundle.manifests().items()
            relocated = {path: references.relocate_text(text, mapping)[0] for path, text in texts}
            return cls(
                manifest.name,
                manifest.version,
                Digest.of(bundle.read(layout.MANIFEST)),
                place,
                relocated,
                manifest.images,
                mapping,
            )


def record(subject: Release, plan: InstallPlan) -> Object:
    """Return the ConfigMap, beside the first feature store, that says what was installed last."""
    objects = "".join(f"{one['apiVersion']} {' '.join(identity(one))}\n" for one in plan.of_stores)
    metadata: dict[str, Json] = {
        "name": subject.record_name,
        "namespace": identity(plan.stores[0])[1],
        "labels": {RECORD_LABEL: subject.name},
    }
    data: dict[str, Json] = {
        "bundle": subject.title,
        "digest": str(subject.digest),
        "registry": subject.registry,
        "objects": objects,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def identity(found: Object) -> tuple[str, str, str]:
    """Return kind, namespace (empty where it has none) and name."""
    metadata = found.get("metadata")
    held = metadata if isinstance(metadata, dict) else {}
    return str(found.get("kind")), str(held.get("namespace") or ""), str(held.get("name"))
