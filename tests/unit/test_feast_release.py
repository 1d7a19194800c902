"""What a new release of Feast brings is found in its wheel and its CRD, without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.feast.operator.crd import FeatureStoreCrd
from bundler.feast.rules import supported
from bundler.feast.stores import known_types
from bundler.model.descriptor import Json
from tests.support import feast_release
from tests.unit.sample_wheels import wheel

VERSION = "0.99.0"
_TABLES = {
    "ONLINE_STORE_CLASS_FOR_TYPE": (known_types.ONLINE, "OnlineStore"),
    "OFFLINE_STORE_CLASS_FOR_TYPE": (known_types.OFFLINE, "OfflineStore"),
    "REGISTRY_CLASS_FOR_TYPE": (known_types.REGISTRY, "Registry"),
    "BATCH_ENGINE_CLASS_FOR_TYPE": (known_types.ENGINE, "Engine"),
    "FEATURE_SERVER_CONFIG_CLASS_FOR_TYPE": (known_types.FEATURE_SERVER, "Config"),
}
_EXTRAS = sorted(set(known_types.CLASSES.values()) | {"mcp", "grpcio"})
_MODULES = (
    *("feature_server", "offline_server", "registry_server", "ui_server", "stores"),
    *("api/registry/rest/rest_registry_server", "infra/registry/registry"),
    *("permissions/auth/kubernetes_token_parser", "permissions/client/kubernetes_auth_client_manager"),
    *("permissions/auth/oidc_token_parser", "permissions/client/oidc_authentication_client_manager"),
)


def _class(kind: str, extra: str | None, ending: str) -> str:
    """Return a class that needs what its type needs, as the real ones do."""
    named = (name for name, needs in known_types.CLASSES.items() if needs == extra and name.endswith(ending))
    return f"feast.stores.{next(named, kind.title().replace('.', '') + ending)}"


def _config(**more: str) -> str:
    """Return the tables of a release that has what is known, and ``more`` by the name of their table."""
    lines = []
    for table, (kinds, ending) in _TABLES.items():
        rows = {kind: _class(kind, extra, ending) for kind, extra in kinds.extras.items() if kind != "none"}
        lines.append(
            f"{table} = {{**OTHERS, {', '.join(f'{a!r}: {b!r}' for a, b in rows.items())}{more.get(table, '')}}}"
        )
    lines += ["class RepoConfig(Base):", "    online_config: Any = Field(None, alias='online_store')"]
    return "\n".join([*lines, *(f"    {key}: Any = None" for key in more.get("keys", "").split())])


def _wheel(folder: Path, config: str, *, without: str = "") -> Path:
    kinds = known_types.REGISTRY_STORE
    stores = {kind: _class(kind, extra, "RegistryStore") for kind, extra in kinds.extras.items()}
    stores["AzureRegistryStore"] = "feast.stores.AzBlobRegistryStore"
    files = {f"feast/{name}.py": "raise SystemExit('must not run')\n" for name in _MODULES if name != without}
    files["feast/infra/registry/registry.py"] = f"REGISTRY_STORE_CLASS_FOR_TYPE = {stores!r}\n"
    files["feast/repo_config.py"] = config
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in _EXTRAS)
    metadata = f"Metadata-Version: 2.1\nName: feast\nVersion: {VERSION}\n{extras}"
    files[f"feast-{VERSION}.dist-info/METADATA"] = metadata
    path = folder / f"feast-{VERSION}-py3-none-any.whl"
    path.write_bytes(wheel(files, name="feast", version=VERSION).getvalue())
    return path


def _said(path: Path) -> list[str]:
    return [line for line in feast_release.unknown_of_wheel(path, VERSION) if "feast_releases." not in line]


def test_a_release_with_what_is_known_only_has_a_new_number(tmp_path: Path) -> None:
    (line,) = _said(_wheel(tmp_path, _config()))
    assert line == f"supported.RELEASES ends with {supported.RELEASES[-1]}; `init` proposes {supported.NEWEST_FEAST}"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {"ONLINE_STORE_CLASS_FOR_TYPE": ", 'tidal': 'feast.stores.TidalOnlineStore'"},
            "online_store.type: tidal (feast.stores.TidalOnlineStore) is not known",
        ),
        (
            {"BATCH_ENGINE_CLASS_FOR_TYPE": ", 'local': 'feast.gone.LocalEngine'"},
            "batch_engine.type: local: feast.gone.LocalEngine is not in the wheel",
        ),
        (
            {"OFFLINE_STORE_CLASS_FOR_TYPE": ", 'spark': 'feast.stores.NewOfflineStore'"},
            (
                "offline_store.type: the full name feast.stores.NewOfflineStore needs the extra spark: "
                "add NewOfflineStore to known_types.CLASSES"
            ),
        ),
        (
            {"keys": "provider tides"},
            "feature_store.yaml: the key tides is new: does it need an extra (feast/stores/extras.py)?",
        ),
    ],
)
def test_what_is_new_is_said(tmp_path: Path, more: dict[str, str], expected: str) -> None:
    assert expected in _said(_wheel(tmp_path, _config(**more)))


def test_what_is_gone_is_said(tmp_path: Path) -> None:
    config = _config().replace("'redis':", "'reddish':").replace("REGISTRY_CLASS_FOR_TYPE", "REGISTRIES")
    lines = _said(_wheel(tmp_path, config, without="ui_server"))
    assert "online_store.type: redis is known, and the release does not have it" in lines
    assert "UI: the module feast.ui_server is not in the wheel (feast/stores/imports.py)" in lines
    assert any(line.startswith("feast/repo_config.py has no table REGISTRY_CLASS_FOR_TYPE any more") for line in lines)


def test_faults_that_the_newest_known_release_has_are_asked_for(tmp_path: Path) -> None:
    lines = list(feast_release.unknown_of_wheel(_wheel(tmp_path, _config()), VERSION))
    assert f"feast_releases.SHARED_REGISTRY_REFUSES_APPLY ends with 0.67: does Feast {VERSION} still do it?" in lines


def test_what_a_crd_has_otherwise_than_expected_is_said() -> None:
    kinds: Json = {"properties": {"type": {"enum": ["redis", "tidal"]}}}
    online: Json = {"properties": {"persistence": {"properties": {"store": kinds}}}}
    spec: Json = {"properties": {"services": {"properties": {"onlineStore": online}}}}
    lines = list(feast_release.unknown_of_crd(FeatureStoreCrd({"properties": {"spec": spec}}, "install.yaml"), VERSION))
    assert "CRD: batch_engine: expected true, found false" in lines
    assert "CRD: online store tidal is not known" in lines
    assert lines[-1].startswith("capabilities.NEWEST is 0.66: raise it")
