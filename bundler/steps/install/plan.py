"""What an install applies, in which order, taken from the manifests of a bundle and named for a registry."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bundler.errors import VerificationError
from bundler.kube import kustomize, names, yaml_values
from bundler.kube.objects import KubeObject
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.manifest import BundleManifest
from bundler.model.reference import flattened

_OPERATOR: Final = "operator/"
_SHOWN_FAULTS: Final = 30
_ALTERED: Final = "The bundle was altered or damaged: copy it again, and run bundler verify."
_SECRETS: Final = "secrets/"
PULL_TYPE: Final = "kubernetes.io/dockerconfigjson"
PULL_KEY: Final = ".dockerconfigjson"
_FIRST: Final = frozenset({"CustomResourceDefinition", "Namespace"})
# Objects that refer to servers. All others must exist before the operator creates the first pod of any feature store.
_LAST: Final = frozenset({"Ingress", "Route", "ServiceMonitor"})


@dataclass(frozen=True)
class RequiredSecret:
    """A Secret that a site fills in: its identity and type, and the keys that it must have.

    ``template`` is its path in the bundle, empty for a Secret that images are pulled with. ``of_operator``: it is
    needed by the operator, and not by a feature store.
    """

    namespace: str
    name: str
    type: str
    keys: tuple[str, ...]
    template: str = ""
    of_operator: bool = False

    @property
    def place(self) -> str:
        """``NAMESPACE/NAME``."""
        return f"{self.namespace}/{self.name}"

    @property
    def hint(self) -> str:
        """Where a person sees what belongs into it."""
        return f"its template is {self.template}" if self.template else "images are pulled with it (skopeo login)"

    def filled(self, values: Mapping[str, str]) -> KubeObject:
        """Return the Secret with values, in base64 as the server stores them."""
        empty = KubeObject.named("v1", "Secret", self.namespace, self.name)
        return empty.replaced(type=self.type, data=_encoded(values))


class Stage(Enum):
    """The stages of an install, in order; the value is the title that people see."""

    DEFINITIONS = "Definitions"
    OPERATOR_SECRETS = "Secrets of the operator"
    OPERATOR = "Operator"
    NAMESPACES = "Namespaces"
    SECRETS = "Secrets"
    BEFORE = "What the feature stores refer to"
    STORES = "Feature stores"
    AFTER = "What refers to the feature stores"
    RECORD = "Record"


@dataclass(frozen=True)
class Group:
    """Objects that are applied together; there may be none."""

    stage: Stage
    objects: tuple[KubeObject, ...]


@dataclass(frozen=True)
class InstallPlan:
    """The objects of an install, in order; ``definitions`` and ``operator`` are empty where the cluster has one.

    ``record`` is the ConfigMap that says what was installed last, none without feature stores.
    """

    definitions: tuple[KubeObject, ...]
    operator: tuple[KubeObject, ...]
    namespaces: tuple[KubeObject, ...]
    secrets: tuple[RequiredSecret, ...]
    before: tuple[KubeObject, ...]
    stores: tuple[KubeObject, ...]
    after: tuple[KubeObject, ...]
    record: tuple[KubeObject, ...] = ()

    @property
    def of_stores(self) -> tuple[KubeObject, ...]:
        """The tenant's part: feature stores, and what is applied for them."""
        return (*self.before, *self.stores, *self.after)

    @property
    def store_namespaces(self) -> tuple[str, ...]:
        """The namespaces of the feature stores, sorted."""
        return tuple(sorted({store.namespace for store in self.stores}))

    def groups(self, part: str, filled: Mapping[RequiredSecret, KubeObject] | None = None) -> tuple[Group, ...]:
        """Return what a part of the install applies, in order; ``filled`` are the Secrets that it brings."""
        admin, tenant = parts(part)
        secrets = (filled or {}).items()
        groups: list[Group] = []
        if admin:
            groups += [
                Group(Stage.DEFINITIONS, self.definitions),
                Group(Stage.OPERATOR_SECRETS, tuple(secret for required, secret in secrets if required.of_operator)),
                Group(Stage.OPERATOR, self.operator),
                Group(Stage.NAMESPACES, self.namespaces),
            ]
        if tenant:
            groups += [
                Group(Stage.SECRETS, tuple(secret for required, secret in secrets if not required.of_operator)),
                Group(Stage.BEFORE, self.before),
                Group(Stage.STORES, self.stores),
                Group(Stage.AFTER, self.after),
                Group(Stage.RECORD, self.record),
            ]
        return tuple(groups)

    def secrets_of(self, part: str) -> tuple[RequiredSecret, ...]:
        """Return the Secrets that a part of the install needs."""
        admin, tenant = parts(part)
        return tuple(secret for secret in self.secrets if (admin if secret.of_operator else tenant))


def parts(name: str) -> tuple[bool, bool]:
    """Return whether the admin's and the tenant's part are meant by ``admin``, ``tenant`` or ``all``."""
    return name in ("all", "admin"), name in ("all", "tenant")


def plan(manifests: Mapping[str, str]) -> InstallPlan:
    """Order the objects of manifests (path below ``manifests/`` -> text); each file is parsed once.

    Raises:
        SpecError: a file is not YAML.
        VerificationError: a file is missing, or holds something that no bundle has.
    """
    has_operator = f"{_OPERATOR}install.yaml" in manifests
    of_operator = tuple(kustomize.objects(manifests, "operator")) if has_operator else ()
    own = tuple(_stored(resource) for resource in kustomize.objects(manifests))
    templates = tuple(_templates(manifests))
    _check_names([*of_operator, *own], templates)
    others = [resource for resource in own if resource.kind not in ("FeatureStore", "Namespace")]
    return InstallPlan(
        definitions=tuple(resource for resource in of_operator if resource.kind in _FIRST),
        operator=tuple(resource for resource in of_operator if resource.kind not in _FIRST),
        namespaces=tuple(resource for resource in own if resource.kind == "Namespace"),
        secrets=(*templates, *_pull_secrets(own), *_pull_secrets(of_operator, of_operator=True)),
        before=tuple(resource for resource in others if resource.kind not in _LAST),
        stores=tuple(resource for resource in own if resource.kind == "FeatureStore"),
        after=tuple(resource for resource in others if resource.kind in _LAST),
    )


def _check_names(resources: Sequence[KubeObject], templates: Sequence[RequiredSecret]) -> None:
    """Hold every name to its type: names reach kubectl, its paths, and what a person copies to a shell."""
    asked = [KubeObject.named("v1", "Secret", secret.namespace, secret.name) for secret in templates]
    if faults := [fault for resource in (*resources, *asked) for fault in names.faults(resource)]:
        raise VerificationError(
            "The bundle's manifests have names that a cluster does not accept.",
            remedy=_ALTERED,
            details=tuple(faults[:_SHOWN_FAULTS]),
        )


def _stored(resource: KubeObject) -> KubeObject:
    """Return a Secret as the server stores it: ``stringData`` would count as a change each time it is applied."""
    if resource.kind != "Secret" or not isinstance(resource.get("stringData"), dict):
        return resource
    return resource.without("stringData").replaced(data=_encoded(resource.texts("stringData")))


def _encoded(values: Mapping[str, str]) -> dict[str, Json]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def _templates(manifests: Mapping[str, str]) -> Iterator[RequiredSecret]:
    for path in sorted(path for path in manifests if path.startswith(_SECRETS)):
        documents = yaml_values.read(manifests[path], path, remedy=_ALTERED)
        for secret in (KubeObject(document) for document in documents if isinstance(document, dict)):
            if secret.kind == "Secret" and secret.name and secret.namespace:
                keys = tuple(secret.mapping("stringData") or secret.mapping("data"))
                kind = secret.text("type") or "Opaque"
                yield RequiredSecret(secret.namespace, secret.name, kind, keys, layout.manifest(path))


def _pull_secrets(resources: Sequence[KubeObject], *, of_operator: bool = False) -> tuple[RequiredSecret, ...]:
    """Return the Secrets that ServiceAccounts pull images with, each once."""
    secrets: dict[tuple[str, str], RequiredSecret] = {}
    for account in resources:
        if account.kind == "ServiceAccount" and account.namespace:
            for name in filter(None, (row.text("name") for row in account.rows("imagePullSecrets"))):
                secret = RequiredSecret(account.namespace, name, PULL_TYPE, (PULL_KEY,), of_operator=of_operator)
                secrets[secret.namespace, name] = secret
    return tuple(secrets.values())


def registry_mapping(manifest: BundleManifest, registry: str, *, flat: bool = False) -> Mapping[str, str]:
    """Return reference -> reference for another registry, of every image, with and without its digest.

    ``flat`` is that of the push, see ``Destination``.
    """
    old, new = manifest.registry.rstrip("/"), registry.rstrip("/")
    if not old or (old == new and not flat):
        return {}
    names: dict[str, str] = {}
    for image in manifest.images:
        for name in (image.internal, image.pinned):
            if name.startswith(f"{old}/"):
                path = name.removeprefix(f"{old}/")
                names[name] = f"{new}/{flattened(path) if flat else path}"
    return names
