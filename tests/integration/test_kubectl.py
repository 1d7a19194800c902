"""The real kubectl says to which cluster a kubeconfig leads, without asking it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundler.effects.kubectl import Kubectl
from bundler.errors import ClusterError
from tests.support.programs import require

pytestmark = pytest.mark.integration


def written(folder: Path, **changes: object) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "site",
        "clusters": [
            {"name": "one", "cluster": {"server": "https://one.site:6443"}},
            {"name": "two", "cluster": {"server": "https://two.site:6443"}},
        ],
        "contexts": [
            {"name": "site", "context": {"cluster": "two", "user": "u"}},
            {"name": "test", "context": {"cluster": "one", "user": "u"}},
        ],
        "users": [{"name": "u", "user": {"token": "hunter2"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(config | changes))
    return str(folder / "kubeconfig")


def test_the_address_is_that_of_the_current_context_or_of_the_one_that_is_named(tmp_path: Path) -> None:
    program = require("kubectl")
    assert Kubectl.find(program, kubeconfig=written(tmp_path)).server() == "https://two.site:6443"
    assert Kubectl.find(program, kubeconfig=written(tmp_path), context="test").server() == "https://one.site:6443"


def test_a_kubeconfig_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    file = written(tmp_path, **{"current-context": "gone"})
    with pytest.raises(ClusterError):
        Kubectl.find(require("kubectl"), kubeconfig=file).server()
