"""docs/trust.md as a new user reads it: every block of commands, one after the other, beside openssl."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.model import layout
from bundler.model.progress import SilentProgress
from bundler.steps.build import pack
from tests.support.programs import require
from tests.unit import packed
from tests.unit.test_site_checklist import GOOD

pytestmark = pytest.mark.integration

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trust.md"
NAMED = "BUNDLE=rides-1.0.bundle.tar"
# A user types the password of a key; here it comes from the environment. Nothing else is changed.
BUNDLER = f"""#!/bin/bash
arguments=("${{@/#prompt/env:SECRET}}")
[ "$1" = keygen ] && arguments+=(--key-password env:SECRET)
exec {sys.executable} -m bundler "${{arguments[@]}}"
"""
OPENSSL = """#!/bin/bash
[[ "$*" == *"-sign ana.key"* ]] && exec {real} "${{@:1:$#-1}}" -passin env:SECRET "${{@: -1}}"
exec {real} "$@"
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    store = BlobStore(tmp_path / "cache")
    plan = replace(packed.plan(store), documents={**packed.DOCUMENTS, layout.CHECKLIST_JSON: GOOD})
    return pack.run(plan, tmp_path / "dist", store, progress=SilentProgress()).path


def test_every_block_of_the_page_does_what_it_says(bundle: Path, tmp_path: Path) -> None:
    programs, work = tmp_path / "bin", tmp_path / "work"
    work.mkdir()
    programs.mkdir()
    for name, text in (("bundler", BUNDLER), ("openssl", OPENSSL.format(real=require("openssl")))):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert NAMED in blocks[0]
    script = "set -eux -o pipefail\n" + "".join(blocks).replace(NAMED, f"BUNDLE={bundle}")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SECRET": "correct horse", "PYTHONPATH": str(PAGE.parents[1])}
    command = ("bash", "-c", script)
    done = subprocess.run(command, cwd=work, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Verified OK") == 2
    assert "Ana Perez" in (work / "signed" / "CHECKLIST.md").read_text()
    assert "Ana Perez" not in (work / "review" / "CHECKLIST.md").read_text()
