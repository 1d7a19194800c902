"""Hostile bundles, each with one fault: what all readers must refuse alike, and the seeds of the fuzzers.

A case begins with an honest bundle's files. Most cases change them and list them again, so that every digest fits and
only the fault itself is left to find.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

from bundler.effects.archive.reader import Bundle
from bundler.model import layout

BLOCK: Final = 512
PROGRAMS: Final = frozenset({"install.sh", "verify.py", "bundler.pyz"})


class Place(Enum):
    """Where the fault of a case is; it decides which reader may say that it does not look there."""

    NAMES = "names"
    TAR = "tar"
    MANIFEST = "bundle.json"
    COPIES = "index.json, images.txt, SHA256SUMS"
    IMAGES = "images"
    DOCUMENTS = "Kubernetes manifests, bills of materials"
    NOTHING = "no fault"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def as_bytes(value: dict[str, Any] | bytes) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def header(
    path: bytes,
    size: int,
    *,
    mode: int = 0o644,
    time: int = 0,
    kind: bytes = b"0",
    uid: int = 0,
    size_field: bytes = b"",
    target: bytes = b"",
    magic: bytes = b"ustar\x0000",
    names: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """Return a block of a tar's header with the fields given, however odd they are."""
    head = path[:100].ljust(100, b"\0") + b"%07o\0%07o\0%07o\0" % (mode, uid, 0)
    head += (size_field or b"%011o\0" % size) + b"%011o\0" % time
    tail = kind + target.ljust(100, b"\0") + magic + names.ljust(80, b"\0") + bytes(155) + rest.ljust(12, b"\0")
    return head + b"%06o\0 " % (sum(head) + 8 * 0x20 + sum(tail)) + tail


def extended(records: Mapping[str, str], kind: bytes = b"x") -> bytes:
    """Return an extended header (pax)."""
    body = b""
    for key, value in records.items():
        text = f" {key}={value}\n".encode()
        length = len(text)
        while len(text) + len(str(length)) != length:
            length = len(text) + len(str(length))
        body += str(length).encode() + text
    return header(b"././@PaxHeader", len(body), kind=kind) + body + bytes(-len(body) % BLOCK)


@dataclass
class Member:
    """A member of a tar, as bytes."""

    path: str
    content: bytes
    head: bytes
    padding: bytes | None = None

    def to_bytes(self) -> bytes:
        padding = bytes(-len(self.content) % BLOCK) if self.padding is None else self.padding
        return self.head + self.content + padding


@dataclass
class Draft:
    """A bundle that is being made: its files but the three that follow from them, and what bundle.json says."""

    files: dict[str, bytes]
    value: dict[str, Any]
    signature: bytes | None = None
    attached: dict[str, bytes] = field(default_factory=dict)
    """Files that bundle.json does not list, as signatures and approvals that were put in later."""
    tail: bytes = bytes(2 * BLOCK)
    edit_manifest: Callable[[bytes], bytes] = lambda content: content
    edit_sums: Callable[[bytes], bytes] = lambda content: content
    edit_members: Callable[[list[Member]], list[Member]] = lambda members: members
    copies: bool = True
    """Whether index.json and images.txt follow from bundle.json."""
    extra: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, honest: Path) -> Draft:
        with Bundle.open(honest) as bundle:
            files = {path: bundle.read(path) for path in bundle.members if path not in layout.UNLISTED}
            return cls(files, json.loads(bundle.read(layout.MANIFEST)))

    def copy(self) -> Draft:
        return copy.deepcopy(self)

    @property
    def image(self) -> dict[str, Any]:
        """The first image of bundle.json, of one platform."""
        found: dict[str, Any] = self.value["images"][0]
        return found

    def put_blob(self, content: bytes) -> str:
        """Put a blob into the bundle and return its digest."""
        self.files[f"blobs/sha256/{sha(content)}"] = content
        return f"sha256:{sha(content)}"

    def take_blob(self, digest: str) -> bytes:
        """Take a blob out of the bundle and return its content."""
        return self.files.pop(f"blobs/sha256/{digest.removeprefix('sha256:')}")

    def change_image(
        self,
        manifest: Callable[[dict[str, Any]], dict[str, Any] | bytes] = lambda value: value,
        config: Callable[[dict[str, Any]], dict[str, Any] | bytes] = lambda value: value,
    ) -> None:
        """Make the first image's manifest and config anew from what they say."""
        root = self.image["root"]
        value = json.loads(self.take_blob(root["digest"]))
        content = as_bytes(config(json.loads(self.take_blob(value["config"]["digest"]))))
        value["config"] |= {"digest": self.put_blob(content), "size": len(content)}
        layers = {layer["digest"]: layer["size"] for layer in value["layers"]}
        written = as_bytes(manifest(value))
        self.set_root(written, root["mediaType"])
        self.image["size"] = len(written) + len(content) + sum(layers.values())

    def set_root(self, content: bytes, media_type: str) -> None:
        """Make a document the root of the first image."""
        root = self.image["root"]
        root.update(digest=self.put_blob(content), size=len(content), mediaType=media_type)

    def index(self) -> bytes:
        rows = []
        for image in self.value["images"]:
            keys = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
            rows.append({**image["root"], "annotations": dict.fromkeys(keys, image["reference"])})
        value = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": rows}
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    def image_list(self) -> bytes:
        prefix = self.value["registry"] + "/"
        rows = [
            f"{image['reference']}\t{image['root']['digest']}\t{image['internal'].removeprefix(prefix)}\n"
            for image in self.value["images"]
        ]
        return f"# {self.value['registry']}\n{''.join(rows)}".encode()

    def to_bytes(self) -> bytes:
        """Return the tar."""
        files = dict(self.files)
        if self.copies:
            files |= {layout.INDEX: self.index(), layout.IMAGES: self.image_list()}
        files |= self.extra
        listed = sorted(files, key=layout.order)
        known = {entry["path"]: entry["role"] for entry in self.value["files"]}
        self.value["files"] = [
            {
                "path": path,
                "role": known.get(path, "x"),
                "size": len(files[path]),
                "digest": f"sha256:{sha(files[path])}",
            }
            for path in listed
        ]
        manifest = self.edit_manifest((json.dumps(self.value, indent=1, sort_keys=True) + "\n").encode())
        sums = {path: sha(files[path]) for path in listed} | {layout.MANIFEST: sha(manifest)}
        lines = "".join(f"{sums[path]}  {path}\n" for path in sorted(sums, key=layout.order)).encode()
        files |= {layout.MANIFEST: manifest, layout.CHECKSUMS: self.edit_sums(lines)}
        if self.signature is not None:
            files[layout.SIGNATURE] = self.signature
        files |= self.attached
        created = self.value["created"]
        time = created if isinstance(created, int) and 0 <= created < 8**11 else 0
        members = [
            Member(path, files[path], self.plain_header(path, len(files[path]), time))
            for path in sorted(files, key=layout.order)
        ]
        return b"".join(member.to_bytes() for member in self.edit_members(members)) + self.tail

    @staticmethod
    def plain_header(path: str, size: int, time: int) -> bytes:
        mode = 0o755 if path in PROGRAMS else 0o644
        name = path.encode()
        if len(name) <= 100:
            return header(name, size, mode=mode, time=time)
        return extended({"path": path}) + header(name, size, mode=mode, time=time)
