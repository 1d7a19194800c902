"""Names that the operator derives fit where Kubernetes puts them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bundler.feast.deployment.servers import PORTS
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.names import Names
from tests.unit import manifest_cases as cases

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # RFC 1035, which Services must be
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,41}[a-z0-9])?", fullmatch=True)


@settings(deadline=None)
@given(NAMES)
def test_every_name_that_the_spec_allows_fits_every_derived_name(name: str) -> None:
    accepted = cases.spec(name=name).deployment
    names = Names(accepted.name, accepted.namespace)
    for server in PORTS:
        assert LABEL.fullmatch(names.service(server))
        assert len(names.service(server)) <= 63
    assert len(names.prefixed) <= 52  # a CronJob's Jobs get eleven characters more
    for account in names.accounts(Capabilities.for_version("0.66.0")):
        assert len(account) <= 63


@pytest.mark.parametrize("name", ["", "Upper", "a.b", "-a", "a-", "a_b", "a" * 44, "ä", "a\n"])
def test_a_name_that_would_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        cases.spec(name=name)


@pytest.mark.parametrize("wrong", [{"namespace": "a.b"}, {"namespace": "a" * 64}, {"imagePullSecrets": ["A"]}])
def test_what_is_no_kubernetes_name_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        cases.spec(**wrong)


def test_a_server_is_reached_by_its_service() -> None:
    assert Names("a", "ns").host("registry") == "feast-a-registry.ns.svc.cluster.local"
