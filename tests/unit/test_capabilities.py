"""What an operator release can do: known by version, and read from a CRD; both must say the same."""

from __future__ import annotations

import pytest

from bundler.errors import SpecError
from bundler.feast.operator import capabilities, crd
from bundler.feast.operator.capabilities import Capabilities
from tests.unit.operator_manifests import crd_text, real_crd

# The head of the operator's repository is what the next release will have.
RELEASES = {"0.61.0": "0.61.0", "0.66.0": "0.66.0", "head": "0.67.0"}


@pytest.mark.parametrize("folder", RELEASES)
def test_what_is_known_of_a_release_is_what_its_crd_has(folder: str) -> None:
    known = Capabilities.for_version(RELEASES[folder])
    assert capabilities.differences(known, Capabilities.from_crd(real_crd(folder))) == ()


def test_an_old_operator_has_neither_packaged_repos_nor_no_auth() -> None:
    old = Capabilities.for_version("0.59.0")
    assert (old.packaged, old.no_auth, old.scaling, old.cron_job_account) == (False, False, False, False)
    assert "redis" in old.online_stores
    assert "aerospike" not in old.online_stores


def test_a_release_newer_than_all_known_counts_as_the_newest() -> None:
    assert Capabilities.for_version("1.4.0") == Capabilities.for_version("0.67.0")


@pytest.mark.parametrize("version", ["0.58.0", "0.1", "newest", ""])
def test_a_release_that_is_too_old_or_no_version_is_refused(version: str) -> None:
    with pytest.raises(SpecError, match=r"operator\.version"):
        Capabilities.for_version(version)


def test_differences_name_the_capability_and_both_sides() -> None:
    found = capabilities.differences(Capabilities.for_version("0.65.0"), Capabilities.for_version("0.66.0"))
    assert "packaged: expected false, found true" in found
    assert any(line.startswith("offline_stores: ") and line.endswith("trino") for line in found)


def test_a_crd_is_found_in_a_list_that_kubectl_printed() -> None:
    listed = "apiVersion: v1\nkind: List\nitems:\n- " + crd_text("fromList").replace("\n", "\n  ")
    assert crd.load(listed, "crd.yaml").has("fromList")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "not YAML"),
        ("kind: Namespace", "holds no CustomResourceDefinition"),
        (crd_text("x").replace("name: v1\n", "name: v1alpha1\n"), "does not serve version v1"),
        (crd_text("x").replace("served: true", "served: false"), "does not serve version v1"),
        ("- 1\n- [2]\n---\nnull\n", "holds no CustomResourceDefinition"),
    ],
)
def test_a_file_without_a_usable_crd_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=rf"install\.yaml: .*{problem}"):
        crd.load(text, "install.yaml")
