"""Verify the documents of a bundle: those that repeat ``bundle.json``, and those that a later command reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bundler.effects.archive.reader import Bundle
from bundler.errors import BundlerError, SpecError, VerificationError
from bundler.kube import kustomize, names, yaml_values
from bundler.kube.objects import KubeObject
from bundler.kube.yaml_budget import Budget
from bundler.model import bundle_texts, json_document, layout, limits
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.model.manifest import BundleManifest
from bundler.model.plain_text import plain
from bundler.oci import bundle_index
from bundler.render import sbom_reader

_REMEDY: Final = "Copy the bundle again from where it was built; if that one has the same fault, build it again."
_PARSED: Final = frozenset({layout.CHECKLIST_JSON, layout.VULNERABILITIES})
_BREAKS: Final = ("\n", ",", "[", "{", ":")


def check(bundle: Bundle, manifest: BundleManifest) -> Iterator[Finding]:
    """Yield a fault for each document that does not say what ``bundle.json`` says, or that cannot be read."""
    faults = [
        *_repeated(bundle, layout.INDEX, lambda: bundle_index.of(manifest.images).to_bytes()),
        *_repeated(bundle, layout.IMAGES, lambda: bundle_texts.image_list(manifest.images, manifest.registry).encode()),
        *_repeated(bundle, layout.CHECKSUMS, lambda: bundle_texts.checksums(manifest)),
        *_sizes(bundle),
        *_json(bundle),
        *_kubernetes(bundle, manifest),
    ]
    for fault in dict.fromkeys(faults):
        yield Finding("documents", "A document is not valid", Status.FAIL, (plain(fault),), _REMEDY)
    if not faults:
        evidence = f"{layout.INDEX}, {layout.IMAGES} and {layout.CHECKSUMS} say what {layout.MANIFEST} says"
        yield Finding("documents", "The documents agree and can be read", Status.PASS, (evidence,))


def _repeated(bundle: Bundle, path: str, expected: Callable[[], bytes]) -> Iterator[str]:
    if path not in bundle.known:
        yield f"{path} is missing"
        return
    try:
        content = expected()
    except ValueError as error:
        yield f"{path} cannot be written from {layout.MANIFEST}: {error}"
        return
    if bundle.known[path].size != len(content) or bundle.read(path, limit=len(content)) != content:
        yield f"{path} does not say, byte for byte, what {layout.MANIFEST} says"


def _sizes(bundle: Bundle) -> Iterator[str]:
    metadata = {path: member for path, member in bundle.known.items() if not layout.blob_digest(path)}
    for path, member in metadata.items():
        limit = limits.SIGNATURE_SIZE if layout.is_attached(path) else limits.DOCUMENT_SIZE
        if member.size > limit:
            yield f"{path} has {member.size} bytes, more than {limit}"
    total = sum(member.size for member in metadata.values())
    if total > limits.METADATA_SIZE:
        yield f"all files that are not blobs have {total} bytes, more than {limits.METADATA_SIZE}"


def _json(bundle: Bundle) -> Iterator[str]:
    for path in bundle.known:
        if path in _PARSED or path.startswith((layout.SBOM, layout.PROVENANCE)):
            try:
                content = bundle.read(path)
                if path == layout.CHECKLIST_JSON:
                    json_document.parse_object(content, path, size=limits.DOCUMENT_SIZE)
                elif path == layout.VULNERABILITIES:
                    from bundler.model import vulnerabilities  # noqa: PLC0415  (start-up time: few bundles have them)

                    vulnerabilities.read(content)
                elif path.startswith(layout.PROVENANCE):
                    from bundler.render import provenance  # noqa: PLC0415  (start-up time)

                    strange = [digest for digest in provenance.subjects(content) if layout.blob(digest) not in bundle]
                    yield from (f"{path} is about {digest}, which is not in the bundle" for digest in strange)
                else:
                    sbom_reader.components(content)
            except (ValueError, VerificationError) as error:
                yield f"{path} cannot be read: {error}"


def _kubernetes(bundle: Bundle, manifest: BundleManifest) -> Iterator[str]:
    """Read every Kubernetes manifest and the kustomizations as an install does, each file once."""
    total = sum(entry.size for entry in manifest.files if entry.path.startswith(layout.MANIFESTS))
    if total > limits.MANIFESTS_SIZE:
        yield f"the files below {layout.MANIFESTS} have {total} bytes, more than {limits.MANIFESTS_SIZE}"
        return
    try:
        texts = bundle.manifests()
    except VerificationError as error:
        yield error.problem
        return
    if sum(text.count(mark) for text in texts.values() for mark in _BREAKS) > limits.MANIFESTS_VALUES:
        yield f"the files below {layout.MANIFESTS} have more than {limits.MANIFESTS_VALUES} values"
        return
    reading = _Manifests(texts)
    for folder in ("", *(["operator"] if "operator/install.yaml" in texts else [])):
        yield from reading.kustomization(folder)
    for path in texts:
        yield from reading.file(path)


class _Manifests:
    """Kubernetes manifests, each parsed when it is first asked for."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._parsed: dict[str, tuple[Json, ...] | SpecError] = {}
        self._budget = Budget()

    def kustomization(self, folder: str) -> Iterator[str]:
        """Yield what is wrong with a kustomization and what it leads to."""
        try:
            for resource in kustomize.objects(self._texts, folder, self._parse):
                yield from names.faults(resource)
        except BundlerError as error:
            yield error.problem

    def file(self, path: str) -> Iterator[str]:
        """Yield what is wrong with a file."""
        try:
            documents = self._parse(self._texts[path], path)
        except BundlerError as error:
            yield error.problem
            return
        if path.startswith("secrets/"):  # the templates of what a site fills in
            for secret in (KubeObject(document) for document in documents if isinstance(document, dict)):
                if secret.kind == "Secret" and secret.name and secret.namespace:
                    yield from names.faults(KubeObject.named("v1", "Secret", secret.namespace, secret.name))

    def _parse(self, text: str, path: str) -> tuple[Json, ...]:
        if path not in self._parsed:
            try:
                self._parsed[path] = yaml_values.read(text, layout.manifest(path), budget=self._budget)
            except SpecError as error:
                self._parsed[path] = error
        parsed = self._parsed[path]
        if isinstance(parsed, SpecError):
            raise parsed
        return parsed
