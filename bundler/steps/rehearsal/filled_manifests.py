"""Read the manifests of a rehearsal, and fill in what a site fills in before it applies them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import yaml

from bundler.effects import files
from bundler.effects.certificates import CertificateAuthority
from bundler.errors import SpecError, UsageError
from bundler.feast.emulation import pods
from bundler.feast.emulation.kubelet import ClusterObjects, Texts
from bundler.feast.operator import crd
from bundler.feast.operator.capabilities import Capabilities
from bundler.kube.manifest_file import ManifestFile
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json
from bundler.steps.rehearsal.inputs import RehearsalInput

_INSTALL: Final = "operator/install.yaml"
_TLS: Final = frozenset({"tls.crt", "tls.key"})


@dataclass(frozen=True)
class FilledManifests:
    """FeatureStores in the order in which they start, and the objects of each namespace with everything filled in."""

    resources: tuple[dict[str, Json], ...]
    objects: Mapping[str, ClusterObjects]
    capabilities: Capabilities


def read(inputs: RehearsalInput, folder: Path | None, version: str | None) -> dict[str, ManifestFile]:
    """Return the manifests: those of the bundle, or of a folder where one is given."""
    if folder is None:
        return dict(inputs.manifests)
    if not files.is_folder(folder):
        raise UsageError(f"{folder} is not a folder.", remedy="Name the folder of the manifests with --manifests.")
    manifests: dict[str, ManifestFile] = {}
    for file in files.yaml_files(folder):
        path = str(file.relative_to(folder))
        manifests[path] = ManifestFile(path, files.read_text(file, "a Kubernetes manifest", error=UsageError))
    if not manifests:
        raise UsageError(
            f"{folder} holds no manifest (*.yaml, *.yml).", remedy="Name the folder of the manifests with --manifests."
        )
    if version is None and _INSTALL not in manifests:
        manifests |= {path: file for path, file in inputs.manifests.items() if path == _INSTALL}
    return manifests


def interpret(
    manifests: Mapping[str, ManifestFile],
    version: str | None,
    known: str,
    values: Texts,
    authority: CertificateAuthority,
) -> FilledManifests:
    """Read manifests as the operator of a release does; ``values`` are those of variables that a site fills in.

    ``version`` overrides the release of the operator in the manifests; ``known`` is used where they have no operator.

    Raises:
        SpecError: a file is not YAML, or there is no FeatureStore.
    """
    if version is None and _INSTALL in manifests:
        capabilities = Capabilities.from_crd(crd.find(manifests[_INSTALL].documents, _INSTALL))
    else:
        capabilities = Capabilities.for_version(version or known)
    given = [
        kube_object
        for path in sorted(manifests)
        if not path.startswith("operator/")
        for kube_object in manifests[path].objects
    ]
    stores = [kube_object.to_json() for kube_object in given if kube_object.kind == "FeatureStore"]
    if not stores:
        raise SpecError(
            "The manifests have no FeatureStore.", remedy="Name a folder whose manifests include a FeatureStore."
        )
    # A shared registry must serve before its clients start.
    resources = tuple(sorted(stores, key=lambda store: "remote:" in yaml.safe_dump(store)))
    return FilledManifests(resources, _objects(given, resources, capabilities, values, authority), capabilities)


def place_of(document: Mapping[str, Json]) -> tuple[str, str]:
    """Return namespace and name of an object."""
    kube_object = KubeObject(document)
    return kube_object.namespace or "default", kube_object.name


def _objects(
    given: Sequence[KubeObject],
    resources: tuple[dict[str, Json], ...],
    capabilities: Capabilities,
    values: Texts,
    authority: CertificateAuthority,
) -> dict[str, ClusterObjects]:
    """Return each namespace's Secrets and ConfigMaps, filled in as a site does.

    A variable without a value gets a random one, the same wherever its name occurs: the store servers are new and take
    any credentials. Certificates come from an authority that is made for the rehearsal.
    """
    hosts = tuple(
        dict.fromkeys(service.host for resource in resources for service in pods.services(resource, capabilities))
    )
    made: dict[str, str] = {}

    def fill(texts: Texts) -> Texts:
        if texts.keys() >= _TLS:
            certificate, key = authority.server(hosts)
            return {**texts, "tls.crt": certificate, "tls.key": key}
        return {key: text or values.get(key) or made.setdefault(key, _random_value(key)) for key, text in texts.items()}

    objects: dict[str, ClusterObjects] = {place_of(service)[0]: ClusterObjects() for service in resources}
    for kube_object in given:
        namespace, name = place_of(kube_object.content)
        held = objects.get(namespace, ClusterObjects())
        if kube_object.kind == "Secret":
            secrets_of = {**held.secrets, name: fill(kube_object.texts("stringData"))}
            objects[namespace] = replace(held, secrets=secrets_of)
        elif kube_object.kind == "ConfigMap":
            objects[namespace] = replace(held, config_maps={**held.config_maps, name: kube_object.texts("data")})
    for resource in resources:
        namespace, _ = place_of(resource)
        for name, key in _authorities(resource):
            held = objects[namespace]
            objects[namespace] = replace(held, config_maps={**held.config_maps, name: {key: authority.pem}})
    return objects


def _authorities(resource: Json) -> Iterator[tuple[str, str]]:
    """Yield the ConfigMap and key of the authority that a remote registry's client trusts."""
    match resource:
        case {"spec": {"services": {"registry": {"remote": {"tls": {"configMapRef": {"name": str(name)}, **rest}}}}}}:
            yield name, str(rest.get("certName"))


def _random_value(key: str) -> str:
    """Return a value for a variable: a number where its name says port, else text that may also be a host name."""
    if "PORT" in key.upper():
        return str(20000 + secrets.randbelow(10000))
    return f"r{secrets.token_hex(8)}"
