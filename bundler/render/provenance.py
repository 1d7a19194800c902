"""Statements of how an image was made: SLSA provenance 1.0 in an in-toto statement, signed in a DSSE envelope.

No time of the build is in them, so the same inputs give the same bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bundler.model import json_document, limits
from bundler.model.descriptor import Json
from bundler.model.digest import Digest

STATEMENT: Final = "application/vnd.in-toto+json"
ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"
BUILD_TYPE: Final = "urn:dev.feast.bundler:build:v1"
BUILDER: Final = "urn:dev.feast.bundler:builder:unnamed"
"""The builder's id where nobody named one."""
_STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True)
class InTotoResource:
    """What went in or came out: a name, a URI such as a package URL, or both, and the digest where there is one."""

    name: str
    uri: str = ""
    digest: Digest | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the resource descriptor of in-toto."""
        value: dict[str, Json] = {"name": self.name}
        if self.uri:
            value["uri"] = self.uri
        if self.digest:
            value["digest"] = {"sha256": self.digest.hex}
        return value


@dataclass(frozen=True)
class BuildRun:
    """How images were made: by whom (a URI), by which version of this program, from which parameters and inputs."""

    builder: str
    version: str
    external: Mapping[str, Json]
    """What the user decides."""
    internal: Mapping[str, Json]
    """What this program decides."""
    inputs: tuple[InTotoResource, ...]
    byproducts: tuple[InTotoResource, ...] = ()


def statement(subjects: Iterable[InTotoResource], run: BuildRun) -> bytes:
    """Return the statement about images, by name and digest."""
    inputs = sorted(run.inputs, key=lambda resource: (resource.name, resource.uri))
    value: dict[str, Json] = {
        "_type": _STATEMENT_TYPE,
        "subject": [subject.to_json() for subject in subjects],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(run.external),
                "internalParameters": dict(run.internal),
                "resolvedDependencies": [resource.to_json() for resource in inputs],
            },
            "runDetails": {
                "builder": {"id": run.builder, "version": {"bundler": run.version}},
                "byproducts": [resource.to_json() for resource in run.byproducts],
            },
        },
    }
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def subjects(content: bytes) -> tuple[Digest, ...]:
    """Return the digests that a statement is about, whether it is in an envelope or not; checks no signature.

    Raises:
        ValueError: it is neither.
    """
    value = json_document.parse_object(content, "it", size=limits.DOCUMENT_SIZE)
    match value:
        case {"payloadType": str(kind), "payload": str(payload)} if kind == STATEMENT:
            inner = base64.b64decode(payload, validate=True)
            value = json_document.parse_object(inner, "its payload", size=limits.DOCUMENT_SIZE)
    rows = value.get("subject")
    digests: list[Digest] = []
    for row in rows if isinstance(rows, list) else ():
        match row:
            case {"digest": {"sha256": str(digest)}}:
                digests.append(Digest.parse(f"sha256:{digest}"))
    if value.get("_type") != _STATEMENT_TYPE or not digests:
        raise ValueError("it is not a statement of in-toto about an image")
    return tuple(digests)


def signatures(content: bytes) -> tuple[bytes, Mapping[str, bytes]]:
    """Return the statement in an envelope, and key id -> signature; of a bare statement there is none.

    Raises:
        ValueError: it is neither.
    """
    _ = subjects(content)
    match json_document.parse_object(content, "it", size=limits.DOCUMENT_SIZE):
        case {"payload": str(payload), "signatures": list(rows)}:
            found: dict[str, bytes] = {}
            for row in rows:
                match row:
                    case {"keyid": str(key_id), "sig": str(signature)}:
                        found[key_id] = base64.b64decode(signature, validate=True)
            return base64.b64decode(payload, validate=True), found
    return content, {}


def to_sign(payload: bytes) -> bytes:
    """Return what a signature of a statement is over (DSSE 1.0, pre-authentication encoding)."""
    return b"DSSEv1 %d %s %d %s" % (len(STATEMENT), STATEMENT.encode(), len(payload), payload)


def envelope(payload: bytes, signature: bytes, key_id: Digest) -> bytes:
    """Return a statement with the signature (DER) of ``to_sign`` by a key."""
    value: dict[str, Json] = {
        "payloadType": STATEMENT,
        "payload": base64.b64encode(payload).decode("ascii"),
        "signatures": [{"keyid": key_id.hex, "sig": base64.b64encode(signature).decode("ascii")}],
    }
    return json.dumps(value, indent=1).encode() + b"\n"
