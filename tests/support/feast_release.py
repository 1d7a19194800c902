"""Show what a release of Feast has and this program does not know: ``make feast-release VERSION=``.

The release's wheel comes from the package index that pip or uv is configured with. Its tables are read as text, never
imported. The CRD is that of the operator's release, or a file.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from packaging.version import Version

from bundler.effects import files, operator_manifest
from bundler.effects.blobs import BlobStore
from bundler.effects.packages import uv, wheelhouse
from bundler.effects.packages.uv import Resolution
from bundler.errors import BundlerError
from bundler.feast.operator import capabilities, crd
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.crd import FeatureStoreCrd
from bundler.feast.rules import feast_releases, supported
from bundler.feast.rules.feast_releases import FeastReleases
from bundler.feast.stores import feature_store_yaml, imports, known_types
from bundler.feast.stores.known_types import Kinds
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.model.spec import Operator
from bundler.wheels.compatibility import ImagePython

_CONFIG: Final = "feast/repo_config.py"
# Where in feature_store.yaml the types of a table stand, the file and the table, and what this program knows.
_TABLES: Final = (
    ("online_store.type", _CONFIG, "ONLINE_STORE_CLASS_FOR_TYPE", known_types.ONLINE),
    ("offline_store.type", _CONFIG, "OFFLINE_STORE_CLASS_FOR_TYPE", known_types.OFFLINE),
    ("registry.registry_type", _CONFIG, "REGISTRY_CLASS_FOR_TYPE", known_types.REGISTRY),
    ("batch_engine.type", _CONFIG, "BATCH_ENGINE_CLASS_FOR_TYPE", known_types.ENGINE),
    ("feature_server.type", _CONFIG, "FEATURE_SERVER_CONFIG_CLASS_FOR_TYPE", known_types.FEATURE_SERVER),
    (
        "registry.registry_store_type",
        "feast/infra/registry/registry.py",
        "REGISTRY_STORE_CLASS_FOR_TYPE",
        known_types.REGISTRY_STORE,
    ),
)
# Types that no table has: Feast means something by them in its code.
_OUTSIDE_OF_TABLES: Final = frozenset({"none"})
# Keys of feature_store.yaml that were read, up to Feast 0.67, and found to need nothing or what extras.py gives them.
_KEYS: Final = frozenset(
    {
        *("project", "project_description", "provider", "registry", "online_store", "offline_store", "batch_engine"),
        *("auth", "feature_server", "flags", "repo_path", "entity_key_serialization_version", "coerce_tz_aware"),
        *("materialization", "openlineage", "mlflow", "data_quality_monitoring", "embedding_model"),
    }
)
_PYTHON: Final = ImagePython((3, 12), "3.12.8", (2, 36), Platform("linux", "amd64"))
_CHECKED: Final = "project: p\nprovider: local\nregistry: r.db\n"


def unknown_of_wheel(wheel: Path, version: str) -> Iterator[str]:
    """Yield a line for each thing of a release's wheel that this program does not know, or takes for granted."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        texts = {name: archive.read(name).decode() for name in names if name.endswith(".py")}
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        extras = frozenset(HeaderParser().parsestr(archive.read(metadata).decode()).get_all("Provides-Extra", []))
    for place, file, table, kinds in _TABLES:
        found = _table(texts.get(file, ""), table)
        if not found:
            yield f"{file} has no table {table} any more: bundler/feast/stores/imports.py reads it"
            continue
        yield from _types(place, found, kinds, version)
        yield from _classes(place, found, kinds)
        yield from (f"{place}: {kind}: {name} is not in the wheel" for kind, name in _gone(found, names))
    for kind, extra in sorted(_extras(version)):
        if extra not in extras:
            yield f"extra {extra}, for {kind}: the release has no such extra"
    for key in sorted(_keys(texts.get(_CONFIG, "")) - _KEYS):
        yield f"feature_store.yaml: the key {key} is new: does it need an extra (feast/stores/extras.py)?"
    yield from _modules(names)
    yield from _of_releases(version)


def _types(place: str, found: Mapping[str, str], kinds: Kinds, version: str) -> Iterator[str]:
    of_table = {kind for kind in found if "." not in kind or not kind.startswith("feast.")}
    yield from (f"{place}: {kind} ({found[kind]}) is not known" for kind in sorted(of_table - set(kinds.extras)))
    for kind in sorted(set(kinds.extras) - of_table - _OUTSIDE_OF_TABLES):
        if _is_in(place, kind, version):
            yield f"{place}: {kind} is known, and the release does not have it"


def _classes(place: str, found: Mapping[str, str], kinds: Kinds) -> Iterator[str]:
    """Yield classes whose full name may stand in the file, and which need an extra that is not known of them."""
    if not kinds.ending:
        return
    for kind, path in sorted(found.items()):
        name, extra = path.rpartition(".")[2], kinds.extras.get(kind)
        if extra and known_types.CLASSES.get(name) != extra:
            yield f"{place}: the full name {path} needs the extra {extra}: add {name} to known_types.CLASSES"


def _gone(found: Mapping[str, str], names: set[str]) -> Iterator[tuple[str, str]]:
    for kind, path in sorted(found.items()):
        if not _has(path.rpartition(".")[0], names):
            yield kind, path


def _has(module: str, names: set[str]) -> bool:
    path = module.replace(".", "/")
    return bool({f"{path}.py", f"{path}/__init__.py"} & names)


def _extras(version: str) -> Iterator[tuple[str, str]]:
    """Yield type and extra of what the release should have."""
    auth = ("auth.type", known_types.AUTH)
    for place, kinds in (*((place, kinds) for place, _, _, kinds in _TABLES), auth):
        yield from ((kind, extra) for kind, extra in kinds.extras.items() if extra and _is_in(place, kind, version))


def _is_in(place: str, kind: str, version: str) -> bool:
    since = known_types.SINCE.get((place, kind))
    return since is None or Version(since).release <= Version(version).release


def _modules(names: set[str]) -> Iterator[str]:
    config = feature_store_yaml.parse(_CHECKED, "feature_store.yaml")
    needed = {one for auth in known_types.AUTH.extras for one in imports.imports_for(config, auth=auth)}
    for need in sorted(needed):
        if need.how == "module" and need.name.startswith("feast.") and not _has(need.name, names):
            yield f"{need.what}: the module {need.name} is not in the wheel (feast/stores/imports.py)"


def _of_releases(version: str) -> Iterator[str]:
    if version not in supported.RELEASES:
        yield f"supported.RELEASES ends with {supported.RELEASES[-1]}; `init` proposes {supported.NEWEST_FEAST}"
    release = Version(version).release[:2]
    newest = Version(supported.NEWEST_FEAST).release[:2]
    for name, value in sorted(vars(feast_releases).items()):
        if isinstance(value, FeastReleases) and newest <= value.last < release:
            last = ".".join(map(str, value.last))
            yield f"feast_releases.{name} ends with {last}: does Feast {version} still do it?"


def _table(text: str, name: str) -> Mapping[str, str]:
    """Return a table of texts, without what it takes from another."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) == name:
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {ast.literal_eval(key): ast.literal_eval(value) for key, value in pairs if key is not None}
    return {}


def _keys(text: str) -> frozenset[str]:
    """Return the keys of feature_store.yaml: the fields of RepoConfig, by their alias where they have one."""
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == "RepoConfig"]
    fields = [node for one in classes for node in one.body if isinstance(node, ast.AnnAssign)]
    return frozenset(_key(field) for field in fields if isinstance(field.target, ast.Name))


def _key(field: ast.AnnAssign) -> str:
    keywords = field.value.keywords if isinstance(field.value, ast.Call) else []
    for keyword in keywords:
        if keyword.arg == "alias" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ast.unparse(field.target)


def unknown_of_crd(definition: FeatureStoreCrd, version: str) -> Iterator[str]:
    """Yield a line for each thing in which a CRD is otherwise than this program expects of the operator's release."""
    actual = Capabilities.from_crd(definition)
    yield from (f"CRD: {line}" for line in capabilities.differences(Capabilities.for_version(version), actual))
    for what, stores, kinds in (
        ("online", actual.online_stores, known_types.ONLINE),
        ("offline", actual.offline_stores, known_types.OFFLINE),
        ("registry", actual.registry_stores, known_types.REGISTRY),
    ):
        yield from (f"CRD: {what} store {kind} is not known" for kind in sorted(stores - set(kinds.extras)))
    if Version(version).release[:2] > capabilities.NEWEST:
        newest = ".".join(map(str, capabilities.NEWEST))
        yield f"capabilities.NEWEST is {newest}: raise it once the differences above are settled"


def _wheel(version: str, folder: Path) -> Path:
    """Return a release's wheel from the index that is configured here."""
    wanted = Resolution(_PYTHON, requirements=(f"feast=={version}",), dependencies=False)
    candidates = uv.resolve(wanted)
    store = BlobStore(folder)
    ((sha256, _),) = wheelhouse.download(candidates, store, progress=SilentProgress())
    return store.path(Digest(sha256))


def _definition(version: str, file: Path | None) -> FeatureStoreCrd:
    if file is not None:
        return crd.load(files.read_text(file, "the CRD"), str(file))
    found = operator_manifest.release(Operator(version=version), Path.cwd()).crd
    if found is None:
        raise AssertionError("an operator that is not installed yet has its manifest")
    return found


def main() -> None:
    """Print what is not known, a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--crd", type=Path, help="the operator's install.yaml, instead of the released one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bundler-release-") as folder:
        lines = list(unknown_of_wheel(_wheel(asked.version, Path(folder)), asked.version))
    try:
        lines += unknown_of_crd(_definition(asked.version, asked.crd), asked.version)
    except BundlerError as error:
        lines.append(f"CRD: not read: {error}")
    for line in lines:
        sys.stdout.write(f"{line}\n")
    if not lines:
        sys.stdout.write(f"Feast {asked.version}: nothing that is not known\n")


if __name__ == "__main__":
    main()
