"""Secrets and leftovers are refused by name and content before they are baked, unless the spec gives a reason."""

from __future__ import annotations

import base64
import time
import zipfile
from pathlib import Path

import pytest

from bundler.errors import SpecError
from bundler.model import secret_forms, secret_marks
from bundler.model.progress import SilentProgress
from bundler.steps.lock import project, secrets

SPEC = """\
name: demo
version: 0.1.0
feast: {version: 0.61.0}
base: {debian: bookworm}
registry: {host: "r.internal.example:5000", prefix: feast}
operator: {version: 0.61.0, preinstalled: true}
deployment: {name: demo}
"""
STORE = "project: demo\nprovider: local\nregistry: data/registry.pb\n"


def words(text: str) -> list[str]:
    return text.split()


NAMES = words("""
tls.key server.p12 client.pfx a.p8 b.pk8 putty.ppk app.jks x.jceks y.bks my.keystore trust.truststore
feast.keytab vault.kdbx backup.gpg old.pgp id_rsa id_ed25519.bak ssh_host_rsa_key deploy_rsa private_key.txt
private-key.json identity wallet.dat cwallet.sso .netrc _netrc .pgpass pgpass.conf .my.cnf .mylogin.cnf .pypirc
.npmrc .yarnrc.yml .htpasswd .git-credentials .dockercfg .dockerconfigjson docker-config.json .s3cfg .boto
.vault-token vault_pass.txt kubeconfig prod.kubeconfig kube.config site.ovpn host.rdp rclone.conf
sftp-config.json filezilla.xml credentials credentials.json application_default_credentials.json
aws-credentials.csv client_secret_123.json service_account.json gcp-prod-key.json feast-sa.json accessKeys.csv
rootkey.csv secrets.yaml secret.json passwords.txt token.txt api_key.txt apikeys.json db_password.txt
prod-secrets.yml shadow master.key .env .env.prod prod.env .envrc terraform.tfstate prod.tfvars
local.settings.json .bash_history .psql_history feast.dump dump.sql backup.sql.gz registry.db
data/online_store.db feast.sqlite3 feast.duckdb-wal debug.log mlruns/0/meta.yaml wandb/run/x.json
""")
ORDINARY = words("""
feature_store.yaml definitions.py secrets.py tokens.py password_features.py data/driver_stats.parquet README.md
ca.pem ca-bundle.pem cert.pem server.crt release.pub .env.example bundle.yaml.sample notebooks/explore.ipynb
keys.py environment.yml requirements.txt pyproject.toml data/events.csv credentials_path.py online_features.py
registry.py Dockerfile .feastignore feature_key.py secret_template.yaml.example
""")
_64 = base64.b64encode(bytes(range(64))).decode()
# Written in parts, so that no scanner takes this file for a leak.
FORMS = {
    "aws.py": 'KEY = "AKIA' + 'Q3EGRT5WXYZ7ABCD"',
    "aws.cfg": "aws_secret_access_key = " + "wJalrXUtnFEMIK7MDENGbPxRfiCY" + "zzzzzzzzKEY1",
    "keyword.py": 'password = "hunter2-of-mine"',
    "keyword.yaml": "database:\n  password: hunter2-of-mine",
    "keyword.ini": "[db]\npassword = hunter2-of-mine",
    "keyword.toml": '[db]\npassword = "hunter2-of-mine"',
    "keyword.json": '{"password": "hunter2-of-mine"}',
    "keyword.sh": "export PGPASSWORD=hunter2-of-mine",
    "keyword.ipynb": '{"cells":[{"source":["password = \\"hunter2-of-mine\\"\\n"]}]}',
    "dsn.py": 'engine = create_engine("postgresql://feast:' + 'hunter2@db.example/feast")',
    "dsn.yaml": "path: postgresql+psycopg://feast:" + "hunter2@db.example:5432/feast",
    "mongo.py": 'url = "mongodb+srv://u:' + 'hunter2pw@c.example/db"',
    "redis.py": 'url = "redis://:' + 'hunter2mine@redis.example:6379/0"',
    "redis.yaml": "connection_string: redis.example:6379,password=hunter2-mine",
    "odbc.py": 'c = "Server=x;User Id=z;Password=hunter2mine;"',
    "jwt.txt": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36P",
    "github.py": 't = "ghp_' + 'abcdefghijklmnopqrstuvwxyz0123456789"',
    "github2.py": 't = "github_pat_' + "11ABCDEFG0" * 7 + '"',
    "gitlab.py": 't = "glpat-' + 'abcdefghij0123456789"',
    "slack.py": 't = "xox' + 'b-123456789012-123456789012-abcdefghijklmnopqrstuvwx"',
    "hook.py": 'u = "https://hooks.slack.com/' + 'services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"',
    "account.json": '{"private_key": "-----BEGIN ' + 'PRIVATE KEY-----\\nMIIE\\n"}',
    "rsa.txt": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "ec.txt": "-----BEGIN EC " + "PRIVATE KEY-----\nMIIE",
    "openssh.txt": "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3Bl",
    "encrypted.txt": "-----BEGIN ENCRYPTED " + "PRIVATE KEY-----\nMIIE",
    "pgp.txt": "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\nlQOY",
    "google.py": 'k = "AIza' + 'SyA1234567890abcdefghijklmnopqrstuv"',
    "azure.py": f'c = "DefaultEndpointsProtocol=https;AccountName=x;AccountKey={_64};EndpointSuffix=core.example"',
    "sas.py": 'u = "https://x.blob.example/c?sv=2020-08-04&sig=' + 'abcdefghijklmnopqrstuvwxyz0123456789%2BABCDE%3D"',
    "stripe.py": 'k = "sk_' + 'live_abcdefghijklmnopqrstuvwx"',
    "npm.txt": "//registry.example/:_authToken=" + "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "pypi.txt": "pypi-AgE" + "IcHlwaS5vcmcCJDEyMzQ1Njc4LTEyMzQtMTIzNC0xMjM0LTEyMzQ1Njc4OTAxMgACKlszLCI",
    "face.py": 't = "hf_' + 'abcdefghijklmnopqrstuvwxyzABCDEFGH"',
    "openai.py": 'k = "sk-' + 'abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst"',
    "databricks.py": 't = "dapi' + '0123456789abcdef0123456789abcdef"',
    "sendgrid.py": 'k = "SG.' + 'abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"',
    "bearer.py": 'h = {"Authorization": "Bearer ' + 'abcdefghijklmnopqrstuvwxyz012345"}',
    "basic.txt": "Authorization: Basic " + "ZmVhc3Q6aHVudGVyMi1vZi1taW5l",
    "docker.json": '{"auths": {"r.example": {"auth": "' + 'ZmVhc3Q6aHVudGVyMi1vZi1taW5l"}}}',
    "kube.yaml": "client-key-data: LS0tLS1CRUdJTi" + "BSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlF",
    "logins.txt": "machine index.example login me password hunter2-of-mine",
    "pg.txt": "db.example:5432:feast:feast:hunter2-of-mine",
    "vault.py": 't = "hvs.' + 'CAESIabcdefghijklmnopqrstuvwxyz0123456789"',
    "fernet.py": f'FERNET_KEY = "{_64[:43]}="',
    "index.txt": "--extra-index-url https://me:" + "s3cretpw@index.example/simple",
}
CLEAN = {
    "environment.py": 'import os\npassword = os.environ["DB_PASSWORD"]\ntoken = get_token()\n',
    "variables.yaml": "password: ${DB_PASSWORD}\np: postgresql://${U}:${P}@h/d\nc: redis:6379,password=${PASSWORD}\n",
    "views.py": 'Field(name="password_changes", dtype=Int64)\nFeatureView(name="resets", tags={"secret": "no"})\n',
    "signature.py": 'def login(password: str, token: str = "") -> None:\n    """Take a password: it is not kept."""\n',
    "text.md": "The password comes from the Secret.\nAuthorization: see the vault\n",
    "oidc.yaml": "client_secret: ${OIDC_SECRET}\nauth_discovery_url: https://id.example/.well-known/openid-configuration\n",
    "pointers.py": 'credentials_path="/run/secrets/key.json"\nsecret_name = "redis-credentials"\nkey = "driver_id"\n',
    "digests.txt": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
    "certificate.txt": "-----BEGIN CERTIFICATE-----\nMIIB\n-----BEGIN PUBLIC KEY-----\nMFkw\n",
}


def repo(folder: Path, files: dict[str, str | bytes], spec: str = SPEC) -> Path:
    (folder / "feature_repo").mkdir()
    for name, content in {"feature_store.yaml": STORE, **files}.items():
        path = folder / "feature_repo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "bundle.yaml").write_text(spec)
    return folder / "bundle.yaml"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_named_as_a_secret_or_a_leftover_is_known(name: str) -> None:
    assert secret_marks.by_name(name)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_is_none_of_these(name: str) -> None:
    assert not secret_marks.by_name(name)


def test_every_form_of_a_credential_is_refused_with_its_line_and_never_shown(tmp_path: Path) -> None:
    spec = repo(tmp_path, {name: f"# a comment\n{text}\n" for name, text in FORMS.items()})
    with pytest.raises(SpecError, match="Secrets or leftovers") as refused:
        project.load(spec)
    told = "\n".join(refused.value.details)
    assert [name for name in FORMS if f"/{name}:" not in told] == []
    assert "/keyword.yaml:3: " in told
    assert "hunter2" not in told
    assert "abcdefghij" not in told


def test_ordinary_texts_are_no_false_alarm(tmp_path: Path) -> None:
    assert project.load(repo(tmp_path, dict(CLEAN))).allowed_secrets == ()


def test_a_key_in_a_file_that_is_not_a_text_is_found(tmp_path: Path) -> None:
    spec = repo(tmp_path, {"model.bin": b"\0\1\2" + FORMS["rsa.txt"].encode() + b"\0"})
    with pytest.raises(SpecError, match="Secrets or leftovers"):
        project.load(spec)


def test_what_the_spec_allows_is_baked_with_its_reason(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "registry.db": b"x",
        "tests/data.py": FORMS["keyword.py"],
        "other.py": FORMS["github.py"],
    }
    allow = "secrets: {allow: [{path: registry.db, reason: the demo reads it}, {path: tests/, reason: invented}]}\n"
    with pytest.raises(SpecError) as refused:
        project.load(repo(tmp_path, files, SPEC + allow))
    assert len(refused.value.details) == 1
    assert "other.py:1" in refused.value.details[0]
    (tmp_path / "feature_repo/other.py").unlink()
    allowed = project.load(tmp_path / "bundle.yaml").allowed_secrets
    assert [str(finding).partition(": ")[0] for finding in allowed] == ["registry.db", "tests/data.py:1"]
    assert str(allowed[0]).endswith("Allowed: the demo reads it")


def test_wheels_of_local_projects_are_looked_through(tmp_path: Path) -> None:
    wheel = tmp_path / "ours-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ours/tests/data.py", FORMS["keyword.py"])
        archive.writestr("ours/settings.py", f"\n{FORMS['github.py']}")
    allow = "secrets: {allow: [{path: tests/, reason: invented}]}\n"
    spec = project.load(repo(tmp_path, {}, SPEC + allow)).spec
    progress = Said()
    with pytest.raises(SpecError, match="1 found") as refused:
        secrets.refuse_built(spec, [("requirements.txt:1", wheel)], progress)
    assert refused.value.details[0].startswith(f"requirements.txt:1: {wheel.name}: ours/settings.py:2: ")
    assert [line.partition(": ")[2].partition(": ")[0] for line in progress.lines] == ["ours/tests/data.py:1"]


class Said(SilentProgress):
    """Keep what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_a_reason_is_demanded(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        project.load(repo(tmp_path, {}, f"{SPEC}secrets: {{allow: [{{path: registry.db}}]}}\n"))
    assert any("reason" in line for line in refused.value.details), refused.value.details


def test_the_spec_itself_is_looked_through(tmp_path: Path) -> None:
    source = "source: https://me:" + "s3cretpw@git.example/features\n"
    with pytest.raises(SpecError) as refused:
        project.load(repo(tmp_path, {}, SPEC + source))
    assert refused.value.details == (f"{tmp_path}/bundle.yaml:8: a login in a URL",)


def test_a_large_file_is_a_finding(tmp_path: Path) -> None:
    spec = repo(tmp_path, {})
    with (tmp_path / "feature_repo/data.parquet").open("wb") as stream:
        stream.truncate(secret_marks.LARGEST + 1)
    with pytest.raises(SpecError) as refused:
        project.load(spec)
    assert "data.parquet: 52428801 bytes" in refused.value.details[0]


@pytest.mark.parametrize(
    "text", [b"a" * 200_000, b"password='" * 20_000, b"machine x login " * 12_000, b"://:" * 50_000]
)
def test_no_text_takes_long(text: bytes) -> None:
    start = time.process_time()
    list(secret_forms.in_text(text * (200_000 // len(text))))
    assert time.process_time() - start < 5  # seconds; with backtracking it would be hours
