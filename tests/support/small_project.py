"""A project that the real command line builds in seconds, on this machine's Python, with a Feast of a few lines."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bundler.effects.blobs import BlobStore
from bundler.model import layout
from bundler.model.platform import Platform
from bundler.oci import image, mutate
from bundler.oci.filetree import File, FileTree
from bundler.oci.index import Index
from bundler.oci.layer import write_layer
from tests.support import python_image
from tests.unit.sample_wheels import wheel

HERE = next(each for each in map(Platform.parse, ("linux/amd64", "linux/arm64")) if each.machine == os.uname().machine)
_SPEC = """\
name: demo
version: 1.0.0
repo: {{path: repo}}
feast: {{version: 0.61.0}}
base: {{image: "{base}"}}
platforms: [{platform}]
registry: {{host: registry.internal.example}}
operator: {{version: 0.61.0, preinstalled: true}}
deployment: {{name: demo, cronJob: {{kubectl: {{image: "{kubectl}"}}}}}}
"""
_FEATURE_STORE = """\
project: demo
provider: local
registry: {registry_type: sql, path: "postgresql+psycopg://${DB}/feast"}
online_store: {type: redis, connection_string: "${REDIS}"}
offline_store: {type: dask}
entity_key_serialization_version: 3
"""
_CLASS = "class Store:\n    pass\n"
_TABLES = """\
ONLINE_STORE_CLASS_FOR_TYPE = {"redis": "feast.stores.Store"}
OFFLINE_STORE_CLASS_FOR_TYPE = {"dask": "feast.stores.Store"}
REGISTRY_CLASS_FOR_TYPE = {"sql": "feast.stores.Store"}
BATCH_ENGINE_CLASS_FOR_TYPE = {"local": "feast.stores.Store"}


class RepoConfig:
    model_fields = {}
    project = "demo"


def load_repo_config(*_):
    return RepoConfig()
"""
_OPERATIONS = """\
def get_repo_files(_folder):
    return []


def py_path_to_module(file):
    return file


def _get_repo_contents(_folder, _project):
    return None
"""
_ENGINE = """\
class Url:
    def get_dialect(self):
        return self

    def import_dbapi(self):
        return None


def make_url(text):
    return Url()
"""
_FEAST = {
    "feast/__init__.py": "",
    "feast/feature_server.py": "NAMES = {'b', 'a', 'c'}\n",
    "feast/offline_server.py": '"""A docstring."""\nassert True\n',
    "feast/registry_server.py": "",
    "feast/api/__init__.py": "",
    "feast/api/registry/__init__.py": "",
    "feast/api/registry/rest/__init__.py": "",
    "feast/api/registry/rest/rest_registry_server.py": "",
    "feast/ui_server.py": "",
    "feast/repo_config.py": _TABLES,
    "feast/repo_operations.py": _OPERATIONS,
    "yaml.py": "def safe_load(text):\n    return {}\n",
    "pydantic.py": "class ValidationError(Exception):\n    pass\n",
    "feast/stores.py": _CLASS,
    "feast/infra/__init__.py": "",
    "feast/infra/provider.py": 'PROVIDERS_CLASS_FOR_TYPE = {"local": "feast.stores.Store"}\n',
    "prometheus_client/__init__.py": "",
    "sqlalchemy/__init__.py": "",
    "sqlalchemy/engine.py": _ENGINE,
    "feast/permissions/__init__.py": "",
    "feast/permissions/auth/__init__.py": "",
    "feast/permissions/auth/kubernetes_token_parser.py": "",
    "feast/permissions/client/__init__.py": "",
    "feast/permissions/client/kubernetes_auth_client_manager.py": "",
}


def packages() -> Mapping[str, bytes]:
    """Return what an index must serve: file name -> content."""
    content = wheel(_FEAST, name="feast", version="0.61.0").getvalue()
    return {"feast-0.61.0-py3-none-any.whl": content}


def write(folder: Path, base: str, kubectl: str) -> Path:
    """Write the project into a folder and return its spec."""
    repo = folder / "repo"
    repo.mkdir(parents=True)
    (repo / "feature_store.yaml").write_text(_FEATURE_STORE)
    (repo / "definitions.py").write_text("NAMES = {'b', 'a'}\n")
    spec = folder / "bundle.yaml"
    spec.write_text(_SPEC.format(base=base, kubectl=kubectl, platform=HERE))
    return spec


def base_layout(folder: Path) -> str:
    """Write an OCI layout of an image with the Python of this machine; return its name as skopeo takes it."""
    store = BlobStore(folder)  # has its blobs where a layout has them
    name = Path(python_image.EXECUTABLE)
    tree = FileTree.of([File("etc/os-release", 8, lambda: io.BytesIO(b"ID=demo\n"))]).with_parents()
    with store.writing() as writer:
        release = write_layer(tree, writer, epoch=0, created_by="test")
    made = mutate.append_layers(image.empty(HERE), [python_image.layer(store), release])
    made = mutate.configure(made, env={"PATH": str(name.parent)}, user="1001", created=0)
    store.put(made.config_bytes())
    store.put(made.manifest_bytes())
    named = Index((replace(made.descriptor, annotations={"org.opencontainers.image.ref.name": "base"}),))
    (folder / layout.INDEX).write_bytes(named.to_bytes())
    (folder / layout.OCI_LAYOUT).write_bytes(layout.LAYOUT_VERSION)
    return f"oci:{folder}:base"
