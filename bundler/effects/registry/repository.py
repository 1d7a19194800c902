"""One repository of a registry: its manifests, blobs, tags and referrers (OCI distribution specification 1.1)."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import urlencode

from bundler.effects.registry.auth import Scope
from bundler.effects.registry.faults import HttpAnswer, RefusedError
from bundler.effects.registry.http import Response
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError
from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.oci import document, index
from bundler.oci.manifest import RawManifest

_ACCEPT = {"Accept": ", ".join(sorted(media_types.MANIFESTS_AND_INDEXES))}

# How registries and proxies say that HEAD is not for us, or not for anybody: GET may say more.
_HEAD_FILTERED = (400, 401, 403, 405, 501)
_NEXT_PAGE = re.compile(r"""<([^>]*)>\s*;[^<]*\brel\s*=\s*["']?(?:[^"',;<]*\s)?next\b""", re.IGNORECASE)
_MOST_PAGES = 100
# Registries that do not know the API answer 404, as they should, or one of the others (Artifactory 406, Harbor 401).
_NO_REFERRERS = (400, 401, 403, 404, 405, 406, 501)


@dataclass(frozen=True)
class Mounted:
    """The repository has the blob now."""


@dataclass(frozen=True)
class UploadBegun:
    """The registry did not mount the blob: it began an upload at ``url`` instead, as the specification allows."""

    url: str


@dataclass(frozen=True)
class NotMounted:
    """The registry refused; some do, because they need not support mounting."""

    error: RefusedError


@dataclass(frozen=True)
class Referrers:
    """What refers to a manifest; ``unread`` says of each that another digest than SHA-256 names why it is not known."""

    listed: tuple[Descriptor, ...] = ()
    unread: tuple[str, ...] = ()


MountOutcome: TypeAlias = Mounted | UploadBegun | NotMounted


class Repository:
    """Speaks of one repository; ``write`` says whether it is to be pushed to."""

    def __init__(self, session: Session, name: str, *, write: bool = False) -> None:
        self.session = session
        self.name = name
        self.scope = Scope(name, "pull,push" if write else "pull")

    @property
    def full_name(self) -> str:
        """``HOST/REPOSITORY``, for people."""
        return f"{self.session.endpoint.host}/{self.name}"

    def blob_path(self, digest: Digest) -> str:
        """Path of a blob."""
        return f"/v2/{self.name}/blobs/{digest}"

    def has_blob(self, digest: Digest) -> bool:
        """Tell whether the blob is there (end-2)."""
        doing = f"looking for the blob {digest} in {self.name}"
        answer = self._ask(
            "HEAD", self.blob_path(digest), doing, (HTTPStatus.OK, HTTPStatus.NOT_FOUND, *_HEAD_FILTERED)
        )
        if answer.status in _HEAD_FILTERED:
            return self._sends_blob(digest, doing)
        if answer.status == HTTPStatus.OK:
            self.compare(answer, digest, doing)
        return answer.status == HTTPStatus.OK

    def _sends_blob(self, digest: Digest, doing: str) -> bool:
        """Ask by GET, for the first byte alone, where HEAD was refused."""
        headers = {"Range": "bytes=0-0"}
        try:
            with self.session.stream(self.blob_path(digest), doing=doing, scopes=(self.scope,), headers=headers):
                return True
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise

    def open_blob(self, digest: Digest, offset: int = 0) -> AbstractContextManager[Response]:
        """Open a blob for reading from ``offset`` on; the registry may answer with all of it (status 200)."""
        return self.session.stream(
            self.blob_path(digest),
            doing=f"fetching the blob {digest} of {self.name}",
            scopes=(self.scope,),
            headers={"Range": f"bytes={offset}-"} if offset else None,
        )

    def manifest(self, reference: str | Digest) -> RawManifest:
        """Fetch a manifest or an index, verified (end-3).

        Raises:
            RegistryError: there is none, it is of a kind that nothing uses any more, or its digest is another.
        """
        doing = f"fetching the manifest {self.name}:{reference}"
        answer = self._ask("GET", f"/v2/{self.name}/manifests/{reference}", doing, (HTTPStatus.OK,), accept=True)
        digest = Digest.of(answer.body)
        self.compare(answer, digest, doing)
        if isinstance(reference, Digest) and reference != digest:
            raise RegistryError(
                f"{self.full_name} answers with the manifest {digest} when asked for {reference}.",
                remedy="Do not use it: find out whether the registry or a proxy before it alters what it serves.",
            )
        media_type = _media_type(answer, self.full_name)
        return RawManifest(Descriptor(media_type, digest, len(answer.body)), answer.body)

    def find_manifest(self, reference: str | Digest) -> Digest | None:
        """Return the digest of a manifest, or None where there is none (end-3)."""
        doing = f"looking for the manifest {self.name}:{reference}"
        path = f"/v2/{self.name}/manifests/{reference}"
        answer = self._ask("HEAD", path, doing, (HTTPStatus.OK, HTTPStatus.NOT_FOUND, *_HEAD_FILTERED), accept=True)
        if answer.status in _HEAD_FILTERED:
            answer = self._ask("GET", path, doing, (HTTPStatus.OK, HTTPStatus.NOT_FOUND), accept=True)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if digest := _digest_of(answer):
            return digest
        return self.manifest(reference).descriptor.digest  # the header is optional

    def put_manifest(self, reference: str | Digest, content: bytes, media_type: str) -> None:
        """Put a manifest under a tag or its digest (end-7)."""
        doing = f"putting the manifest {self.name}:{reference}"
        answer = self.session.ask(
            "PUT",
            f"/v2/{self.name}/manifests/{reference}",
            doing=doing,
            expect=(HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED),
            scopes=(self.scope,),
            headers={"Content-Type": media_type},
            body=content,
        )
        self.compare(answer, Digest.of(content), doing)

    def begin_upload(self) -> str:
        """Begin to upload a blob and return the URL to send it to (end-4a)."""
        path = f"/v2/{self.name}/blobs/uploads/"
        answer = self._ask("POST", path, f"beginning an upload to {self.name}", (HTTPStatus.ACCEPTED,))
        return self.upload_url(answer)

    def mount(self, digest: Digest, source: str) -> MountOutcome:
        """Take a blob over from the repository ``source`` (end-11) and return what the registry made of it."""
        query = urlencode({"mount": str(digest), "from": source})
        doing = f"mounting {digest} from {source} in {self.name}"
        try:
            answer = self.session.ask(
                "POST",
                f"/v2/{self.name}/blobs/uploads/?{query}",
                doing=doing,
                expect=(HTTPStatus.CREATED, HTTPStatus.ACCEPTED),
                scopes=(self.scope, Scope(source)),
            )
        except RefusedError as error:
            return NotMounted(error)
        if answer.status == HTTPStatus.CREATED:
            self.compare(answer, digest, doing)
            return Mounted()
        return UploadBegun(self.upload_url(answer))

    def upload_url(self, answer: HttpAnswer) -> str:
        """Return where an upload continues; raise ``RegistryError`` where the answer does not say."""
        location = answer.headers.get("location")
        if not location:
            raise RegistryError(
                f"{self.full_name} began an upload without saying where it continues (Location).",
                remedy="Check the address, and the registry's log: a proxy may have removed the header Location.",
            )
        return self.session.sent_to(location, at=answer.url)

    def cancel_upload(self, url: str) -> None:
        """Let the registry forget an upload; it does by itself in time, so nothing is made of a failure."""
        self.session.exchange("DELETE", url, doing="cancelling an upload", scopes=(self.scope,), cleans_up=True)

    def referrers(self, digest: Digest) -> Referrers:
        """Return what refers to a manifest: signatures, bills of materials, ... (end-12a, else the tag scheme).

        Raises:
            RefusedError: the API failed, and the tag scheme has nothing: nobody knows.
        """
        doing = f"looking for what refers to {digest} in {self.name}"
        failure: RefusedError | None = None
        try:
            if (listed := self._pages(f"/v2/{self.name}/referrers/{digest}", doing)) is not None:
                return listed
        except RefusedError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            failure = error
        path = f"/v2/{self.name}/manifests/sha256-{digest.hex}"
        answer = self._ask("GET", path, doing, (HTTPStatus.OK, *_NO_REFERRERS), accept=True)
        if answer.status == HTTPStatus.OK:
            with suppress(ValueError):
                return _listed(answer.body)
        if failure:
            raise failure
        return Referrers()

    def _pages(self, path: str, doing: str) -> Referrers | None:
        """Return all pages of a list of referrers; None where the registry does not know the API."""
        rows: dict[Digest, Descriptor] = {}
        unread: list[str] = []
        for page in range(_MOST_PAGES):
            # 500 is how some say that they do not know the API: repeating the question does not change that.
            expect = (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR, *(() if page else _NO_REFERRERS))
            answer = self._ask("GET", path, doing, expect, accept=True)
            if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                raise self.session.refusal(answer, doing=doing, scopes=(self.scope,))
            if answer.status != HTTPStatus.OK:
                return None
            try:
                listing = _listed(answer.body)
            except ValueError:
                return None
            rows.update((row.digest, row) for row in listing.listed)
            unread += listing.unread
            following = _NEXT_PAGE.search(answer.headers.get("link", ""))
            if following is None:
                return Referrers(tuple(rows.values()), tuple(unread))
            path = self.session.sent_to(following[1], at=answer.url)
        raise RegistryError(
            f"{self.full_name} has more than {_MOST_PAGES} pages of what refers to a manifest.",
            remedy="Remove what refers to the manifest, or leave out 'companions'.",
        )

    def compare(self, answer: HttpAnswer, digest: Digest, doing: str) -> None:
        """Raise ``RegistryError`` where the answer names another digest than the expected one."""
        answered = answer.headers.get("docker-content-digest")
        if answered and answered.startswith("sha256:") and answered != str(digest):
            raise RegistryError(
                f"The registry {self.session.endpoint.host} answered with the digest {answered} while {doing}; "
                f"expected {digest}.",
                remedy="Do not use it: find out whether the registry or a proxy before it alters what passes.",
            )

    def _ask(self, method: str, path: str, doing: str, expect: tuple[int, ...], *, accept: bool = False) -> HttpAnswer:
        headers = _ACCEPT if accept else None
        return self.session.ask(method, path, doing=doing, expect=expect, scopes=(self.scope,), headers=headers)


def _listed(content: bytes) -> Referrers:
    """Return what an index lists, of any number; raise ``ValueError`` where it is not an index."""
    match document.parse(content, "the list of referrers"):
        case {"manifests": list(rows)}:
            entries = [(row, index.unread_entry(row)) for row in rows]
            return Referrers(
                tuple(Descriptor.from_json(row) for row, unread in entries if unread is None),
                tuple(f"one that refers to it is {unread.reason}" for _, unread in entries if unread is not None),
            )
    raise ValueError("not an index")


def _digest_of(answer: HttpAnswer) -> Digest | None:
    try:
        return Digest.parse(answer.headers.get("docker-content-digest", ""))
    except ValueError:
        return None


def _media_type(answer: HttpAnswer, name: str) -> str:
    """Return the manifest's own media type, else the answer's."""
    try:
        own = document.parse(answer.body, "it").get("mediaType")
    except ValueError as error:
        raise RegistryError(
            f"{name} answers with a manifest that cannot be used: {error}.",
            remedy="Check the address: what answers there may not be a registry.",
        ) from error
    media_type = own if isinstance(own, str) and own else answer.headers.get("content-type", "").partition(";")[0]
    if media_type not in media_types.MANIFESTS_AND_INDEXES:
        raise RegistryError(
            f"{name} answers with a manifest of the type {media_type!r}, which cannot be used.",
            remedy="Push the image again with a current tool (docker schema 1 has been given up by all of them).",
        )
    return media_type
