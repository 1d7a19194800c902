"""The objects of the bundle's own kustomizations, as ``kubectl kustomize`` would list them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from bundler.errors import VerificationError
from bundler.kube import yaml_values
from bundler.kube.objects import KubeObject
from bundler.model import limits
from bundler.model.descriptor import Json

_FILE = "kustomization.yaml"
_WORD = re.compile(r"[A-Za-z]{1,63}")
_REMEDY = "The bundle was altered or damaged: copy it again, and run bundler verify."


Parse: TypeAlias = Callable[[str, str], tuple[Json, ...]]
"""Returns the documents of a text; the second argument is its path."""


def objects(manifests: Mapping[str, str], folder: str = "", parse: Parse = yaml_values.read) -> Iterator[KubeObject]:
    """Yield the objects of a folder's kustomization, in its order; ``manifests`` is path -> text.

    Only what bundles use is supported: ``resources``, and ``patches`` that add a key to every object of a kind.

    Raises:
        SpecError: a file is not YAML.
        VerificationError: a file is missing or not a Kubernetes object, or a kustomization has another field or patch.
    """
    yield from _Walk(manifests, parse).folder(folder, 1)


class _Walk:
    """One kustomization and what it leads to; each file is read once, as kubectl refuses an object that comes twice."""

    def __init__(self, manifests: Mapping[str, str], parse: Parse) -> None:
        self._manifests, self._parse = manifests, parse
        self._seen: set[str] = set()

    def folder(self, folder: str, depth: int) -> Iterator[KubeObject]:
        file = posixpath.join(folder, _FILE)
        if depth > limits.KUSTOMIZE_DEPTH:
            raise VerificationError(
                f"{file}: kustomizations are nested deeper than {limits.KUSTOMIZE_DEPTH} levels.", remedy=_REMEDY
            )
        # kustomize reads the first document alone.
        for number, document in enumerate(self._parse(_text(self._manifests, file), file)):
            kustomization = _object(document, file)
            if number or kustomization.kind != "Kustomization":
                raise VerificationError(f"{file}: more, or something else, than one Kustomization.", remedy=_REMEDY)
            if unknown := kustomization.content.keys() - {"apiVersion", "kind", "resources", "patches"}:
                raise VerificationError(f"{file}: unsupported fields: {', '.join(sorted(unknown))}.", remedy=_REMEDY)
            rows = kustomization.items("patches")
            if len(rows) > limits.KUSTOMIZE_PATCHES:
                raise VerificationError(f"{file}: more than {limits.KUSTOMIZE_PATCHES} patches.", remedy=_REMEDY)
            patches = [
                _Patch.read(entry, f"{file}, patch {number}", self._parse) for number, entry in enumerate(rows, 1)
            ]
            for name in kustomization.items("resources"):
                for resource in self._of(posixpath.join(folder, str(name)), file, depth):
                    patched = resource
                    for patch in patches:
                        patched = patch.applied(patched)
                    yield patched

    def _of(self, path: str, named_by: str, depth: int) -> Iterator[KubeObject]:
        place = posixpath.normpath(path)
        if place in self._seen:
            raise VerificationError(f"{named_by}: {place} is named twice.", remedy=_REMEDY)
        self._seen.add(place)
        if posixpath.join(path, _FILE) in self._manifests:
            yield from self.folder(path, depth + 1)
            return
        for document in self._parse(_text(self._manifests, path), path):
            yield _object(document, path)


class _Patch:
    """Adds a key at the top of every object of a kind and, if it says so, a version (a JSON patch with ``op: add``)."""

    def __init__(self, kind: str, version: str, key: str, value: Json) -> None:
        self._kind, self._version, self._key, self._value = kind, version, key, value

    @classmethod
    def read(cls, entry: Json, place: str, parse: Parse) -> _Patch:
        # Nothing else may stand there: kustomize knows more selectors and options, and reads the kind as a pattern.
        match entry:
            case {"target": {"kind": str(kind), **selectors}, "patch": str(text), **options} if (
                selectors in ({}, {"version": "v1"}) and not options and _WORD.fullmatch(kind)
            ):
                version = "v1" if selectors else ""
            case _:
                raise _unsupported_patch(place)
        match parse(text, place):
            case ([{"op": "add", "path": str(path), "value": value, **others}],) if (
                not others and path.startswith("/") and _WORD.fullmatch(path[1:])
            ):
                return cls(kind, version, path[1:], value)
        raise _unsupported_patch(place)

    def applied(self, resource: KubeObject) -> KubeObject:
        version = resource.api_version.rpartition("/")[2]
        if resource.kind != self._kind or self._version not in ("", version):
            return resource
        return KubeObject({**resource.content, self._key: self._value})


def _unsupported_patch(place: str) -> VerificationError:
    return VerificationError(f"{place}: an unsupported patch.", remedy=_REMEDY)


def _text(manifests: Mapping[str, str], path: str) -> str:
    try:
        return manifests[path]
    except KeyError:
        raise VerificationError(
            f"The bundle has no manifests/{path}, which a kustomization names.", remedy=_REMEDY
        ) from None


def _object(document: Json, path: str) -> KubeObject:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise VerificationError(f"manifests/{path}: not a Kubernetes object.", remedy=_REMEDY)
    return KubeObject(document)
