"""What the emitted manifests say, read back from their YAML: the evidence of the checklist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import yaml

from bundler.model.descriptor import Json

_OPERATOR: Final = "operator/"
_SECRETS: Final = "secrets/"
_CRD = re.compile(r"^kind: CustomResourceDefinition$.*?^  name: (\S+)$", re.MULTILINE | re.DOTALL)


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
        found = [(account.namespace, name) for account in self.accounts for name in account.pull_secrets]
        return tuple(dict.fromkeys(found))

    @classmethod
    def read(cls, manifests: Mapping[str, str]) -> Emitted:
        """Read manifests (path below ``manifests/`` -> YAML text); raise ``ValueError`` without a FeatureStore."""
        operator = tuple(sorted(path for path in manifests if path.startswith(_OPERATOR)))
        own = [
            (path, value)
            for path in sorted(manifests.keys() - set(operator))
            for value in yaml.safe_load_all(manifests[path])
            if isinstance(value, dict)
        ]
        stores = [(path, value) for path, value in own if value.get("kind") == "FeatureStore"]
        if not stores:
            raise ValueError("the manifests have no FeatureStore")
        secrets = tuple(_secret(path, value) for path, value in own if value.get("kind") == "Secret")
        return cls(
            stores=tuple(_store(path, value) for path, value in stores),
            accounts=tuple(_account(path, value) for path, value in own if value.get("kind") == "ServiceAccount"),
            shipped=tuple(secret for secret in secrets if not secret.path.startswith(_SECRETS)),
            to_fill=tuple(secret for secret in secrets if secret.path.startswith(_SECRETS)),
            # The operator's manifest has a megabyte: its kinds are found by line, not parsed.
            crds={name: path for path in operator for name in _CRD.findall(manifests[path])},
            operator_files=operator,
        )


def _store(path: str, value: dict[str, Json]) -> EmittedStore:
    spec = value.get("spec")
    folder = spec.get("feastProjectDir") if isinstance(spec, dict) else None
    return EmittedStore(
        name=_text(value, "metadata", "name"),
        namespace=_text(value, "metadata", "namespace"),
        path=path,
        init_containers_disabled=_text(spec, "services", "disableInitContainers").lower() or "not set",
        source=", ".join(folder) if isinstance(folder, dict) else "",
        uses=tuple(_uses(spec, "spec")),
    )


def _uses(value: Json, where: str) -> Iterator[Use]:
    if not isinstance(value, dict):
        return
    image = value.get("image")
    if isinstance(image, str):
        policy = value.get("imagePullPolicy")
        yield Use(where, image, policy if isinstance(policy, str) else "")
    for key, child in value.items():
        yield from _uses(child, f"{where}.{key}")


def _secret(path: str, value: dict[str, Json]) -> SecretTemplate:
    keys: list[str] = []
    for field in ("stringData", "data"):
        found = value.get(field)
        keys += found if isinstance(found, dict) else []
    return SecretTemplate(path, _text(value, "metadata", "name"), _text(value, "metadata", "namespace"), tuple(keys))


def _account(path: str, value: dict[str, Json]) -> AccountEvidence:
    secrets = value.get("imagePullSecrets")
    names = [entry["name"] for entry in secrets if isinstance(entry, dict)] if isinstance(secrets, list) else []
    name, namespace = _text(value, "metadata", "name"), _text(value, "metadata", "namespace")
    return AccountEvidence(path, name, namespace, tuple(str(name) for name in names))


def _text(value: Json, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None else str(value)
