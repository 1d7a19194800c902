from pathlib import Path

import pytest

from bundler.effects.skopeo import errors as skopeo_errors
from bundler.effects.skopeo import source as skopeo_source
from bundler.errors import RegistryError, SpecError, ToolFailedError
from bundler.model.digest import Digest
from bundler.model.spec import Mirror

DIGEST = Digest.of(b"image")


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("quay.io/feastdev/feature-server:0.61.0", "docker://quay.io/feastdev/feature-server:0.61.0"),
        ("docker://quay.io/feastdev/feature-server:0.61.0", "docker://quay.io/feastdev/feature-server:0.61.0"),
        ("alpine", "docker://docker.io/library/alpine:latest"),
        (f"quay.io/a/b:1@{DIGEST}", f"docker://quay.io/a/b@{DIGEST}"),
        ("docker-daemon:app:1", "docker-daemon:app:1"),
        ("containers-storage:app:1", "containers-storage:app:1"),
    ],
)
def test_a_reference_or_a_transport_becomes_a_source_of_skopeo(text: str, argument: str) -> None:
    assert skopeo_source.parse(text).argument == argument


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive", "oci", "dir"])
def test_a_file_is_found_from_where_the_program_was_started(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "image").mkdir()
    monkeypatch.chdir(tmp_path)
    assert skopeo_source.parse(f"{transport}:image").argument == f"{transport}:{tmp_path}/image"
    if transport != "dir":
        assert skopeo_source.parse(f"{transport}:image:name:1").location == f"{tmp_path}/image:name:1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("oci-archive:absent.tar", "absent.tar, which 'oci-archive:absent.tar' names, does not exist"),
        ("https://quay.io/a/b", "does not begin with a known transport"),
        ("Upper/Case", "not an image reference"),
        ("quay.io/a b", "not an image reference"),
        ("", "not an image reference"),
        ("--help", "not an image reference"),
    ],
)
def test_what_is_no_source_is_refused_with_what_would_be(text: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason) as caught:
        skopeo_source.parse(text)
    assert caught.value.remedy


def _mirror(source: str, location: str, *, insecure: bool = False) -> Mirror:
    return Mirror(source=source, location=location, insecure=insecure)


def test_a_mirror_is_read_instead_and_the_reference_stays_in_messages() -> None:
    found = skopeo_source.parse("quay.io/feastdev/app:1", [_mirror("quay.io", "mirror.example/quay", insecure=True)])
    assert found.argument == "docker://mirror.example/quay/feastdev/app:1"
    assert found.insecure
    assert str(found) == "quay.io/feastdev/app:1"
    assert skopeo_source.host(found) == "mirror.example"


def test_the_mirror_of_the_longest_source_wins_and_names_are_not_cut_apart() -> None:
    mirrors = [_mirror("quay.io", "a.example"), _mirror("quay.io/feast", "b.example/x"), _mirror("quay.i", "c.example")]
    assert skopeo_source.parse("quay.io/feast/app:1", mirrors).location == "//b.example/x/app:1"
    assert skopeo_source.parse("quay.io/feastdev/app:1", mirrors).location == "//a.example/feastdev/app:1"
    assert skopeo_source.parse("docker.io/library/app:1", mirrors).location == "//docker.io/library/app:1"


def test_one_image_of_an_index_is_asked_for_by_its_digest() -> None:
    for text in ("localhost:5000/a/b:1", f"localhost:5000/a/b@{Digest.of(b'index')}"):
        assert skopeo_source.parse(text).at(DIGEST).argument == f"docker://localhost:5000/a/b@{DIGEST}"


def test_a_digest_in_the_reference_is_known_before_anything_is_read() -> None:
    assert skopeo_source.parse(f"quay.io/a/b@{DIGEST}").pinned == DIGEST
    assert skopeo_source.parse("quay.io/a/b:1").pinned is None


@pytest.mark.parametrize(
    ("said", "problem", "remedy"),
    [
        ("unauthorized: access to the requested resource is not authorized", "does not let", "skopeo login quay.io"),
        (
            "reading manifest 9 in quay.io/a/b: manifest unknown: manifest unknown",
            "does not exist",
            "list-tags docker://quay.io/a/b",
        ),
        ("dial tcp: lookup quay.io: no such host", "cannot be reached", "mirrors"),
        ("dial tcp 1.2.3.4:443: connect: connection refused", "cannot be reached", "oci-archive:FILE"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "not trusted", "ca.crt"),
        ("http: server gave HTTP response to HTTPS client", "plain HTTP", "insecure: true"),
        ("toomanyrequests: You have reached your pull rate limit", "limits how often", "login"),
    ],
)
def test_what_a_registry_says_becomes_a_sentence_with_what_to_do(said: str, problem: str, remedy: str) -> None:
    error = ToolFailedError("skopeo failed with status 1.", details=(f'level=fatal msg="{said}"',))
    found = skopeo_errors.translate(error, skopeo_source.parse("quay.io/a/b:1"))
    assert isinstance(found, RegistryError)
    assert problem in found.problem
    assert remedy in found.remedy
    assert found.details == error.details


def test_a_full_disk_is_no_fault_of_the_registry() -> None:
    error = ToolFailedError("skopeo failed.", details=("write /x: no space left on device",))
    found = skopeo_errors.translate(error, skopeo_source.parse("quay.io/a/b:1"))
    assert isinstance(found, ToolFailedError)
    assert "space" in found.problem


def test_a_complaint_that_is_not_known_stays_as_it_is() -> None:
    error = ToolFailedError("skopeo failed with status 1.", details=("something new",))
    assert skopeo_errors.translate(error, skopeo_source.parse("quay.io/a/b:1")) is error
