"""A layer holds what an installer would have written: uv installs the same wheel, and the two are compared."""

from __future__ import annotations

import csv
import io
import sys
import tarfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from bundler.effects import process
from bundler.effects.blobs import BlobStore
from bundler.effects.packages import bytecode
from bundler.model.digest import Digest
from bundler.model.lock import LockedWheel
from bundler.model.progress import SilentProgress
from bundler.steps.build import wheel_layers
from bundler.wheels.install import InstallTarget
from tests.unit.sample_wheels import NAME, wheel

pytestmark = pytest.mark.integration
THIS = (sys.version_info[0], sys.version_info[1])
# What installers write about themselves.
OWN = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json"}
FILES = {
    "demo/__init__.py": "def main():\n    print('hello from', __file__)\n",
    "demo/data.json": "{}",
    "demo/tool.sh": "#!/bin/sh\n",
    "demo-1.0.data/scripts/demo-script": "#!python\nimport demo\ndemo.main()\n",
    "demo-1.0.data/scripts/demo.sh": "#!/bin/sh\necho hello\n",
    "demo-1.0.data/data/share/demo/readme.txt": "read me\n",
    "demo-1.0.data/purelib/pure.py": "PURE = 1\n",
    "demo-1.0.data/platlib/plat.py": "PLAT = 1\n",
    "demo-1.0.dist-info/entry_points.txt": "[console_scripts]\ndemo = demo:main\n",
}


def layer_unpacked(folder: Path, prefix: Path) -> Path:
    """Bake the wheel for a Python whose prefix is ``prefix``, and unpack the layer as if ``folder`` were the root."""
    store = BlobStore(folder / "cache")
    content = wheel(FILES, executable=frozenset({"demo/tool.sh"})).getvalue()
    locked = LockedWheel(
        name="demo", version="1.0", filename=NAME, size=len(content), sha256=Digest(store.put(content).hex).hex
    )
    site = f"{prefix}/lib/python{THIS[0]}.{THIS[1]}/site-packages"
    target = InstallTarget(THIS, sys.executable, site, f"{prefix}/bin")
    (layer,) = wheel_layers.build(
        [locked],
        target,
        store,
        epoch=0,
        requested=frozenset({"demo"}),
        compiler=bytecode.interpreter(THIS),
        progress=SilentProgress(),
    )
    root = folder / "root"
    with tarfile.open(store.path(layer.descriptor.digest)) as archive:
        archive.extractall(root, filter="tar")
    return root / str(prefix).lstrip("/")


def tree(folder: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in OWN and path.suffix != ".pyc" and path.name != ".lock"
    }


def test_a_layer_holds_the_files_that_uv_installs(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    built = tmp_path / NAME
    built.write_bytes(wheel(FILES, executable=frozenset({"demo/tool.sh"})).getvalue())
    process.run(
        [
            find_uv_bin(),
            "pip",
            "install",
            "--offline",
            "--no-deps",
            "--python",
            sys.executable,
            "--prefix",
            prefix,
            built,
        ],
        purpose="installing the sample",
    )
    mine, theirs = tree(layer_unpacked(tmp_path, prefix)), tree(prefix)
    assert mine.keys() == theirs.keys()
    # The generated script differs in wording: what it starts is compared by running it.
    generated = "bin/demo"
    assert {path: mine[path] for path in mine if path != generated} == {
        path: theirs[path] for path in theirs if path != generated
    }


def test_what_a_layer_holds_runs_and_is_a_distribution_to_python(tmp_path: Path) -> None:
    prefix = layer_unpacked(tmp_path, Path("/opt/python"))
    site = prefix / f"lib/python{THIS[0]}.{THIS[1]}/site-packages"
    environment = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    for script in ("demo", "demo-script"):
        said = process.run([prefix / "bin" / script], purpose="running a script", environment=environment).stdout
        assert said.startswith("hello from /")
    asked = (
        "import importlib.metadata as m; d = m.distribution('demo'); print(d.version, len(d.files), m.files('demo')[0])"
    )
    said = process.run([sys.executable, "-c", asked], purpose="asking for it", environment=environment).stdout
    assert said.startswith("1.0 ")


def test_the_record_in_a_layer_is_true(tmp_path: Path) -> None:
    prefix = layer_unpacked(tmp_path, Path("/opt/python"))
    site = prefix / f"lib/python{THIS[0]}.{THIS[1]}/site-packages"
    record = (site / "demo-1.0.dist-info/RECORD").read_text()
    rows = list(csv.reader(io.StringIO(record)))
    assert all((site / row[0]).stat().st_size == int(row[2]) for row in rows if row[2])
    listed = {(site / row[0]).resolve() for row in rows}
    assert listed == {path.resolve() for path in prefix.rglob("*") if path.is_file() and path.suffix != ".pyc"}
