"""The answers of a read-only registry: the pull part of the OCI distribution specification, without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote, urlencode

from bundler.effects.registry_server.catalog import Catalog, ServedBlob, ServedRepository, page
from bundler.model import media_types
from bundler.model.digest import Digest

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>blobs|manifests|referrers|tags(?=/list$))/(?P<reference>[^/]+)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Reply:
    """An answer but for the body of a blob; ``body`` is left out when only the head was asked for."""

    status: HTTPStatus
    headers: Mapping[str, str]
    body: bytes = b""
    blob: tuple[ServedBlob, int, int] | None = None  # from, to (exclusive)


def error_reply(status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Make an error (distribution specification, Error Codes)."""
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": {}}]}).encode()
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, body)


def _document(body: bytes, media_type: str = "application/json", headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(HTTPStatus.OK, {"Content-Type": media_type, **(headers or {})}, body)


def answer(  # noqa: PLR0911  (a table of routes)
    catalog: Catalog, path: str, query: Mapping[str, str], wanted_range: str | None
) -> Reply:
    """Answer a GET or HEAD; pure, a blob is only pointed to."""
    path = unquote(path)  # some clients write the colon of a digest as %3A
    if path in ("/v2", "/v2/"):
        return _document(b"{}")
    if path == "/v2/_catalog":
        return _listing("repositories", catalog.repositories, path, query)
    route = _ROUTE.fullmatch(path)
    if route is None:
        return error_reply(HTTPStatus.NOT_FOUND, "UNSUPPORTED", "this registry does not serve this path")
    name, kind, reference = route["name"], route["kind"], route["reference"]
    repository = catalog.repositories.get(name)
    if repository is None:
        return error_reply(HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", f"the bundle does not have the repository {name}")
    if kind == "tags":
        return _listing("tags", repository.tags, path, query, {"name": name})
    if kind == "manifests":
        return _manifest(repository, reference)
    return _by_digest(repository, kind, reference, query, wanted_range)


def _by_digest(
    repository: ServedRepository, kind: str, reference: str, query: Mapping[str, str], wanted_range: str | None
) -> Reply:
    try:
        digest = Digest.parse(reference)
    except ValueError as error:
        return error_reply(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", str(error))
    if kind == "referrers":
        return _referrers(repository, digest, query)
    return _blob(repository, digest, wanted_range)


def _listing(
    key: str, names: Mapping[str, object], path: str, query: Mapping[str, str], more: Mapping[str, str] | None = None
) -> Reply:
    try:
        shown, follows = page(names, query.get("n"), query.get("last"))
    except ValueError as error:
        return error_reply(HTTPStatus.BAD_REQUEST, "PAGINATION_NUMBER_INVALID", str(error))
    headers = {}
    if follows:
        headers["Link"] = f'<{path}?{urlencode({"n": query["n"], "last": shown[-1]})}>; rel="next"'
    return _document(json.dumps({**(more or {}), key: shown}).encode(), headers=headers)


def _manifest(repository: ServedRepository, reference: str) -> Reply:
    manifest = repository.resolve(reference)
    if manifest is None:
        return error_reply(
            HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", f"the bundle does not have the manifest {reference}"
        )
    return _document(manifest.content, manifest.descriptor.media_type, _identity(manifest.descriptor.digest))


def _referrers(repository: ServedRepository, digest: Digest, query: Mapping[str, str]) -> Reply:
    artifact_type = query.get("artifactType")
    headers = {"OCI-Filters-Applied": "artifactType"} if artifact_type is not None else {}
    return _document(repository.referrers(digest, artifact_type), media_types.OCI_INDEX, headers)


def _blob(repository: ServedRepository, digest: Digest, wanted_range: str | None) -> Reply:
    blob = repository.blobs.get(digest)
    if blob is None:
        return error_reply(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", f"the bundle does not have the blob {digest}")
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **_identity(digest)}
    match = _RANGE.fullmatch(wanted_range or "")
    first, last = match.groups() if match else ("", "")
    if not (first or last) or (first and last and int(last) < int(first)):
        # None, or one that need not be understood or makes no sense (RFC 9110, section 14.2).
        return Reply(HTTPStatus.OK, headers, blob=(blob, 0, blob.size))
    begin = int(first) if first else max(0, blob.size - int(last))
    end = min(blob.size, int(last) + 1) if first and last else blob.size
    if begin >= end:
        outside = {"Content-Range": f"bytes */{blob.size}"}
        return error_reply(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "RANGE_INVALID", "outside of the blob", outside)
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{blob.size}"
    return Reply(HTTPStatus.PARTIAL_CONTENT, headers, blob=(blob, begin, end))


def _identity(digest: Digest) -> dict[str, str]:
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}
