from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.packages import index
from bundler.effects.packages.index import PackageIndexes, masked
from bundler.errors import UsageError

SITE = "https://me:s3cret@pypi.corp.example/simple"


def host(home: Path, environment: Mapping[str, str] | None = None, **files: str) -> PackageIndexes:
    for name, text in files.items():
        path = home / ".config" / name.replace("_", "/", 1).replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return PackageIndexes(environment or {}, home, home / "etc")


def test_what_pip_is_configured_with_is_told_to_uv(tmp_path: Path) -> None:
    environment = {
        "PIP_INDEX_URL": SITE,
        "PIP_EXTRA_INDEX_URL": "https://one.example/simple https://two.example/simple",
        "PIP_FIND_LINKS": "/srv/wheels https://three.example/wheels",
        "PIP_CERT": "/etc/corp.pem",
        "PIP_TRUSTED_HOST": "pypi.corp.example",
        "PIP_PROXY": "http://proxy.example:3128",
    }
    told = host(tmp_path, environment).for_uv()
    assert told["UV_DEFAULT_INDEX"] == SITE
    assert told["UV_INDEX"] == "https://one.example/simple https://two.example/simple"
    assert told["UV_FIND_LINKS"] == "/srv/wheels,https://three.example/wheels"
    assert told["SSL_CERT_FILE"] == "/etc/corp.pem"
    assert told["UV_INSECURE_HOST"] == "pypi.corp.example"
    assert told["ALL_PROXY"] == "http://proxy.example:3128"


@pytest.mark.parametrize("variable", ["UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX"])
def test_what_uv_is_configured_with_wins_over_pip(tmp_path: Path, variable: str) -> None:
    told = host(tmp_path, {variable: "https://uv.example/simple", "PIP_INDEX_URL": SITE}).for_uv()
    assert "UV_DEFAULT_INDEX" not in told


def test_the_index_of_pips_file_is_told_to_uv_unless_uv_has_a_file_with_one(tmp_path: Path) -> None:
    pip = (
        f"[global]\nindex-url = {SITE}\nextra-index-url =\n  https://one.example/simple\n  file:///srv/wheels/simple\n"
    )
    told = host(tmp_path, pip_pip_conf=pip).for_uv()
    assert told["UV_DEFAULT_INDEX"] == SITE
    assert told["UV_INDEX"] == "https://one.example/simple"  # a folder would hide the real index
    assert "UV_DEFAULT_INDEX" not in host(tmp_path, uv_uv_toml='[[index]]\nurl = "https://x.example/simple"\n').for_uv()


def test_the_users_file_of_pip_wins_over_the_machines(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pip.conf").write_text("[global]\nindex-url = https://etc.example/simple\ncert = /etc/corp.pem\n")
    told = host(tmp_path, pip_pip_conf=f"[global]\nindex-url = {SITE}\n").for_uv()
    assert (told["UV_DEFAULT_INDEX"], told["SSL_CERT_FILE"]) == (SITE, "/etc/corp.pem")


def test_pips_files_are_not_read_where_pip_would_not(tmp_path: Path) -> None:
    pip = f"[global]\nindex-url = {SITE}\n"
    assert "UV_DEFAULT_INDEX" not in host(tmp_path, {"PIP_CONFIG_FILE": "/dev/null"}, pip_pip_conf=pip).for_uv()


@pytest.mark.parametrize("text", ["no section\n", "[global\n", "\xff"])
def test_a_broken_file_of_pip_is_passed_over(tmp_path: Path, text: str) -> None:
    assert "UV_DEFAULT_INDEX" not in host(tmp_path, pip_pip_conf=text).for_uv()


def test_pip_is_told_what_uv_is_configured_with_and_to_trust_what_the_system_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "ca-certificates.crt"
    monkeypatch.setattr(index, "_SYSTEM_AUTHORITIES", (tmp_path / "absent", system))
    told = host(tmp_path, {"UV_INDEX_URL": SITE}).for_pip()
    assert told == {"PIP_INDEX_URL": SITE}
    system.touch()
    assert host(tmp_path, {"UV_DEFAULT_INDEX": f"corp={SITE}"}).for_pip() == {
        "PIP_INDEX_URL": SITE,
        "PIP_CERT": str(system),
    }
    assert host(tmp_path, {"SSL_CERT_FILE": "/etc/corp.pem"}).for_pip()["PIP_CERT"] == "/etc/corp.pem"
    assert host(tmp_path, pip_pip_conf=f"[global]\nindex-url = {SITE}\ncert = /etc/corp.pem\n").for_pip() == {}


def test_one_place_says_which_indexes_are_used(tmp_path: Path) -> None:
    def described(**environment: str) -> str:
        return host(tmp_path, environment).described

    assert described() == "none configured: the default"
    host(tmp_path, pip_pip_conf=f"[global]\nindex-url = {SITE}\n")
    assert described() == "pip.conf"
    host(tmp_path, uv_uv_toml='[[index]]\nurl = "https://x.example/simple"\n')
    assert described() == "uv.toml"
    assert described(PIP_INDEX_URL=SITE) == "PIP_INDEX_URL"
    assert described(PIP_INDEX_URL=SITE, UV_INDEX_URL=SITE) == "UV_INDEX_URL (not PIP_INDEX_URL)"


def test_an_authority_of_the_command_line_is_trusted_besides_the_others(tmp_path: Path) -> None:
    named, further, folder = tmp_path / "named.pem", tmp_path / "further.pem", tmp_path / "uv"
    named.write_text("NAMED")
    further.write_text("FURTHER")
    folder.mkdir()
    found = replace(host(tmp_path, {"SSL_CERT_FILE": str(named)}), further_authorities=(further,))
    combined = Path(found.for_uv(folder)["SSL_CERT_FILE"])
    assert combined.read_text().split() == ["NAMED", "FURTHER"]


def test_authorities_of_the_system_are_trusted_where_none_are_named(tmp_path: Path) -> None:
    assert host(tmp_path).for_uv()["UV_SYSTEM_CERTS"] == "true"
    named = host(tmp_path, {"REQUESTS_CA_BUNDLE": "/etc/corp.pem"}).for_uv()
    assert named["SSL_CERT_FILE"] == "/etc/corp.pem"
    assert "UV_SYSTEM_CERTS" not in named


@pytest.mark.parametrize(
    ("environment", "files"),
    [
        ({"UV_DEFAULT_INDEX": SITE}, {}),
        ({"UV_INDEX": f"https://other.example/simple corp={SITE}"}, {}),
        ({"PIP_EXTRA_INDEX_URL": SITE}, {}),
        ({}, {"pip_pip_conf": f"[install]\nindex-url = {SITE}\n"}),
        ({}, {"uv_uv_toml": f'[pip]\nextra-index-url = ["{SITE}"]\n'}),
        (
            {"UV_INDEX_CORP_1_USERNAME": "me", "UV_INDEX_CORP_1_PASSWORD": "s3cret"},
            {"uv_uv_toml": '[[index]]\nname = "corp-1"\nurl = "https://pypi.corp.example/simple"\n'},
        ),
        (
            {
                "UV_INDEX": "corp=https://pypi.corp.example/simple",
                "UV_INDEX_CORP_USERNAME": "me",
                "UV_INDEX_CORP_PASSWORD": "s3cret",
            },
            {},
        ),
    ],
)
def test_files_are_fetched_with_the_login_of_the_index_on_the_same_host(
    tmp_path: Path, environment: Mapping[str, str], files: dict[str, str]
) -> None:
    indexes = host(tmp_path, environment, **files)
    assert indexes.login("https://pypi.corp.example/files/demo.whl") == ("me", "s3cret")
    assert indexes.login("https://files.example/demo.whl") is None
    assert indexes.login("http://pypi.corp.example/files/demo.whl") is None  # never in the clear
    assert indexes.login("https://pypi.corp.example:8443/files/demo.whl") is None


def test_a_login_may_come_from_netrc_or_from_the_files_own_address(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine pypi.corp.example login me password n3trc\n")
    (tmp_path / ".netrc").chmod(0o600)
    indexes = host(tmp_path)
    assert indexes.login("https://pypi.corp.example/demo.whl") == ("me", "n3trc")
    assert indexes.login("https://you:p%40ss@pypi.corp.example/demo.whl") == ("you", "p@ss")
    assert host(tmp_path, {"NETRC": str(tmp_path / "none")}).login("https://pypi.corp.example/x") is None


@pytest.mark.parametrize("value", ["https://me:s3/cret@corp.example/simple", "ht!tp://me:s3cret@corp/simple"])
def test_an_index_that_is_no_url_is_refused_before_anybody_prints_its_password(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="UV_INDEX is not the URL") as caught:
        host(tmp_path, {"UV_INDEX": value}).for_uv()
    assert "cret" not in f"{caught.value} {caught.value.details}"


@pytest.mark.parametrize(
    "text",
    ["https://me:s3cret@corp.example/x", "(http://s3cret@corp.example/x)", "see https://me:s3/cr@et@corp.example/x"],
)
def test_logins_are_masked_in_what_is_shown(text: str) -> None:
    assert "s3" not in masked(text)
    assert "corp.example/x" in masked(text)


def test_the_configuration_never_shows_its_secrets(tmp_path: Path) -> None:
    assert "s3cret" not in repr(host(tmp_path, {"UV_DEFAULT_INDEX": SITE}))


@pytest.mark.parametrize("between", ["=", " ", "   "])
def test_the_login_of_an_index_that_a_requirement_file_names_is_used(tmp_path: Path, between: str) -> None:
    line = f"--extra-index-url{between}https://me:${{TOKEN}}@pypi.corp.example/simple?x=y"
    indexes = replace(host(tmp_path, {"TOKEN": "s3cret"}), options=(line,))
    assert indexes.login("https://pypi.corp.example/files/demo.whl") == ("me", "s3cret")
