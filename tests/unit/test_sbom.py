from __future__ import annotations

import json
from dataclasses import replace

import pytest
from packageurl import PackageURL

from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef
from bundler.render.sbom import BakedImage, ComponentFile, DebianPackage, PythonPackage, RepoComponent, cyclonedx
from tests.support import bills

IMAGE = BakedImage(
    reference=ImageRef.parse("registry.example:5000/feast/driver-stats-feature-server:0.1.0"),
    digest=Digest.of(b"manifest"),
    platform=Platform("linux", "amd64"),
    created="2025-01-01T00:00:00Z",
    tool="bundler",
    tool_version="0.1.0",
    complete=True,
)
PYTHON = (
    PythonPackage("feast", "0.61.0", "feast-0.61.0-py2.py3-none-any.whl", Digest.of(b"wheel").hex),
    PythonPackage("SQLAlchemy_Utils.Extra", "1.0+local.1"),
)
DEBIAN = (
    DebianPackage("libstdc++6", "12.2.0-14+deb12u1", "amd64", "bookworm"),
    DebianPackage("bsdutils", "1:2.38.1-5+deb12u3", "amd64", "bookworm"),
)
REPO = RepoComponent("driver_stats", Digest.of(b"repo"), (ComponentFile("features.py", Digest.of(b"features")),))


def bill(**changes: object) -> dict[str, object]:
    arguments = {"python": PYTHON, "debian": DEBIAN, "repo": REPO} | changes
    value: dict[str, object] = json.loads(cyclonedx(IMAGE, **arguments))  # type: ignore[arg-type]
    return value


@pytest.mark.parametrize(
    "text",
    [
        cyclonedx(IMAGE, python=PYTHON, debian=DEBIAN, repo=REPO),
        cyclonedx(replace(IMAGE, complete=False), python=PYTHON),
        cyclonedx(IMAGE),
    ],
)
def test_the_bill_is_valid_cyclonedx(text: str) -> None:
    assert bills.problem(text) is None


def test_every_component_has_a_package_url_that_reads_back() -> None:
    purls = [*(package.purl for package in (*PYTHON, *DEBIAN)), IMAGE.purl]
    for purl in purls:
        assert PackageURL.from_string(purl).to_string() == purl
    parsed = PackageURL.from_string(DEBIAN[1].purl)
    assert (parsed.type, parsed.namespace, parsed.name, parsed.version) == (
        *("deb", "debian", "bsdutils", "1:2.38.1-5+deb12u3"),
    )
    assert PackageURL.from_string(PYTHON[1].purl).name == "sqlalchemy-utils-extra"


def test_wheels_are_named_with_the_hash_that_was_fetched() -> None:
    components = {component["name"]: component for component in bill()["components"]}  # type: ignore[attr-defined]
    assert components["feast"]["hashes"] == [{"alg": "SHA-256", "content": Digest.of(b"wheel").hex}]
    assert components["feast"]["properties"][0]["value"] == "feast-0.61.0-py2.py3-none-any.whl"
    assert "hashes" not in components["SQLAlchemy_Utils.Extra"]
    assert [file["name"] for file in components["driver_stats"]["components"]] == ["features.py"]


def test_the_same_image_has_the_same_bill_in_any_order() -> None:
    text = cyclonedx(IMAGE, python=PYTHON, debian=DEBIAN, repo=REPO)
    assert cyclonedx(IMAGE, python=reversed(PYTHON), debian=(*DEBIAN, *DEBIAN), repo=REPO) == text


def test_another_image_has_another_serial_number() -> None:
    other = json.loads(cyclonedx(replace(IMAGE, digest=Digest.of(b"other")), python=PYTHON, debian=DEBIAN, repo=REPO))
    assert other["serialNumber"] != bill()["serialNumber"]


def test_it_does_not_claim_to_know_all_of_a_base_that_others_made() -> None:
    value = json.loads(cyclonedx(replace(IMAGE, complete=False), python=PYTHON))
    assert value["compositions"][0]["aggregate"] == "incomplete"
