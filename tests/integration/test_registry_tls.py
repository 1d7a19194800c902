"""Private authorities as sites have them, with every CPython of this machine."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from bundler.effects.registry.endpoint import Connection, Endpoint, TlsSettings
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError
from tests.support import pythons, registries
from tests.support.certificates import Authority

pytestmark = pytest.mark.integration

CONNECTION = Connection(environment={}, attempts=1)
_ROOT = Path(__file__).parents[2]
_GREET = """
import sys
from pathlib import Path
from bundler.effects.registry.endpoint import Connection, Endpoint, TlsSettings
from bundler.effects.registry.session import Session
tls = TlsSettings((Path(sys.argv[2]),))
session = Session(Endpoint(sys.argv[1], tls=tls), Connection(environment={}, attempts=1))
session.check()
session.close()
"""


def greet(program: str, address: str, authority: Path) -> None:
    command = [program, "-c", _GREET, address, str(authority)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{program}: {done.stderr}"


def test_every_python_trusts_an_authority_that_curl_trusts(tmp_path: Path) -> None:
    old = Authority.make(tmp_path / "ca", old=True)
    with registries.running(tmp_path / "registry", tls=old.server()) as registry:
        for version, program in pythons.found().items():
            if version >= (3, 10):
                greet(program, registry.address, old.pair.certificate)


def test_an_intermediate_authority_is_trusted_without_its_root(tmp_path: Path) -> None:
    between = Authority.make(tmp_path / "ca").intermediate()
    with registries.running(tmp_path / "registry", tls=between.server()) as registry:
        tls = TlsSettings((between.pair.certificate,))
        with closing(Session(Endpoint(registry.address, tls=tls), CONNECTION)) as session:
            session.check()


def test_an_authority_that_was_given_is_not_asked_for_again(tmp_path: Path) -> None:
    right, wrong = Authority.make(tmp_path / "right"), Authority.make(tmp_path / "wrong")
    with registries.running(tmp_path / "registry", tls=right.server()) as registry:
        for given in ((), (wrong.pair.certificate,)):
            endpoint = Endpoint(registry.address, tls=TlsSettings(given))
            refused = pytest.raises(RegistryError, match="No trusted TLS")
            with closing(Session(endpoint, CONNECTION)) as session, refused as caught:
                session.check()
            assert ("--ca-cert" in caught.value.remedy) is not bool(given)
            assert all(str(path) in caught.value.remedy for path in given)
