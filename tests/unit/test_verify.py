from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.archive import header as archive_header
from bundler.effects.archive.reader import Bundle
from bundler.errors import UsageError, VerificationError
from bundler.model import bundle_texts, checksums, layout
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Report, Status
from bundler.model.manifest import BundleManifest, FileEntry
from bundler.model.progress import SilentProgress
from bundler.oci import tar
from bundler.steps.build import pack
from bundler.steps.bundle import verify
from tests.unit import packed


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.bundle(tmp_path_factory.mktemp("original")).path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path))


def run(path: Path) -> Report:
    return verify.run(path, progress=SilentProgress())


def faults(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.status is Status.FAIL]


def text(report: Report) -> str:
    return "\n".join(" ".join((finding.title, *finding.evidence)) for finding in faults(report))


def test_an_untouched_bundle_is_verified_with_evidence_for_each_check(original: Path) -> None:
    report = run(original)
    assert not report.failed, text(report)
    passed = {finding.check for finding in report.findings if finding.status is Status.PASS}
    assert passed == {"structure", "files", "checksums", "images", "documents"}
    assert [finding.title for finding in report.findings if finding.check == "images"] == [
        f"The image {packed.REGISTRY}/driver-stats:0.1.0 is complete",
        "The image quay.io/feastdev/feast-operator:0.61.0 is complete",
    ]
    signature = next(finding for finding in report.findings if finding.check == "signature")
    assert signature.status is Status.NOT_APPLICABLE


def test_the_report_says_the_same_to_scripts(original: Path) -> None:
    value = run(original).to_json()
    assert value["failed"] is False
    assert [section["title"] for section in value["sections"]] == ["Trust", "Files", "Images", "Documents"]  # type: ignore[index,union-attr,call-overload]


# Each region of the file with the name that must be said when a bit of it flips.


def regions(bundle: Bundle) -> Iterator[tuple[str, int, int, str]]:
    """Yield name, first byte, length and what a fault in it must name."""
    members = list(bundle.members.values())
    by_kind = {
        "metadata": bundle.member("manifests/namespace.yaml"),
        "index": bundle.member(layout.INDEX),
        "manifest": bundle.member(layout.MANIFEST),
        "checksums": bundle.member(layout.CHECKSUMS),
        "program": bundle.member(layout.OFFLINE_PROGRAM),
        "image manifest": bundle.blob(bundle.manifest.images[0].root.digest),
        "blob": members[-1],
    }
    for name, member in by_kind.items():
        yield name, member.offset, member.size, member.path
        header = len(archive_header.encode(member.path, member.size, member.mtime))
        yield f"header of {name}", member.offset - header, header, str(member.offset - header)
        padding = len(tar.padding(member.size))
        if padding:
            yield f"padding of {name}", member.offset + member.size, padding, member.path
    end = bundle.size - len(tar.END)
    yield "end", end, len(tar.END), str(end)


def test_one_flipped_bit_anywhere_is_found_and_named(path: Path) -> None:
    draw = random.Random(2)  # noqa: S311  (the same bits in every run)
    with Bundle.open(path) as bundle:
        places = list(regions(bundle))
    assert len(places) > 15
    for name, start, length, named in places:
        for _ in range(3):
            offset, bit = start + draw.randrange(length), 1 << draw.randrange(8)
            with path.open("r+b") as stream:
                before = os.pread(stream.fileno(), 1, offset)
                os.pwrite(stream.fileno(), bytes([before[0] ^ bit]), offset)
                report = run(path)
                os.pwrite(stream.fileno(), before, offset)
            assert report.failed, (name, offset)
            assert named in text(report), (name, offset, bit, text(report))
    assert not run(path).failed


def test_damage_to_several_files_is_reported_at_once(path: Path) -> None:
    with Bundle.open(path) as bundle:
        offsets = {name: bundle.member(name).offset for name in ("bundle.lock", "sbom/image.json", layout.INDEX)}
        header = bundle.member("manifests/kustomization.yaml").offset - 512
    with path.open("r+b") as stream:
        for offset in (*offsets.values(), header):
            os.pwrite(stream.fileno(), b"!", offset)
    found = text(run(path))
    for name in offsets:
        assert f"{name} is altered" in found
    assert f"at byte {header}" in found


def test_a_bundle_that_was_cut_off_is_refused_at_every_length(path: Path) -> None:
    size = path.stat().st_size
    for length in (size - 1, size - 512, size - 1024, size - 1025, size // 2, 5000, 512, 511):
        os.truncate(path, length)
        assert "cut off" in text(run(path)), length
    for length in (100, 0):  # too short to tell that it was a tar
        os.truncate(path, length)
        with pytest.raises(VerificationError, match="cut off"):
            run(path)


def test_bytes_after_the_end_are_refused(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")
    assert "4 bytes after the end" in text(run(path))


def rebuilt(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Write the bundle again, well-formed, with other files."""
    with Bundle.open(path) as bundle:
        files = {name: bundle.read(name) for name in bundle.members}
    change(files)
    with path.open("wb") as stream:
        for name in sorted(files, key=layout.order):
            stream.write(archive_header.encode(name, len(files[name]), packed.CREATED) + files[name])
            stream.write(tar.padding(len(files[name])))
        stream.write(tar.END)
    return path


def forged(files: dict[str, bytes]) -> None:
    """Make bundle.json and SHA256SUMS fit the files again, as one does who wants to deceive."""
    manifest = BundleManifest.parse(files[layout.MANIFEST])
    entries = tuple(
        FileEntry(name, pack.role(name), len(content), Digest.of(content))
        for name, content in sorted(files.items(), key=lambda item: layout.order(item[0]))
        if name not in layout.UNLISTED
    )
    manifest = replace(manifest, files=entries)
    files[layout.MANIFEST] = manifest.to_bytes()
    files[layout.CHECKSUMS] = bundle_texts.checksums(manifest)


def test_an_extra_file_is_named(path: Path) -> None:
    found = text(run(rebuilt(path, lambda files: files.update({"extra.txt": b"hello"}))))
    assert "extra.txt is extra" in found
    assert "extra.txt is not in it" in found


def test_a_missing_file_is_named(path: Path) -> None:
    found = text(run(rebuilt(path, lambda files: files.pop("sbom/image.json"))))
    assert "sbom/image.json is missing" in found


def test_a_missing_manifest_leaves_the_checksums_to_compare_with(path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        del files[layout.MANIFEST]
        files["bundle.lock"] = b"other"

    found = text(run(rebuilt(path, change)))
    assert "bundle.json cannot be used" in found
    assert "bundle.lock has" in found


def test_a_blob_that_no_image_has_is_named(path: Path) -> None:
    stray = layout.blob(Digest.of(b"stray"))

    def change(files: dict[str, bytes]) -> None:
        files[stray] = b"stray"
        forged(files)

    assert f"{stray} belongs to no image" in text(run(rebuilt(path, change)))


def test_a_layer_that_is_missing_is_named_with_its_image(path: Path) -> None:
    with Bundle.open(path) as bundle:
        last = next(name for name in reversed(list(bundle.members)) if bundle.read(name)[:2] == b"\x1f\x8b")

    def change(files: dict[str, bytes]) -> None:
        del files[last]
        forged(files)

    found = text(run(rebuilt(path, change)))
    assert "is not complete" in found
    assert Path(last).name in found


def test_an_index_that_names_other_images_is_refused(path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[layout.INDEX] = files[layout.INDEX].replace(b"driver-stats:0.1.0", b"driver-stats:9.9.9")
        forged(files)

    assert "index.json names other images" in text(run(rebuilt(path, change)))


def test_names_of_a_hostile_bundle_cannot_steer_the_terminal(path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[layout.INDEX] = files[layout.INDEX].replace(b"driver-stats:0.1.0", b"\\u001b[31m")
        forged(files)

    found = text(run(rebuilt(path, change)))
    assert "index.json names other images" in found
    assert "\x1b" not in found


def test_a_blob_with_a_false_name_is_refused_even_where_the_lists_agree(path: Path) -> None:
    with Bundle.open(path) as bundle:
        root = layout.blob(bundle.manifest.images[0].root.digest)

    def change(files: dict[str, bytes]) -> None:
        files[root] = files[root].replace(b'"schemaVersion":2', b'"schemaVersion":2 ')
        forged(files)

    assert Path(root).name in text(run(rebuilt(path, change)))


def test_the_manifest_may_not_lie_about_an_image(path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[layout.MANIFEST] = files[layout.MANIFEST].replace(b'"linux/arm64"', b'"linux/amd64"')
        forged(files)

    assert "bundle.json says linux/amd64, linux/amd64" in text(run(rebuilt(path, change)))


@pytest.mark.parametrize(
    "content",
    [b"", b"not a sum\n", b"0" * 64 + b"  a", (b"0" * 64 + b"  a\n") * 2, b"\xff\n", b"0" * 64 + b" *a\n"],
)
def test_malformed_checksums_are_refused(content: bytes) -> None:
    if content:
        with pytest.raises(ValueError):
            checksums.parse(content)
    else:
        assert checksums.parse(content) == {}


def test_a_key_without_a_signature_is_a_fault(original: Path, tmp_path: Path) -> None:
    report = verify.run(original, progress=SilentProgress(), public_key=tmp_path / "key")
    assert "not signed" in text(report)


def test_require_raises_with_every_fault(path: Path) -> None:
    rebuilt(path, lambda files: files.update({"extra.txt": b"hello"}))
    with Bundle.open(path) as bundle, pytest.raises(VerificationError) as caught:
        verify.require(bundle, progress=SilentProgress())
    assert any("extra.txt is extra" in line for line in caught.value.details)


def test_what_is_no_bundle_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        run(tmp_path / "none")


def test_any_other_file_is_refused_without_a_traceback(tmp_path: Path) -> None:
    other = tmp_path / "photo.jpg"
    other.write_bytes(b"\xff\xd8" + bytes(range(256)) * 40)
    with pytest.raises(VerificationError, match=r"photo\.jpg is not a bundle: it does not begin as a tar does"):
        run(other)


@pytest.mark.parametrize("where", ["bundle.json", "manifests/namespace.yaml", "a header"])
def test_a_sector_that_cannot_be_read_is_reported(original: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Bundle.open(original) as bundle:
        offset = bundle.member("manifests/namespace.yaml" if where == "a header" else where).offset
    bad = offset - 1 if where == "a header" else offset

    def failing(read: Callable[..., object], size: Callable[[object], int]) -> Callable[..., object]:
        def instead(descriptor: int, wanted: object, start: int) -> object:
            if start <= bad < start + size(wanted):
                raise OSError(errno.EIO, "Input/output error")
            return read(descriptor, wanted, start)

        return instead

    monkeypatch.setattr(os, "pread", failing(os.pread, lambda wanted: wanted))  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(os, "preadv", failing(os.preadv, lambda views: len(views[0])))  # type: ignore[index]
    report = run(original)
    assert report.failed
    assert "Input/output error" in text(report)
