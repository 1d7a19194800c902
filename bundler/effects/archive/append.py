"""Attach signatures and approvals to a bundle that is written: what comes before them stays, byte for byte."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bundler.effects import files
from bundler.effects.archive import digests as archive_digests
from bundler.effects.archive import header as archive_header
from bundler.effects.archive.reader import Bundle, BundleFile
from bundler.effects.archive.volumes import BundleVolume
from bundler.errors import UsageError
from bundler.model import approval, checksums, layout, limits, volumes
from bundler.model.digest import Digest
from bundler.oci import tar

_REMEDY: Final = "Join the volumes first (cat). A signature can be made before the bundle is cut: build --sign-key."


def add_signature(path: Path, key_id: Digest, signature: bytes) -> None:
    """Put the signature of a key into a bundle, in place of an earlier one by that key; see ``attach``."""
    attach(path, {layout.signature(key_id): signature})


def attach(path: Path, attached: Mapping[str, bytes]) -> None:
    """Put signatures or approvals into a bundle, by path, in place of earlier ones of that path.

    A few kilobytes at the end of the tar are written, at once; where that fails, what was there is restored.

    Raises:
        UsageError: there is no bundle, its last volume has no room, or it has too many approvals.
        VerificationError: its headers are damaged.
        ToolFailedError: it cannot be written.
    """
    with Bundle.open(path) as bundle:
        names = [name for name in bundle.members if layout.is_attached(name) and name != layout.SIGNATURE]
        begin = min((_begin(bundle.member(name)) for name in names), default=bundle.size - len(tar.END))
        members = {**{name: bundle.read(name, limit=limits.SIGNATURE_SIZE) for name in names}, **attached}
        if len(set(filter(None, map(layout.approver, members)))) > approval.MOST:
            raise UsageError(f"{path} has {approval.MOST} approvals, and cannot have more.", remedy="Build it again.")
        tail = _tail(members, bundle.manifest.created)
        opened = bundle.volumes.files
        room = opened[0].size * len(opened)
        if len(opened) > 1 and begin + len(tail) > room:
            raise UsageError(f"{opened[-1].path.name} has no room for it.", remedy=_REMEDY)
        with files.explained(opened[-1].path):
            _write(opened, begin, tail)
    if len(opened) > 1:
        _say_digests(path)


def _begin(member: BundleFile) -> int:
    return member.offset - len(archive_header.encode(member.path, member.size, member.mtime))


def _tail(members: Mapping[str, bytes], created: int) -> bytes:
    """Return the end of the tar: its last members, in order, and two blocks of zeros."""
    parts = []
    for name in sorted(members, key=layout.order):
        content = members[name]
        parts += [archive_header.encode(name, len(content), created), content, tar.padding(len(content))]
    return b"".join((*parts, tar.END))


def _write(opened: tuple[BundleVolume, ...], begin: int, tail: bytes) -> None:
    """Write the tail from byte ``begin`` of the bundle on; the last volume becomes as long as it has to."""
    touched = [volume for volume in opened if volume.end > begin]
    with ExitStack() as stack:
        streams = [stack.enter_context(volume.path.open("r+b", buffering=0)) for volume in touched]
        for stream in streams:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        undo: list[tuple[int, int, bytes, int]] = []
        try:
            for volume, stream in zip(touched, streams, strict=True):
                start = max(begin, volume.begin)
                end = begin + len(tail) if volume is touched[-1] else volume.end
                descriptor, offset = stream.fileno(), start - volume.begin
                undo.append((descriptor, offset, os.pread(descriptor, volume.size - offset, offset), volume.size))
                # One call for all of it: a process that is killed leaves the old end or the new one.
                _write_whole(descriptor, tail[start - begin : end - begin], offset)
                os.ftruncate(descriptor, end - volume.begin)
                os.fsync(descriptor)
        except BaseException:
            for descriptor, offset, before, size in undo:
                _write_whole(descriptor, before, offset)
                os.ftruncate(descriptor, size)
            raise


def _write_whole(descriptor: int, content: bytes, offset: int) -> None:
    done = os.pwrite(descriptor, content, offset)
    while done < len(content):
        done += os.pwrite(descriptor, content[done:], offset + done)


def _say_digests(path: Path) -> None:
    """Write the file of the volumes' digests again, because the digest of the last volume changed."""
    with Bundle.open(path) as bundle:
        rows = zip(archive_digests.of_volumes(bundle), bundle.volumes.files, strict=True)
        content = checksums.text({volume.path.name: digest for digest, volume in rows})
        files.write(bundle.path.with_name(volumes.checksums(bundle.path.name)), content)
