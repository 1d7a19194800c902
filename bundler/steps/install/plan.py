"""What an install applies, in which order, taken from the manifests of a bundle and named for a registry."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.errors import UsageError
from bundler.kube import kustomize as kustomized
from bundler.kube import yaml_text
from bundler.kube.kustomize import Object
from bundler.model import assignments, layout
from bundler.model.descriptor import Json
from bundler.model.manifest import BundleManifest

_OPERATOR: Final = "operator/"
_SECRETS: Final = "secrets/"
PULL_TYPE: Final = "kubernetes.io/dockerconfigjson"
PULL_KEY: Final = ".dockerconfigjson"
_FIRST: Final = frozenset({"CustomResourceDefinition", "Namespace"})
# What leads to servers, or looks at them. All else must be there before the operator makes a pod, of any feature store.
_LAST: Final = frozenset({"Ingress", "Route", "ServiceMonitor"})


@dataclass(frozen=True)
class SecretWanted:
    """A Secret that a site fills in: its identity and type, and the keys that must be there.

    ``template`` is its path in the bundle, empty for a Secret that images are pulled with. ``of_operator`` says that it
    is the operator that needs it.
    """

    namespace: str
    name: str
    type: str
    keys: tuple[str, ...]
    template: str = ""
    of_operator: bool = False

    @property
    def hint(self) -> str:
        """Where a person sees what belongs into it."""
        return f"its template is {self.template}" if self.template else "images are pulled with it (skopeo login)"

    @property
    def identity(self) -> Object:
        """The object without any value, to look it up by."""
        metadata: dict[str, Json] = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}

    def filled(self, values: Mapping[str, str]) -> Object:
        """Return the Secret with values, in base64 as the server keeps them."""
        return {**self.identity, "type": self.type, "data": _encoded(values)}


@dataclass(frozen=True)
class InstallPlan:
    """The objects of an install, in order; ``definitions`` and ``operator`` are empty where the cluster has one."""

    definitions: tuple[Object, ...]
    operator: tuple[Object, ...]
    namespaces: tuple[Object, ...]
    secrets: tuple[SecretWanted, ...]
    before: tuple[Object, ...]
    stores: tuple[Object, ...]
    after: tuple[Object, ...]

    @property
    def of_stores(self) -> tuple[Object, ...]:
        """The tenant's part: feature stores, and what is applied for them."""
        return (*self.before, *self.stores, *self.after)

    def secrets_of(self, *, admin: bool, tenant: bool) -> tuple[SecretWanted, ...]:
        """Return the Secrets that these parts of the install need."""
        return tuple(one for one in self.secrets if (admin if one.of_operator else tenant))


def parts(name: str) -> tuple[bool, bool]:
    """Return whether the admin's and the tenant's part are meant by ``admin``, ``tenant`` or ``all``."""
    return name in ("all", "admin"), name in ("all", "tenant")


def plan(manifests: Mapping[str, str]) -> InstallPlan:
    """Order the objects of manifests (path below ``manifests/`` -> text).

    Raises:
        SpecError: a file is not YAML.
        VerificationError: what the manifests say is nothing that a bundle has.
    """
    has_operator = f"{_OPERATOR}install.yaml" in manifests
    of_operator = tuple(kustomized.objects(manifests, "operator")) if has_operator else ()
    own = tuple(_stored(one) for one in kustomized.objects(manifests))
    others = [one for one in own if one["kind"] not in ("FeatureStore", "Namespace")]
    return InstallPlan(
        definitions=tuple(one for one in of_operator if one["kind"] in _FIRST),
        operator=tuple(one for one in of_operator if one["kind"] not in _FIRST),
        namespaces=tuple(one for one in own if one["kind"] == "Namespace"),
        secrets=(*_wanted(manifests), *_pull_secrets(own), *_pull_secrets(of_operator, of_operator=True)),
        before=tuple(one for one in others if one["kind"] not in _LAST),
        stores=tuple(one for one in own if one["kind"] == "FeatureStore"),
        after=tuple(one for one in others if one["kind"] in _LAST),
    )


def _stored(found: Object) -> Object:
    """Return a Secret as the server keeps it: texts would count as a change every time that they are applied."""
    texts = found.get("stringData")
    if found["kind"] != "Secret" or not isinstance(texts, dict):
        return found
    rest = {key: value for key, value in found.items() if key != "stringData"}
    return {**rest, "data": _encoded({key: str(value) for key, value in texts.items()})}


def _encoded(values: Mapping[str, str]) -> dict[str, Json]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def _wanted(manifests: Mapping[str, str]) -> Iterator[SecretWanted]:
    for path in sorted(manifests):
        if not path.startswith(_SECRETS):
            continue
        for document in yaml_text.documents(manifests[path], path):
            match document:
                case {"kind": "Secret", "metadata": {"name": str(name), "namespace": str(namespace)}, **rest}:
                    keys = rest.get("stringData") or rest.get("data")
                    found = tuple(keys) if isinstance(keys, dict) else ()
                    yield SecretWanted(namespace, name, str(rest.get("type", "Opaque")), found, layout.manifest(path))


def _pull_secrets(objects: Sequence[Object], *, of_operator: bool = False) -> tuple[SecretWanted, ...]:
    """Return the Secrets that ServiceAccounts pull images with, each once."""
    found: dict[tuple[str, str], SecretWanted] = {}
    for one in objects:
        match one:
            case {"kind": "ServiceAccount", "metadata": {"namespace": str(namespace)}, "imagePullSecrets": list(rows)}:
                names = [row["name"] for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
                for name in map(str, names):
                    found[namespace, name] = SecretWanted(
                        namespace, name, PULL_TYPE, (PULL_KEY,), of_operator=of_operator
                    )
    return tuple(found.values())


def registry_mapping(manifest: BundleManifest, registry: str) -> Mapping[str, str]:
    """Return reference -> reference for another registry, of every image, with and without its digest."""
    old, new = manifest.registry.rstrip("/"), registry.rstrip("/")
    if not old or old == new:
        return {}
    found: dict[str, str] = {}
    for image in manifest.images:
        for name in (image.internal, image.pinned):
            if name.startswith(f"{old}/"):
                found[name] = f"{new}/{name.removeprefix(f'{old}/')}"
    return found


def given(wanted: Sequence[SecretWanted], arguments: Sequence[str]) -> Mapping[SecretWanted, Object]:
    """Read ``[NAMESPACE/]NAME=FILE`` arguments.

    A file is a Secret's manifest, or has KEY=VALUE lines, or, for pulling images, is what ``skopeo login`` writes.

    Raises:
        UsageError: no such Secret is asked for, the file cannot be read, or a key that is needed is not in it.
    """
    found: dict[SecretWanted, Object] = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not equals or not file:
            raise UsageError(f"--secret {name}: no file is named.", remedy="Write --secret NAME=FILE.")
        matching = [one for one in wanted if name in (one.name, f"{one.namespace}/{one.name}")]
        if not matching:
            known = ", ".join(f"{one.namespace}/{one.name}" for one in wanted) or "none"
            raise UsageError(f"--secret {name}: the bundle asks for no such Secret.", remedy=f"It asks for: {known}.")
        text = _read(Path(file))
        for one in matching:
            values = _values(text, Path(file), one)
            if missing := sorted(key for key in one.keys if not values.get(key)):
                raise UsageError(
                    f"{file}: {', '.join(missing)} is not there, or empty.",
                    remedy=f"{one.namespace}/{one.name}: {one.hint}.",
                )
            found[one] = one.filled(values)
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {file}: {error}.") from error


def _values(text: str, file: Path, wanted: SecretWanted) -> Mapping[str, str]:
    if any(line.startswith("kind:") for line in text.splitlines()):
        return _of_manifest(text, file)
    if wanted.type == PULL_TYPE:
        return {PULL_KEY: _logins(text, file)}
    return assignments.parse(text, file, form="KEY=VALUE", remedy="Write one key a line, or a Secret's manifest.")


def _logins(text: str, file: Path) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("auths"), dict):
        raise UsageError(f"{file}: no logins of registries.", remedy="Make it: skopeo login --authfile FILE HOST")
    return text


def _of_manifest(text: str, file: Path) -> Mapping[str, str]:
    documents = yaml_text.documents(text, str(file))
    values: dict[str, str] = {}
    for document in documents:
        if not isinstance(document, dict) or document.get("kind") != "Secret":
            raise UsageError(f"{file}: not the manifest of a Secret.")
        data, texts = document.get("data"), document.get("stringData")
        try:
            values |= (
                {k: base64.b64decode(str(v), validate=True).decode() for k, v in data.items()}
                if isinstance(data, dict)
                else {}
            )
        except ValueError as error:
            raise UsageError(f"{file}: data holds what is not base64 of a text.", remedy="Use stringData.") from error
        values |= {k: str(v) for k, v in texts.items()} if isinstance(texts, dict) else {}
    return values
