#!/usr/bin/env python3
"""Verify a bundle with nothing but Python's standard library (3.8 or newer), and openssl where a key is given.

    python3 verify.py NAME-VERSION.bundle.tar [--key PUBLIC_KEY.pem]
    python3 verify.py NAME-VERSION.bundle.tar.001 [--key PUBLIC_KEY.pem]     (all volumes in one folder)
    python3 verify.py FOLDER_IT_WAS_UNPACKED_TO [--key PUBLIC_KEY.pem]

What the signature covers, and what this program checks:

1. bundle.json lists every other file of the bundle with its size and SHA-256; its signature, bundle.json.sig, covers
   bundle.json. So the signature covers every byte. SHA256SUMS lists the same files for the program sha256sum.
2. Every file is read and hashed. A missing, altered or extra file is a fault, and so is anything that is not a plain
   file, a path that leaves the bundle, a file that occurs twice, and bytes outside of any file.
3. A blob (part of a container image) also has its hash as its name; images refer to their parts by these names.

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
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

OK, USAGE, OPENSSL_MISSING, FAULTS = 0, 2, 4, 6
MANIFEST, SIGNATURE, CHECKSUMS, BLOBS = "bundle.json", "bundle.json.sig", "SHA256SUMS", "blobs/sha256/"
MOST_SIGNATURES = 32
SMALL = 64 << 20  # bytes; no bundle.json, SHA256SUMS or signature of a bundle is larger
CHUNK = 1 << 20
BLOCK = 512  # a tar is made of blocks of this size


class Seen(NamedTuple):
    """A file as it was found."""

    size: int
    sha256: str


class FoundBundle(NamedTuple):
    """All that was found: each file, the contents of the three that are read, and what was wrong on the way."""

    files: dict[str, Seen]
    small: dict[str, bytes]
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
    faults = list(bundle.faults)
    faults += compare(MANIFEST, bundle, *listed_in_manifest(bundle))
    faults += unnamable(bundle)
    faults += compare(CHECKSUMS, bundle, *listed_in_checksums(bundle))
    faults += [name + ": its name is not its SHA-256" for name in bundle.files if misnamed(name, bundle.files[name])]
    if arguments.key:
        faults += check_signature(bundle, arguments.key)

    for fault in faults:
        say("FAULT", fault)
    if faults:
        say("FAULT", f"{len(faults)} found: do not use this bundle.")
        return FAULTS
    size = sum(seen.size for seen in bundle.files.values())
    say("ok", f"{len(bundle.files)} files, {size} bytes: none missing, altered or extra")
    say("ok", f"{MANIFEST} is {bundle.files[MANIFEST].sha256}")
    base = base_of_delta(bundle)
    if base:
        say("note", f"a delta: layers of its images are only in the bundle {base}")
    if arguments.key:
        say("ok", f"signed by the key in {arguments.key}")
    else:
        say("note", "who made it is not checked: no --key")
    return OK


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
        """Read what the file at this place has; the next call goes on in the next file."""
        for file, begin, end in zip(self.files, self.ends, self.ends[1:]):  # noqa: B905  (not before Python 3.10)
            if begin <= self.position < end:
                file.seek(self.position - begin)
                count = file.readinto(memoryview(buffer)[: end - self.position])
                self.position += count
                return count
        return 0


def volumes_of(path: Path, faults: list[str]) -> list[Path]:
    """Return the file itself, or all volumes of its bundle where it is one; those that are missing are faults."""
    match = re.fullmatch(r"(.+\.tar)\.[0-9]{3}", path.name)
    if not match:
        return [path]
    pattern = re.escape(match.group(1)) + r"\.[0-9]{3}"
    found = sorted(entry for entry in path.parent.iterdir() if re.fullmatch(pattern, entry.name))
    last = int(found[-1].name[-3:])
    wanted = [path.with_name(f"{match.group(1)}.{number:03}") for number in range(1, last + 1)]
    faults += [f"{volume.name}: missing" for volume in wanted if volume not in found]
    longest = max(volume.stat().st_size for volume in found)
    faults += [f"{volume.name}: cut off" for volume in found[:-1] if volume.stat().st_size < longest]
    return found


def read_tar(path: Path) -> FoundBundle:
    """Read every member of a tar once, in order; a member that a bundle never contains is a fault."""
    bundle = FoundBundle({}, {}, [])
    end = 0
    try:
        paths = volumes_of(path, bundle.faults)
        stream = io.BufferedReader(JoinedVolumes(paths), CHUNK)
        with stream, tarfile.open(fileobj=stream, mode="r:") as archive:  # Python 3.8 knows no parentheses here
            for member in archive:
                if not member.isreg() or member.sparse is not None:
                    bundle.faults.append(member.name + ": not a plain file")
                    continue
                stream.seek(member.offset_data)
                add(bundle, member.name, stream, member.size)
                padding = stream.read(-member.size % BLOCK)
                if any(padding) or len(padding) != -member.size % BLOCK:
                    bundle.faults.append(member.name + ": bytes behind it that belong to no file")
                end = stream.tell()
            stream.seek(end)
            if stream.read(2 * BLOCK + 1) != bytes(2 * BLOCK):
                bundle.faults.append(f"byte {end}: the tar is damaged, cut off, or has something behind its end")
    except (OSError, tarfile.TarError) as error:
        bundle.faults.append(f"{path}: cannot be read: {error}")
    return bundle


def read_folder(folder: Path) -> FoundBundle:
    """Read every file below a folder; links and devices are faults."""
    bundle = FoundBundle({}, {}, [])
    for path, name in walk(folder, ""):
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
    """Yield path and name inside the bundle of everything below a folder except folders."""
    for entry in sorted(folder.iterdir()):
        name = prefix + entry.name
        if entry.is_dir() and not entry.is_symlink():
            yield from walk(entry, name + "/")
        else:
            yield entry, name


def add(bundle: FoundBundle, name: str, stream: BinaryIO, size: int) -> None:
    """Hash the next ``size`` bytes as the file ``name``, and keep them where the file is one that is read."""
    if name in bundle.files:
        bundle.faults.append(name + ": occurs twice")
    if not re.fullmatch(r"[A-Za-z0-9_+@][A-Za-z0-9_+@.-]*(/[A-Za-z0-9_+@][A-Za-z0-9_+@.-]*)*", name):
        bundle.faults.append(name + ": not a path inside a bundle")
    keep = (name in (MANIFEST, CHECKSUMS) or is_signature(name)) and size <= SMALL
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


def listed_in_manifest(bundle: FoundBundle) -> tuple[dict[str, Seen], list[str]]:
    """Return what bundle.json lists, and what is wrong with it."""
    try:
        entries = json.loads(bundle.small.get(MANIFEST, b""))["files"]
        listed = {
            str(entry["path"]): Seen(int(entry["size"]), str(entry["digest"]).replace("sha256:", "", 1))
            for entry in entries
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return {}, [f"{MANIFEST}: missing, or cannot be read: {error}"]
    return listed, [] if len(listed) == len(entries) else [MANIFEST + ": lists a file twice"]


HOST = r"(localhost|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?"
REPOSITORY = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"


def unnamable(bundle: FoundBundle) -> list[str]:
    """Return what in bundle.json reaches file names, registries and programs, but has not the form of such a name."""
    try:
        manifest = json.loads(bundle.small.get(MANIFEST, b""))
        texts = [
            ("name", manifest["name"], "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"),
            ("version", manifest["version"], TAG),
        ]
        texts.append(("registry", manifest["registry"], f"({HOST}(/{REPOSITORY})?)?"))
        name = f"({HOST}/)?{REPOSITORY}(:{TAG})?(@sha256:[0-9a-f]{{64}})?"
        texts += [("name of an image", image["internal"], f"({name})?") for image in manifest["images"]]
        return [f"{MANIFEST}: not a {what}: {text}" for what, text, form in texts if not re.fullmatch(form, text)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return [f"{MANIFEST}: cannot be read: {error}"]


def base_of_delta(bundle: FoundBundle) -> str:
    """Return name, version and digest of the bundle that a delta leaves layers to; empty for a full bundle."""
    base = json.loads(bundle.small[MANIFEST]).get("base")
    if not isinstance(base, dict):
        return ""
    return f"{base.get('name')} {base.get('version')}, {base.get('digest')}"


def listed_in_checksums(bundle: FoundBundle) -> tuple[dict[str, Seen], list[str]]:
    """Return what SHA256SUMS lists; it has no sizes, so those of the files are used."""
    listed: dict[str, Seen] = {}
    text = bundle.small.get(CHECKSUMS, b"").decode("ascii", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64})  (\S+)", line)
        if not match or match.group(2) in listed:
            return listed, [f"{CHECKSUMS}: line {number} is malformed or repeats a file"]
        found = bundle.files.get(match.group(2))
        listed[match.group(2)] = Seen(found.size if found else 0, match.group(1))
    return listed, [] if listed else [CHECKSUMS + ": missing or empty"]


def compare(document: str, bundle: FoundBundle, listed: dict[str, Seen], faults: list[str]) -> list[str]:
    """Return how the files differ from what a document lists: every other file, but not itself and the signature."""
    if not listed:
        return faults
    # SHA256SUMS covers bundle.json; bundle.json cannot cover SHA256SUMS, which covers it.
    covered = {name for name in bundle.files if not is_signature(name)} - {CHECKSUMS, document}
    faults = list(faults)
    faults += [f"{name}: extra, not listed in {document}" for name in sorted(covered - set(listed))]
    faults += [f"{name}: missing, but listed in {document}" for name in sorted(set(listed) - covered)]
    for name in sorted(covered & set(listed)):
        said, found = listed[name], bundle.files[name]
        if said != found:
            faults.append(
                f"{name}: altered: {document} says {said.size} bytes, {said.sha256}; "
                f"found {found.size} bytes, {found.sha256}"
            )
    return faults


def is_signature(name: str) -> bool:
    """Tell whether a file signs bundle.json, which therefore cannot list it."""
    return name == SIGNATURE or bool(re.fullmatch("signatures/[0-9a-f]{64}[.]sig", name))


def misnamed(name: str, seen: Seen) -> bool:
    """Tell whether a blob's name is not its hash."""
    return name.startswith(BLOBS) and name[len(BLOBS) :] != seen.sha256


def check_signature(bundle: FoundBundle, key: Path) -> list[str]:
    """Let openssl check the signatures over bundle.json (in DER, which openssl requires); one must fit."""
    signatures = {content for name, content in bundle.small.items() if is_signature(name)}
    if not signatures or MANIFEST not in bundle.small:
        return [f"there is no signature ({SIGNATURE})"]
    said = ""
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
        said = " ".join(done.stdout.decode("ascii", "replace").split())
    return [f"no signature fits the key {key}: {said}"]


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
