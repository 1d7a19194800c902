"""Images without an engine: unpacked by umoci, and run by runc as umoci's reading of the image config says."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.engines import Ran, call
from tests.support.programs import require, require_root

_TMP = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}


@dataclass(frozen=True)
class Unpacked:
    """An image unpacked into a runtime bundle (OCI runtime specification): a root file system and ``config``."""

    folder: Path
    config: dict[str, Any]

    def run(self, script: str, *, user: int | None = None, read_only: bool = False) -> Ran:
        """Run a bash script with no network and no capability; as the image's user, or as ``user`` of group 0."""
        process = {**self.config["process"], "terminal": False, "args": ["bash", "-ec", script], "capabilities": {}}
        if user is not None:
            process["user"] = {"uid": user, "gid": 0}
        # The host's cgroups are mounted in more ways than runc can pass on; nothing here looks at them.
        mounts = [row for row in self.config["mounts"] if row["type"] != "cgroup"] + [_TMP]
        root = {**self.config["root"], "readonly": read_only}
        config = {**self.config, "process": process, "mounts": mounts, "root": root}
        (self.folder / "config.json").write_text(json.dumps(config))
        with tempfile.TemporaryDirectory(prefix="runc-") as state:
            return call(["runc", "--root", state, "run", "--bundle", self.folder, Path(state).name])


@contextmanager
def unpacked(source: str) -> Iterator[Unpacked]:
    """Unpack an image, named as skopeo names it, into a folder that is removed at the end."""
    for program in ("skopeo", "umoci"):
        require(program)
    require_root("runc")
    with tempfile.TemporaryDirectory(prefix="umoci-") as name:
        layout, folder = f"{name}/layout:x", Path(name, "bundle")
        for command in (
            ["skopeo", "copy", "--quiet", source, f"oci:{layout}"],
            ["umoci", "unpack", "--image", layout, str(folder)],
        ):
            done = call(command)
            assert done.status == 0, done.output
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        kinds = {row["type"] for row in config["linux"]["namespaces"]}
        assert "network" in kinds, kinds
        yield Unpacked(folder, config)
