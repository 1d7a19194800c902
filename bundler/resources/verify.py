#!/usr/bin/env python3
"""Verify a bundle with nothing but Python's standard library (3.8 or newer), and openssl where a key is given.

    python3 verify.py NAME-VERSION.bundle.tar [--key PUBLIC_KEY.pem]
    python3 verify.py NAME-VERSION.bundle.tar.001 [--key PUBLIC_KEY.pem]     (all volumes in one folder)
    python3 verify.py FOLDER_IT_WAS_UNPACKED_TO [--key PUBLIC_KEY.pem]

What the signature covers, and what this program checks:

1. bundle.json lists every other file of the bundle with its size and SHA-256; its signature, bundle.json.sig, covers
   bundle.json. So the signature covers every byte. It has one form only: keys sorted, ASCII, a value a line.
2. Every file is read and hashed. A missing, altered or extra file is a fault, and so is anything that is not a plain
   file, a path that leaves the bundle, a file that occurs twice, and bytes outside of any file.
3. The headers of the tar have one form only: order, owner, mode, time and padding are what a bundle has.
4. SHA256SUMS, index.json and images.txt are what follows from bundle.json, byte for byte.
5. A blob (part of a container image) also has its hash as its name; images refer to their parts by these names.

Not checked here, but by every command of bundler: that images are complete, and what Kubernetes manifests, bills of
materials and checklist.json say. In a folder, nothing of the tar is left to check.

Nothing is unpacked or written. Every fault is printed. Exit code: 0 no fault, 6 a fault was found, 2 wrong usage,
4 openssl is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

OK, USAGE, OPENSSL_MISSING, FAULTS = 0, 2, 4, 6
MANIFEST, SIGNATURE, CHECKSUMS, BLOBS = "bundle.json", "bundle.json.sig", "SHA256SUMS", "blobs/sha256/"
MOST_SIGNATURES = 32
INDEX, IMAGES = "index.json", "images.txt"
READ = {MANIFEST: 8 << 20, CHECKSUMS: 16 << 20, INDEX: 4 << 20, IMAGES: 16 << 20}  # most bytes
SIGNATURE_SIZE = 8 << 10
MOST_FILES, MOST_IMAGES, MOST_VALUES, LATEST = 20_000, 1000, 500_000, 0o77777777777
LONGEST_PATH, NAME_FIELD, PREFIX_FIELD, LONGEST_HEADER = 240, 100, 155, 4096
CHUNK = 1 << 20
BLOCK = 512  # a tar is made of blocks of this size
PROGRAMS = ("install.sh", "verify.py", "bundler.pyz")
ORDER = (
    *("oci-layout", INDEX, MANIFEST, SIGNATURE, CHECKSUMS, "README.md", IMAGES, "CHECKLIST.html", "checklist.json"),
    *("CHECKLIST.md", "manifests/", "sbom/", *PROGRAMS, "bundle.lock"),
)
PATH = re.compile(r"[A-Za-z0-9_+@][A-Za-z0-9_+@.-]*(/[A-Za-z0-9_+@][A-Za-z0-9_+@.-]*)*")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
NAME = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*"
TARGET = re.compile(NAME + "(?:/" + NAME + ")*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
WORD = "[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"


class Seen(NamedTuple):
    """A file as it was found."""

    size: int
    sha256: str


class FoundBundle(NamedTuple):
    """All that was found: each file, the contents of those that are read, the times, and what was wrong on the way."""

    files: dict[str, Seen]
    small: dict[str, bytes]
    times: set[int]
    faults: list[str]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Verify a bundle, or the folder that it was unpacked to.")
    parser.add_argument("bundle", type=Path, nargs="+", help="the bundle's tar, its volumes, or a folder")
    parser.add_argument("--key", metavar="PEM", type=Path, help="public key that the signature must fit")
    arguments = parser.parse_args()
    place = min(arguments.bundle)  # of volumes the first; the others are found beside it
    if any(path.name[:-3] != place.name[:-3] and path.suffix != ".SHA256SUMS" for path in arguments.bundle):
        parser.error("these are several bundles: name one")
    if not place.exists():
        parser.error(f"there is no {plain(str(place))}")
    if arguments.key and not arguments.key.is_file():
        parser.error(f"there is no key {plain(str(arguments.key))}")
    if arguments.key and not shutil.which("openssl"):
        sys.stderr.write("openssl is not on PATH: install it, or leave out --key\n")
        return OPENSSL_MISSING
    bundle = read_folder(place) if place.is_dir() else read_tar(place)
    manifest, faults = check(bundle)
    if arguments.key:
        faults += check_signature(bundle, arguments.key)
    for fault in faults:
        say("FAULT", fault)
    if faults:
        say("FAULT", f"{len(faults)} found: do not use this bundle.")
        return FAULTS
    report(bundle, manifest, place, arguments.key)
    return OK


def check(bundle: FoundBundle) -> tuple[dict[str, Any], list[str]]:
    """Return what bundle.json says, and every fault but those of the signature."""
    manifest, wrong = manifest_of(bundle)
    faults = bundle.faults + wrong
    if manifest:
        faults += compare(MANIFEST, bundle, listed_in_manifest(manifest))
        faults += unnamable(manifest) + repeated(bundle, manifest)
        if bundle.times - {manifest["created"]}:
            faults.append(f"files have other times than {MANIFEST}: {sorted(bundle.times)[:5]}")
    listed, wrong = listed_in_checksums(bundle)
    faults += wrong + compare(CHECKSUMS, bundle, listed)
    faults += [name + ": its name is not its SHA-256" for name in bundle.files if misnamed(name, bundle.files[name])]
    return manifest, faults


def report(bundle: FoundBundle, manifest: dict[str, Any], place: Path, key: Path | None) -> None:
    """Say what is known of a bundle without faults, and what is not."""
    size = sum(seen.size for seen in bundle.files.values())
    say("ok", f"{len(bundle.files)} files, {size} bytes: none missing, altered or extra")
    say("ok", f"{MANIFEST} is {bundle.files[MANIFEST].sha256}")
    base = manifest.get("base")
    if base:
        name = f"{base['name']} {base['version']}, {base['digest']}"
        say("note", f"a delta: layers of its images are only in the bundle {name}")
    if key:
        say("ok", f"signed by the key in {key}")
    else:
        say("note", "who made it is not checked: no --key")
    only_tar = "order, owners, modes and padding of the tar, " if place.is_dir() else ""
    say("note", f"not checked here: {only_tar}what images, Kubernetes manifests and other documents say")


# Reading: a tar where it lies, in one file or in volumes, or a folder.


class JoinedVolumes(io.RawIOBase):
    """Files read one after the other as if they were one."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__()
        self.files = [path.open("rb") for path in paths]
        self.ends = [0]
        for file in self.files:
            self.ends.append(self.ends[-1] + os.fstat(file.fileno()).st_size)
        self.position = 0

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()
        super().close()

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that any place can be read."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place of the whole."""
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.ends[-1]}[whence]
        return self.position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001  (older Pythons have no name for it)
        """Read what the file at this place has; the next call continues in the next file."""
        for file, begin, end in zip(self.files, self.ends, self.ends[1:]):  # noqa: B905  (not before Python 3.10)
            if begin <= self.position < end:
                file.seek(self.position - begin)
                count = file.readinto(memoryview(buffer)[: end - self.position])
                self.position += count
                return count
        return 0


def volumes_of(path: Path, faults: list[str]) -> list[Path]:
    """Return the file itself, or all volumes of its bundle where it is one; missing and foreign ones are faults."""
    match = re.fullmatch(r"(.+\.tar)\.[0-9]{3}", path.name)
    if not match:
        return [path]
    # What "cat NAME.???" would take.
    beside = sorted(
        entry
        for entry in path.parent.iterdir()
        if re.fullmatch(re.escape(match.group(1)) + r"\..{3}", entry.name, re.DOTALL)
    )
    volumes = [
        entry for entry in beside if re.fullmatch("[0-9]{3}", entry.name[-3:], re.ASCII) and entry.name[-3:] != "000"
    ]
    faults += [f"{entry.name}: beside the volumes, but not one of them" for entry in beside if entry not in volumes]
    last = int(volumes[-1].name[-3:]) if volumes else 0
    wanted = [path.with_name(f"{match.group(1)}.{number:03}") for number in range(1, last + 1)]
    faults += [f"{volume.name}: missing" for volume in wanted if volume not in volumes]
    longest = max([volume.stat().st_size for volume in volumes], default=0)
    faults += [f"{volume.name}: cut off" for volume in volumes[:-1] if volume.stat().st_size < longest]
    sums = path.with_name(match.group(1) + ".SHA256SUMS")
    if sums.exists() and not (sums.is_file() and listed_volumes(sums) == {volume.name for volume in volumes}):
        faults.append(f"{sums.name}: does not list these volumes as sha256sum does")
    return volumes


def listed_volumes(sums: Path) -> set[str]:
    """Return the names that a file of checksums beside the volumes lists, none where it is malformed."""
    with sums.open("rb") as stream:
        rows = stream.read(CHUNK + 1).decode("ascii", "replace").split("\n")
    names = {row[66:] for row in rows[:-1] if re.fullmatch("[0-9a-f]{64}  [^/]+", row)}
    return names if len(names) == len(rows) - 1 and not rows[-1] else set()


def read_tar(path: Path) -> FoundBundle:
    """Read every member of a tar once, in order; a member that a bundle never contains is a fault."""
    bundle = FoundBundle({}, {}, set(), [])
    try:
        paths = volumes_of(path, bundle.faults)
        odd = [entry.name for entry in paths if not entry.is_file()]  # opening a pipe would wait
        if odd:
            bundle.faults.append(f"{odd[0]}: not a file")
            return bundle
        with io.BufferedReader(JoinedVolumes(paths), CHUNK) as stream:
            read_members(stream, bundle)
    except OSError as error:
        bundle.faults.append(f"{path}: cannot be read: {error}")
    return bundle


def read_members(stream: BinaryIO, bundle: FoundBundle) -> None:
    """Read members up to the end; where a header is not as bundles have it, what lies behind it cannot be found."""
    last: tuple[int, str] = (-1, "")
    while True:
        place = stream.tell()
        raw = stream.read(BLOCK)
        if raw == bytes(BLOCK):
            if stream.read(BLOCK + 1) != bytes(BLOCK):
                bundle.faults.append(f"byte {place}: the tar is cut off, or has something behind its end")
            return
        try:
            path, size, time, raw = read_header(raw, stream)
        except ValueError as error:
            bundle.faults.append(f"byte {place}: {error}")
            return
        if raw != header(path, size, time):
            bundle.faults.append(
                f"{path}: not a plain file with the header that a bundle has (kind, owner, mode, form)"
            )
            return
        if order(path) <= last:
            bundle.faults.append(path + ": occurs twice or out of order")
        if len(bundle.files) > MOST_FILES:
            bundle.faults.append(f"more than {MOST_FILES} files")
            return
        last = order(path)
        bundle.times.add(time)
        add(bundle, path, stream, size)
        padding = stream.read(-size % BLOCK)
        if padding != bytes(-size % BLOCK):
            bundle.faults.append(path + ": bytes behind it that belong to no file")


def read_header(raw: bytes, stream: BinaryIO) -> tuple[str, int, int, bytes]:
    """Return path, size, time and all bytes of a header; only ``header`` says whether it is as it should be."""
    records = {}
    if raw[156:157] == b"x":  # a long path or a large size: records of "LENGTH KEY=VALUE"
        length = number(raw, 124, 136)
        if length > LONGEST_HEADER:
            raise ValueError("an extended header that no bundle has")
        body = stream.read(length + -length % BLOCK)
        records = dict(re.findall(rb"(?:^|(?<=\n))[0-9]{1,4} (path|size)=([^\n]*)\n", body))
        raw += body + stream.read(BLOCK)
    block = raw[-BLOCK:]
    if len(block) < BLOCK:
        raise ValueError("the tar is cut off")
    name, prefix = block[:100].rstrip(b"\0"), block[345:500].rstrip(b"\0")
    path = records.get(b"path", prefix + b"/" + name if prefix else name).decode("ascii", "backslashreplace")
    size = records.get(b"size")
    if size is not None and not re.fullmatch(rb"[0-9]{1,18}", size):
        raise ValueError("an extended header that no bundle has")
    return path, int(size) if size else number(block, 124, 136), number(block, 136, 148), raw


def number(block: bytes, begin: int, end: int) -> int:
    """Read an octal number of a header."""
    match = re.fullmatch(rb"([0-7]{1,11})[ \0]*", block[begin:end])
    if not match:
        raise ValueError("the tar is damaged, or a header is not as a bundle has it")
    return int(match.group(1), 8)


def header(path: str, size: int, time: int) -> bytes:
    """Return the header that a bundle has for a file (POSIX ustar, and pax for what that has no room for)."""
    name, prefix, records = path.encode(), b"", b""
    if len(name) > NAME_FIELD:
        cut = name.find(b"/", len(name) - 101, len(name) - 1)
        if 0 < cut <= PREFIX_FIELD:
            prefix, name = name[:cut], name[cut + 1 :]
        else:
            records, name = record("path", path), name[:100]
    if size > LATEST:
        records, size = records + record("size", str(size)), 0
    block = ustar((name, prefix), b"0", 0o755 if path in PROGRAMS else 0o644, size, time)
    if not records:
        return block
    extended = ustar((b"././@PaxHeader", b""), b"x", 0o644, len(records), 0)
    return extended + records + bytes(-len(records) % BLOCK) + block


def record(key: str, value: str) -> bytes:
    """Return a record of an extended header, whose length counts its own digits."""
    text = f" {key}={value}\n".encode()
    length = len(text)
    while len(text) + len(str(length)) != length:
        length = len(text) + len(str(length))
    return str(length).encode() + text


def ustar(names: tuple[bytes, bytes], kind: bytes, mode: int, size: int, time: int) -> bytes:
    """Return one block of a header, with its checksum."""
    name, prefix = names
    head = name.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, time)
    tail = kind + bytes(100) + b"ustar\x0000" + bytes(80) + prefix.ljust(155, b"\0") + bytes(12)
    return head + b"%06o\0 " % (sum(head) + 8 * 0x20 + sum(tail)) + tail


def order(path: str) -> tuple[int, str]:
    """Return the key by which the files of a bundle are sorted."""
    if path.startswith(BLOBS):
        return len(ORDER) + 1, path
    if path.startswith("signatures/"):  # behind all else, as approvals, so that one more is appended
        return len(ORDER) + 2, path
    if path.startswith("approvals/"):
        return len(ORDER) + 3, path
    first = path.partition("/")[0] + "/" if "/" in path else path
    return ORDER.index(first) if first in ORDER else len(ORDER), path


def read_folder(folder: Path) -> FoundBundle:
    """Read every file below a folder; links and devices are faults."""
    bundle = FoundBundle({}, {}, set(), [])
    for path, name in walk(folder, ""):
        if len(bundle.files) + len(bundle.faults) > MOST_FILES + MOST_SIGNATURES:
            bundle.faults.append(f"more than {MOST_FILES} files")
            return bundle
        if path.is_symlink() or not path.is_file():
            bundle.faults.append(name + ": not a plain file")
            continue
        try:
            with path.open("rb") as stream:
                add(bundle, name, stream, os.fstat(stream.fileno()).st_size)
        except OSError as error:
            bundle.faults.append(f"{name}: cannot be read: {error.strerror}")
    return bundle


def walk(folder: Path, prefix: str) -> Iterator[tuple[Path, str]]:
    """Yield path and name inside the bundle of everything below a folder except folders that have something in them."""
    entries = sorted(folder.iterdir())
    if prefix and not entries:
        yield folder, prefix.rstrip("/")
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir() and not entry.is_symlink():
            yield from walk(entry, name + "/")
        else:
            yield entry, name


def add(bundle: FoundBundle, name: str, stream: BinaryIO, size: int) -> None:
    """Hash the next ``size`` bytes as the file ``name``, and keep them where the file is one that is read."""
    if name in bundle.files:
        bundle.faults.append(name + ": occurs twice")
    if len(name) > LONGEST_PATH or not PATH.fullmatch(name):
        bundle.faults.append(name + ": not a path inside a bundle")
    most = SIGNATURE_SIZE if is_attached(name) else READ.get(name, -1)
    keep = size <= most
    if most >= 0 and not keep:
        bundle.faults.append(f"{name}: larger than {most} bytes")
    state, kept, left = hashlib.sha256(), b"", size
    while left:
        chunk = stream.read(min(CHUNK, left))
        if not chunk:
            bundle.faults.append(f"{name}: ends {left} bytes too early")
            break
        state.update(chunk)
        kept += chunk if keep else b""
        left -= len(chunk)
    bundle.files[name] = Seen(size - left, state.hexdigest())
    if keep:
        bundle.small[name] = kept


# What the bundle lists, compared with the files that it has.


def manifest_of(bundle: FoundBundle) -> tuple[dict[str, Any], list[str]]:
    """Return what bundle.json says, empty where it is not one, and what is wrong with it."""
    content = bundle.small.get(MANIFEST, b"")
    try:
        require(sum(map(content.count, (b",", b"[", b"{"))) <= MOST_VALUES, f"more than {MOST_VALUES} values")
        value = json.loads(content)
        # One form for one meaning: no second value for a name, nothing that a reader could overlook.
        require((json.dumps(value, indent=1, sort_keys=True) + "\n").encode() == content, "not in its canonical form")
        check_manifest(value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {}, [f"{MANIFEST}: missing, or cannot be used: {str(error)[:200] or type(error).__name__}"]
    return value, []


HOST = r"(localhost|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?"
REPOSITORY = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"


def unnamable(manifest: dict[str, Any]) -> list[str]:
    """Return what in bundle.json reaches file names, registries and programs, but has not the form of such a name."""
    texts = [("name", manifest["name"], LABEL), ("version", manifest["version"], TAG)]
    texts.append(("registry", manifest["registry"], f"({HOST}(/{REPOSITORY})?)?"))
    name = f"({HOST}/)?{REPOSITORY}(:{TAG})?(@sha256:[0-9a-f]{{64}})?"
    for image in manifest["images"]:
        texts.append(("name of an image", image["internal"], f"({name})?"))
        words = list(image["root"].get("platform", {}).values())
        words += [word for platform in image["platforms"] for word in platform.split("/")]
        texts += [("platform", word, "[A-Za-z0-9._-]{0,64}") for word in words]
    return [f"{MANIFEST}: not a {what}: {text}" for what, text, form in texts if not re.fullmatch(form, text)]


def check_manifest(value: dict[str, Any]) -> None:
    """Raise an error for what no bundle.json has: other keys, other types, files twice or out of order."""
    base = {"base"} if "base" in value else set()
    has_keys(value, {"format", "name", "version", "tool", "created", "registry", "images", "files", *base})
    require(value["format"] == (2 if base else 1) and value["format"] is not True, "unknown format")
    require(is_number(value["created"], LATEST), "a time that no tar can say")
    texts = [value[key] for key in ("name", "version", "tool", "registry")]
    if base:
        has_keys(value["base"], {"name", "version", "digest", "blobs"})
        require(re.fullmatch(LABEL, value["base"]["name"]), "no bundle has that name")
        require(re.fullmatch(TAG, value["base"]["version"]), "no bundle has that version")
        require(DIGEST.fullmatch(value["base"]["digest"]), "not a digest")
        blobs = value["base"]["blobs"]
        require(len(blobs) <= MOST_FILES, "too many blobs")
        for blob in blobs:
            has_keys(blob, {"digest", "size", "repository"})
            require(DIGEST.fullmatch(blob["digest"]) and is_number(blob["size"]), "not a blob of the base")
            require(TARGET.fullmatch(blob["repository"] + ":x"), "not a repository")
        names = [blob["digest"] for blob in blobs]
        require(names == sorted(set(names)), "the blobs of the base are not in order, each once")
    lists = [value["images"], value["files"], value["base"]["blobs"] if base else []]
    lists += [image["platforms"] for image in value["images"]]
    require(all(isinstance(rows, list) for rows in lists), "not a list")
    require(len(value["images"]) <= MOST_IMAGES and len(value["files"]) <= MOST_FILES, "too many images or files")
    for image in value["images"]:
        source = {"sourceDigest"} if "sourceDigest" in image else set()
        has_keys(image, {"reference", "role", "root", "platforms", "size", "internal", *source})
        root = image["root"]
        has_keys(root, {"mediaType", "digest", "size", *({"platform"} if "platform" in root else set())})
        require(
            all(DIGEST.fullmatch(text) for text in (root["digest"], image.get("sourceDigest", root["digest"]))),
            "not a digest",
        )
        require(is_number(root["size"]) and is_number(image["size"]), "not a size")
        texts += [image["reference"], image["role"], image["internal"], root["mediaType"], *image["platforms"]]
        platform = root.get("platform", {"os": "", "architecture": ""})
        has_keys(platform, {"os", "architecture", *({"variant"} & set(platform))})
        require(
            all(re.fullmatch("linux/(amd64|arm64)(/[^/]+)?", text) for text in image["platforms"]), "not a platform"
        )
        texts += platform.values()
    for entry in value["files"]:
        has_keys(entry, {"path", "role", "size", "digest"})
        require(is_number(entry["size"]) and DIGEST.fullmatch(entry["digest"]), "not a file")
        require(len(entry["path"]) <= LONGEST_PATH and PATH.fullmatch(entry["path"]), "not a path inside a bundle")
        unknowable = entry["path"] in (MANIFEST, CHECKSUMS) or is_attached(entry["path"])
        require(not unknowable, "lists a file that it cannot know")
        texts.append(entry["role"])
    require(all(re.fullmatch("[ -~]{0,400}", text) for text in texts), "a text that is too long or not plain")
    keys = [order(entry["path"]) for entry in value["files"]]
    require(keys == sorted(set(keys)), "lists a file twice or out of order")
    check_names([MANIFEST, SIGNATURE, CHECKSUMS] + [entry["path"] for entry in value["files"]])


def check_names(paths: list[str]) -> None:
    """Raise an error for two names that are one on a disk that ignores case, or that are file and folder."""
    files = {path.lower() for path in paths}
    require(len(files) == len(paths), "two names are one file on some disks")
    folders: dict[str, str] = {}
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder.lower() not in folders:
            folders[folder.lower()] = folder
            folder = folder.rpartition("/")[0]
        require(not folder or folders[folder.lower()] == folder, "two names are one folder on some disks")
    require(not files & set(folders), "a name is both a file and a folder")


def has_keys(value: object, keys: set[str]) -> None:
    """Raise an error where an object has other keys."""
    require(isinstance(value, dict) and set(value) == keys, "a property is missing or unknown")


def is_number(value: object, most: int = (1 << 63) - 1) -> bool:
    """Tell whether this is a whole number that can be a size or a time."""
    return type(value) is int and 0 <= value <= most


def require(condition: object, otherwise: str) -> None:
    """Raise an error where a condition does not hold."""
    if not condition:
        raise ValueError(otherwise)


def listed_in_manifest(manifest: dict[str, Any]) -> dict[str, Seen]:
    """Return what bundle.json lists."""
    return {entry["path"]: Seen(entry["size"], entry["digest"][7:]) for entry in manifest["files"]}


def repeated(bundle: FoundBundle, manifest: dict[str, Any]) -> list[str]:
    """Return which files are not, byte for byte, what follows from bundle.json."""
    sums = {entry["path"]: entry["digest"][7:] for entry in manifest["files"]}
    sums[MANIFEST] = bundle.files[MANIFEST].sha256
    rows, lines, faults = [], [f"# {manifest['registry']}\n"], []
    owners: dict[str, str] = {}
    for image in manifest["images"]:
        name, digest, prefix = layout_name(image), image["root"]["digest"], manifest["registry"].rstrip("/") + "/"
        target = image["internal"][len(prefix) :].split("@")[0]
        if ":" not in target:
            target += ":sha256-" + digest[7:19]
        if not image["internal"].startswith(prefix) or not TARGET.fullmatch(target):
            faults.append(f"{MANIFEST}: an image has no usable internal name: {image['internal']}")
        if owners.setdefault(target, digest) != digest:
            faults.append(f"{MANIFEST}: two images have the internal name {target}")
        names = {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": image["reference"]}
        rows.append({**image["root"], "annotations": names})
        lines.append(f"{name}\t{digest}\t{target}\n")
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": rows}
    expected = {
        INDEX: json.dumps(index, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        IMAGES: "".join(lines),
        CHECKSUMS: "".join(f"{sums[path]}  {path}\n" for path in sorted(sums, key=order)),
    }
    for path, text in expected.items():
        if bundle.small.get(path, b"") != text.encode():
            faults.append(f"{path}: missing, or not what follows from {MANIFEST}")
    if len({layout_name(image) for image in manifest["images"]}) != len(manifest["images"]):
        faults.append(f"{MANIFEST}: two images have one name")
    return faults


def layout_name(image: dict[str, Any]) -> str:
    """Return the name of an image in index.json."""
    reference: str = image["reference"]
    if re.fullmatch(f"{WORD}(?:/{WORD})*", reference):
        return reference
    short: str = image["root"]["digest"][7:19]
    return re.sub("([^A-Za-z0-9/])[^A-Za-z0-9/]+", r"\1", reference) + "-" + short


def listed_in_checksums(bundle: FoundBundle) -> tuple[dict[str, Seen], list[str]]:
    """Return what SHA256SUMS lists; it has no sizes, so those of the files are used."""
    listed: dict[str, Seen] = {}
    text = bundle.small.get(CHECKSUMS, b"").decode("ascii", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64})  (\S+)", line)
        if not match or match.group(2) in listed:
            return listed, [f"{CHECKSUMS}: line {number} is malformed or repeats a file"]
        seen = bundle.files.get(match.group(2))
        listed[match.group(2)] = Seen(seen.size if seen else 0, match.group(1))
    return listed, [] if listed else [CHECKSUMS + ": missing or empty"]


def compare(document: str, bundle: FoundBundle, listed: dict[str, Seen]) -> list[str]:
    """Return how the files differ from what a document lists: every other file, but not itself and what signs it."""
    if not listed:
        return []
    # SHA256SUMS covers bundle.json; bundle.json cannot cover SHA256SUMS, which covers it.
    covered = {name for name in bundle.files if not is_attached(name)} - {CHECKSUMS, document}
    faults = [f"{name}: extra, not listed in {document}" for name in sorted(covered - set(listed))]
    faults += [f"{name}: missing, but listed in {document}" for name in sorted(set(listed) - covered)]
    for name in sorted(covered & set(listed)):
        expected, seen = listed[name], bundle.files[name]
        if expected != seen:
            faults.append(
                f"{name}: altered: {document} says {expected.size} bytes, {expected.sha256}; "
                f"found {seen.size} bytes, {seen.sha256}"
            )
    return faults


def is_signature(name: str) -> bool:
    """Tell whether a file signs bundle.json, which therefore cannot list it."""
    return name == SIGNATURE or bool(re.fullmatch("signatures/[0-9a-f]{64}[.]sig", name))


def is_attached(name: str) -> bool:
    """Tell whether a file is a signature or an approval; approvals are not checked here."""
    return is_signature(name) or bool(re.fullmatch("approvals/[a-z][a-z0-9-]{0,31}-[0-9a-f]{64}[.](json|sig)", name))


def misnamed(name: str, seen: Seen) -> bool:
    """Tell whether a blob's name is not its hash."""
    return name.startswith(BLOBS) and name[len(BLOBS) :] != seen.sha256


def check_signature(bundle: FoundBundle, key: Path) -> list[str]:
    """Let openssl check the signatures over bundle.json (in DER, which openssl requires); one must fit."""
    signatures = {content for name, content in bundle.small.items() if is_signature(name)}
    if not signatures or MANIFEST not in bundle.small:
        return [f"there is no signature ({SIGNATURE})"]
    reason = ""
    for signature in sorted(signatures)[:MOST_SIGNATURES]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "signature"
            file.write_bytes(signature)
            command = ["openssl", "dgst", "-sha256", "-verify", str(key), "-signature", str(file)]
            done = subprocess.run(
                command, input=bundle.small[MANIFEST], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
        if not done.returncode:
            return []
        reason = " ".join(done.stdout.decode("ascii", "replace").split())
    return [f"no signature fits the key {key}: {reason}"]


def plain(text: str) -> str:
    """Return text in visible ASCII: a hostile bundle may choose anything for its file names."""
    return "".join(
        letter if letter.isascii() and letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def say(mark: str, text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{mark:<6} {plain(text)}\n")


if __name__ == "__main__":
    sys.exit(main())
