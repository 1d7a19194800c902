"""The objects of the bundle's own kustomizations, as ``kubectl kustomize`` would list them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from bundler.errors import VerificationError
from bundler.kube import yaml_text
from bundler.model.descriptor import Json

Object = dict[str, Json]
"""A Kubernetes object."""

_FILE = "kustomization.yaml"


def objects(manifests: Mapping[str, str], folder: str = "") -> Iterator[Object]:
    """Yield the objects of a folder's kustomization, in its order; ``manifests`` is path -> text.

    Only what the bundle's kustomizations say is understood: ``resources``, and ``patches`` that add a key to every
    object of a kind.

    Raises:
        SpecError: a file is not YAML.
        VerificationError: a file is missing or no Kubernetes object, or a kustomization says something else.
    """
    for document in yaml_text.documents(_text(manifests, posixpath.join(folder, _FILE)), _FILE):
        kustomization = _mapping(document, folder)
        if odd := kustomization.keys() - {"apiVersion", "kind", "resources", "patches"}:
            raise VerificationError(f"{posixpath.join(folder, _FILE)}: no bundle says {', '.join(sorted(odd))}.")
        patches = [_Patch.read(entry, folder) for entry in _list(kustomization.get("patches"))]
        for name in _list(kustomization.get("resources")):
            for found in _of(manifests, posixpath.join(folder, str(name))):
                for patch in patches:
                    patch.apply(found)
                yield found


def _of(manifests: Mapping[str, str], path: str) -> Iterator[Object]:
    if posixpath.join(path, _FILE) in manifests:
        yield from objects(manifests, path)
        return
    for document in yaml_text.documents(_text(manifests, path), path):
        yield _mapping(document, path)


class _Patch:
    """Adds a key at the top of every object of a kind (a JSON patch with ``op: add``)."""

    def __init__(self, kind: str, key: str, value: Json) -> None:
        self._kind, self._key, self._value = kind, key, value

    @classmethod
    def read(cls, entry: Json, folder: str) -> _Patch:
        match entry:
            case {"target": {"kind": str(kind)}, "patch": str(text)}:
                pass
            case _:
                raise VerificationError(f"{folder}/{_FILE}: a patch that no bundle has.")
        match yaml_text.documents(text, f"{folder}/{_FILE}"):
            case ([{"op": "add", "path": str(path), "value": value}],) if path.count("/") == 1:
                return cls(kind, path.removeprefix("/"), value)
        raise VerificationError(f"{folder}/{_FILE}: a patch that no bundle has.")

    def apply(self, found: Object) -> None:
        if found.get("kind") == self._kind:
            found[self._key] = self._value


def _text(manifests: Mapping[str, str], path: str) -> str:
    try:
        return manifests[path]
    except KeyError:
        raise VerificationError(f"The bundle has no manifests/{path}, which a kustomization names.") from None


def _mapping(document: Json, path: str) -> Object:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise VerificationError(f"manifests/{path}: not a Kubernetes object.")
    return document


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
