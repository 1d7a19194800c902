"""Permissions of a feature repo are compared with what it defines, without running it."""

from __future__ import annotations

import pytest

from bundler.feast.rules import permissions
from bundler.model.findings import Finding, Status

REPO = """
from feast import Entity, FeatureView, FileSource
driver = Entity(name="driver")
source = FileSource(path="x")
view = FeatureView(name="v", source=source)
"""


def coverage(extra: str, auth: str = "kubernetes") -> Finding:
    return permissions.coverage({"definitions.py": REPO.encode(), "permissions.py": extra.encode()}, auth)


@pytest.mark.parametrize(
    "types",
    [
        'Permission(name="all")',
        'Permission("all", ALL_RESOURCE_TYPES)',
        'feast.Permission(name="all", types=[*ALL_RESOURCE_TYPES])',
        'Permission(name="all", types=None)',
        'Permission(name="a", types=[Entity, DataSource]); Permission(name="b", types=(FeatureView,))',
    ],
)
def test_permissions_that_cover_every_kind_pass(types: str) -> None:
    finding = coverage(types)
    assert finding.status is Status.PASS
    assert "DataSource, Entity, FeatureView" in finding.evidence[0]


def test_a_kind_that_no_permission_covers_is_named_with_its_place() -> None:
    finding = coverage('Permission(name="a", types=[FeatureView, Entity])')
    assert (finding.status, finding.evidence) == (
        Status.MANUAL,
        ("definitions.py:4: DataSource is covered by no Permission",),
    )


def test_a_permission_for_feature_views_covers_the_derived_kinds() -> None:
    repo = b"StreamFeatureView(name='s')\nPermission(name='p', types=[FeatureView])\n"
    assert permissions.coverage({"r.py": repo}, "oidc").status is Status.PASS


def test_types_that_are_computed_are_for_a_person() -> None:
    finding = coverage('Permission(name="a", types=list_of_types())')
    assert finding.status is Status.MANUAL
    assert "permissions.py:1: the types of this Permission are not written out" in finding.evidence


def test_authorization_without_any_permission_lets_everybody_do_everything() -> None:
    finding = coverage("")
    assert finding.status is Status.FAIL
    assert "may do everything" in finding.evidence[0]


def test_permissions_without_authorization_are_not_enforced() -> None:
    assert coverage("Permission(name='a')", "no_auth").status is Status.MANUAL
    assert coverage("", "no_auth").status is Status.NOT_APPLICABLE


def test_a_file_that_does_not_parse_is_left_to_the_check_that_says_so() -> None:
    assert permissions.coverage({"a.py": b"def", "b.py": b"\0"}, "no_auth").status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    "permission",
    [
        "Permission(name='a', policy=AllowAll)",
        "Permission(name='a')",
        "Permission('a', [Entity], None, READ, policy.AllowAll)",
    ],
)
def test_a_policy_that_no_registry_can_read_back_is_named_with_its_place(permission: str) -> None:
    finding = permissions.policies({"permissions.py": f"\n{permission}".encode()}, "kubernetes")
    assert finding.status is Status.FAIL
    assert finding.evidence[0].startswith("permissions.py:2: the policy is AllowAll")
    assert permissions.policies({"a.py": permission.encode()}, "no_auth").status is Status.MANUAL


@pytest.mark.parametrize(
    "permission",
    [
        "Permission(name='a', policy=RoleBasedPolicy(roles=['r']))",
        "Permission('a', [Entity], None, READ, chosen)",
        "Permission(**settings)",
        "Permission(*settings)",
        "",
    ],
)
def test_other_policies_pass(permission: str) -> None:
    assert permissions.policies({"a.py": permission.encode()}, "oidc").status is Status.PASS
