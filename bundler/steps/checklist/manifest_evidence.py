"""What the emitted manifests say, read back from their YAML: the evidence of the checklist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bundler.kube.manifest_file import ManifestFile
from bundler.kube.objects import KubeObject

_OPERATOR: Final = "operator/"
_SECRETS: Final = "secrets/"
_CRD: Final = "CustomResourceDefinition"


@dataclass(frozen=True)
class Use:
    """A place of the FeatureStore that names an image; ``pull_policy`` is empty where none is set there."""

    where: str
    image: str
    pull_policy: str

    @property
    def is_container(self) -> bool:
        """Whether a container of its own comes of it (the packaged repo only names where the repo lies)."""
        return not self.where.endswith(".packaged")


@dataclass(frozen=True)
class SecretTemplate:
    """A Secret that a manifest makes, or that a person fills in; never its values."""

    path: str
    name: str
    namespace: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class AccountEvidence:
    """A ServiceAccount and the names of its pull secrets."""

    path: str
    name: str
    namespace: str
    pull_secrets: tuple[str, ...]


@dataclass(frozen=True)
class EmittedStore:
    """A FeatureStore: ``init_containers_disabled`` as YAML says it, ``source`` the key that brings its repo."""

    name: str
    namespace: str
    path: str
    init_containers_disabled: str
    source: str
    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Emitted:
    """Facts of the manifests, one or several FeatureStores; ``crds`` is name -> path."""

    stores: tuple[EmittedStore, ...]
    accounts: tuple[AccountEvidence, ...]
    shipped: tuple[SecretTemplate, ...]
    to_fill: tuple[SecretTemplate, ...]
    crds: Mapping[str, str]
    operator_files: tuple[str, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of the FeatureStores, each once."""
        return tuple(dict.fromkeys(store.namespace for store in self.stores))

    @property
    def uses(self) -> tuple[Use, ...]:
        """The places of all FeatureStores that name images; where there are several, each with its store's name."""
        alone = len(self.stores) == 1
        return tuple(
            use if alone else replace(use, where=f"{store.name}: {use.where}")
            for store in self.stores
            for use in store.uses
        )

    @property
    def pull_secrets(self) -> tuple[tuple[str, str], ...]:
        """Namespace and name of all pull secrets, each once."""
        named = [(account.namespace, name) for account in self.accounts for name in account.pull_secrets]
        return tuple(dict.fromkeys(named))

    @classmethod
    def read(cls, manifests: Mapping[str, ManifestFile]) -> Emitted:
        """Read manifests (path below ``manifests/`` -> file); raise ``ValueError`` without a FeatureStore."""
        operator = tuple(sorted(path for path in manifests if path.startswith(_OPERATOR)))
        own = [(path, value) for path in sorted(manifests.keys() - set(operator)) for value in manifests[path].objects]
        stores = [(path, value) for path, value in own if value.kind == "FeatureStore"]
        if not stores:
            raise ValueError("the manifests have no FeatureStore")
        secrets = tuple(_secret(path, value) for path, value in own if value.kind == "Secret")
        return cls(
            stores=tuple(_store(path, value) for path, value in stores),
            accounts=tuple(_account(path, value) for path, value in own if value.kind == "ServiceAccount"),
            shipped=tuple(secret for secret in secrets if not secret.path.startswith(_SECRETS)),
            to_fill=tuple(secret for secret in secrets if secret.path.startswith(_SECRETS)),
            crds={value.name: path for path in operator for value in manifests[path].objects if value.kind == _CRD},
            operator_files=operator,
        )


def _store(path: str, store: KubeObject) -> EmittedStore:
    return EmittedStore(
        name=store.name,
        namespace=store.namespace,
        path=path,
        init_containers_disabled=store.text("spec", "services", "disableInitContainers") or "not set",
        source=", ".join(store.mapping("spec", "feastProjectDir")),
        uses=tuple(_uses(store.inner("spec"), "spec")),
    )


def _uses(fragment: KubeObject, where: str) -> Iterator[Use]:
    image = fragment.get("image")
    if isinstance(image, str):
        yield Use(where, image, fragment.text("imagePullPolicy"))
    for key in fragment.content:
        yield from _uses(fragment.inner(key), f"{where}.{key}")


def _secret(path: str, secret: KubeObject) -> SecretTemplate:
    keys = (*secret.mapping("stringData"), *secret.mapping("data"))
    return SecretTemplate(path, secret.name, secret.namespace, keys)


def _account(path: str, account: KubeObject) -> AccountEvidence:
    names = tuple(row.text("name") for row in account.rows("imagePullSecrets"))
    return AccountEvidence(path, account.name, account.namespace, names)
