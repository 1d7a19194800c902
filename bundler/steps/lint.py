"""Lint: say what in a FeatureStore an operator would refuse, and what it would accept but not start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bundler.effects import files
from bundler.errors import SpecError
from bundler.feast.operator import crd, validation
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.crd import FeatureStoreCrd
from bundler.feast.rules import advice, feast_releases, outside_addresses
from bundler.kube.manifest_file import ManifestFile
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Report, Section, Status


def run(paths: tuple[Path, ...], *, operator_version: str | None, operator_manifest: Path | None) -> Report:
    """Check every FeatureStore in files and folders against an operator's definition, or what is known of its version.

    Raises:
        SpecError: a file cannot be read or is not YAML, or none holds a FeatureStore.
    """
    definition = _definition(operator_manifest) if operator_manifest else None
    capabilities = (
        Capabilities.from_crd(definition)
        if definition is not None
        else Capabilities.for_version(operator_version or "")
    )
    stores = [(file, store) for file in _listed(paths) for store in _feature_stores(file)]
    if not stores:
        named = ", ".join(map(str, paths))
        raise SpecError(f"None of the files holds a FeatureStore: {named}.", remedy="Name the manifest that does.")
    sections = tuple(
        Section(_title(store, file), tuple(_findings(store, definition, capabilities))) for file, store in stores
    )
    return Report("What the operator would do with each FeatureStore", sections)


def _listed(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Yield files, and of folders the YAML files that mention a FeatureStore; others may be templates."""
    for path in paths:
        if not files.is_folder(path):
            yield path
        for inner in files.yaml_files(path):
            if "FeatureStore" in files.read_text(inner, "a Kubernetes manifest"):
                yield inner


def accepted(resource: Json, definition: FeatureStoreCrd) -> Finding:
    """Return whether an operator's own definition accepts a FeatureStore: structural schema and CEL rules."""
    title = "The operator's own definition accepts the FeatureStore"
    if problems := validation.problems(resource, definition):
        return Finding(
            "feature-store.accepted", title, Status.FAIL, tuple(map(str, problems)), remedy="Correct these fields."
        )
    return Finding("feature-store.accepted", title, Status.PASS, ("no unknown field, no rule of schema or CEL broken",))


def _findings(store: KubeObject, definition: FeatureStoreCrd | None, capabilities: Capabilities) -> Iterator[Finding]:
    resource = store.to_json()
    if definition is not None:
        yield accepted(resource, definition)
    spec = store.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("feastProject"), str):
        problem = "spec.feastProject is missing or not a string" if isinstance(spec, dict) else "spec is not a mapping"
        title = "It has the fields that every release of the operator requires"
        remedy = "Write spec: {feastProject: NAME}."
        yield Finding("feature-store.required", title, Status.FAIL, (problem,), remedy=remedy)
        return
    yield from advice.advise(resource, capabilities)
    yield feast_releases.offline_server(resource, None)
    yield outside_addresses.check(resource)


def _definition(file: Path) -> FeatureStoreCrd:
    return crd.load(files.read_text(file, "the operator's manifest"), str(file))


def _title(store: KubeObject, file: Path) -> str:
    return f"FeatureStore {store.name} ({file})" if store.name else f"FeatureStore ({file})"


def _feature_stores(file: Path) -> Iterator[KubeObject]:
    manifest = ManifestFile(str(file), files.read_text(file, "a Kubernetes manifest"))
    return (kube_object for kube_object in manifest.objects if kube_object.kind == "FeatureStore")
