"""The release that an install is about: a bundle read once, and the names of the objects that an install adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bundler.effects.archive import approvals
from bundler.effects.archive.approvals import JudgedApproval
from bundler.effects.archive.reader import Bundle
from bundler.effects.registry.endpoint import Destination
from bundler.kube.objects import KubeObject
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.manifest import BundledImage
from bundler.model.trust import UNCHECKED, Trust
from bundler.oci import references
from bundler.steps.bundle import verify
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
    """The bundle that is installed, or asked after, opened once; ``plan`` has its manifests, named for a registry.

    ``registry`` is HOST[:PORT][/PREFIX], from where the cluster pulls; ``relocated`` maps the name of an image in the
    bundle's manifests to its name there, for those that differ. ``checklist`` is its ``checklist.json``,
    empty without one. ``flat`` tells that the images were pushed with ``--flatten``.
    ``approvals`` are judged where the trust has a demand, which may be of no role.
    """

    name: str
    version: str
    digest: Digest
    registry: str
    plan: InstallPlan
    images: tuple[BundledImage, ...]
    relocated: Mapping[str, str]
    checklist: bytes
    flat: bool = False
    approvals: tuple[JudgedApproval, ...] = ()

    @property
    def title(self) -> str:
        """Its name and version, for people."""
        return f"{self.name} {self.version}"

    @property
    def record_name(self) -> str:
        """The name of the ConfigMap that says what was installed last."""
        return f"bundler-{self.name}"

    @classmethod
    def of(cls, path: Path, registry: str | None = None, trust: Trust = UNCHECKED, *, flat: bool = False) -> Release:
        """Read a bundle, with images named for a registry, else for that of the spec; ``flat`` as they were pushed.

        Raises:
            VerificationError: the bundle is damaged.
            UsageError: the registry is not of the form HOST[:PORT][/PREFIX].
        """
        with Bundle.open(path, trust) as bundle:
            verify.require_metadata(bundle)
            manifest = bundle.manifest
            place = str(Destination.parse(registry)) if registry else manifest.registry
            mapping = install_plan.registry_mapping(manifest, place, flat=flat)
            texts = bundle.manifests().items()
            relocated = {path: references.relocate_text(text, mapping)[0] for path, text in texts}
            release = cls(
                manifest.name,
                manifest.version,
                Digest.of(bundle.read(layout.MANIFEST)),
                place,
                install_plan.plan(relocated),
                manifest.images,
                mapping,
                bundle.read(layout.CHECKLIST_JSON) if layout.CHECKLIST_JSON in bundle else b"",
                flat,
                approvals.judged(bundle, trust, trust.demand.now) if trust.demand else (),
            )
        return replace(release, plan=replace(release.plan, record=tuple(_record(release))))


def _record(release: Release) -> Iterator[KubeObject]:
    """Yield the ConfigMap, beside the first feature store, that says what was installed last."""
    for store in release.plan.stores[:1]:
        applied = release.plan.of_stores
        rows = [
            f"{kube_object.api_version} {kube_object.kind} {kube_object.namespace} {kube_object.name}\n"
            for kube_object in applied
        ]
        data: dict[str, Json] = {
            "bundle": release.title,
            "digest": str(release.digest),
            "registry": release.registry,
            "objects": "".join(rows),
        }
        labels: dict[str, Json] = {RECORD_LABEL: release.name}
        empty = KubeObject.named("v1", "ConfigMap", store.namespace, release.record_name)
        yield empty.replaced(metadata={**empty.mapping("metadata"), "labels": labels}, data=data)
