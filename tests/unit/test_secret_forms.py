"""Credentials of further makers and kinds are found, in a repo, in requirement files and in the spec; prose is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.errors import SpecError
from bundler.model import secret_forms, secret_marks
from bundler.steps.lock import project
from tests.unit.test_secrets import SPEC, repo, words

NAMES = words("""
.ssh/config .aws/config .kube/config .docker/config.json secrets/db.txt private.asc secring.asc kaggle.json
.databrickscfg accessTokens.json msal_token_cache.bin auth.json oauth_token.json access_token refresh_token.txt hf_token
cookies.txt connection_string.txt logins.csv pass.txt keys.txt signing.jwk
ca-key.pem chain.key.pem credentials.tfrc.json vault.yml
secrets.enc.yaml env.prod dotenv feast-creds.json creds.yaml pull-secret.json sa-key.json gcs-key.json
x-firebase-adminsdk-abc.json krb5cc_1000 .pgpass.bak pg_service.conf fish_history backup.sql heapdump.hprof core
feature_store.yaml.bak definitions.py.orig data/registry.pb feast.db mlflow.db metastore_db/x spark-warehouse/x
mypassword.txt credentialsFile.json my-apikey-prod.txt mycreds.txt
events.out.tfevents.123 .authinfo talosconfig admin.conf deploy_key secret_key.txt master_key.txt openai_key.txt
""")
ORDINARY = words("""
private_key.py secrets/loader.py secrets/README.md tests/api_token.py pubkey.pem public_key.pem ca-bundle.pem
server-cert.pem tokenizer.json credentials.py
tokens.parquet data/logins.parquet core/views.py keyboard.csv monkeys.txt vaults.parquet sessions.py
""")
_36 = "abcdefghijklmnopqrstuvwxyz0123456789"
_HEX = "0123456789abcdef"
# Written in parts, so that no scanner takes this file for a leak.
FORMS = {
    "asia.py": 'k = "ASIA' + 'Q3EGRT5WXYZ7ABCD"',
    "oauth.py": 't = "ya29' + f'.a0AfH6SMBx{_36}"',
    "entra.py": 's = "abc8Q~' + f'{_36[:34]}"',
    "libpq.py": 'dsn = "host=db.example dbname=feast user=feast password=' + 'hunter2mine"',
    "default.py": 'pw = os.getenv("DB_PASSWORD", "' + 'hunter2-of-mine")',
    "environ.py": 'os.environ["DB_PASSWORD"] = "' + 'hunter2-of-mine"',
    "option.py": 'df.read.option("password", "' + 'hunter2-of-mine")',
    "s3a.yaml": "spark.hadoop.fs.s3a.secret.key: " + "hunter2ofmine99zz",
    "basic.py": 'requests.get(url, auth=("feast", "' + 'hunter2-of-mine"))',
    "curl.sh": "curl -u feast:" + "hunter2-of-mine https://x.example",
    "flag.sh": "feast --password " + "hunter2mine",
    "oracle.py": 'u = "jdbc:oracle:thin:scott/' + 'tiger99@//h:1521/x"',
    "Dockerfile": "ENV DB_PASSWORD " + "hunter2-of-mine",
    "Makefile": "DB_PASSWORD ?= " + "hunter2-of-mine",
    "x.xml": "<password>" + "hunter2-of-mine</password>",
    "site.xml": "<name>fs.s3a.secret.key</name><value>" + "hunter2ofmine99</value>",
    "users.sql": "CREATE USER 'feast'@'%' IDENTIFIED BY '" + "hunter2-of-mine';",
    "token.py": 'token = "' + 'a1b2c3d4e5f6a7b8c9d0a1b2"',
    "groq.py": 'k = "gsk_' + f'{_36}abcdefghijklmnop"',
    "ocean.py": 'k = "dop_v1_' + f'{_HEX * 4}"',
    "hub.py": 'k = "dckr_pat_' + f'{_36[:27]}"',
    "grafana.py": 'k = "glsa_' + f'{_36[:32]}_0123abcd"',
    "sentry.py": 'd = "https://' + f'{_HEX * 2}@o1.ingest.example/1"',
    "lib.txt": "git+https://" + "abcdefghij0123456789abcd@git.example/x.git",
    "hook.py": 'u = "https://discord.com/api/webhooks/' + f'123456789012345678/{_36 * 2}"',
    "signed.py": 'u = "https://b.example/k?a=b&X-Amz-Signature=' + f'{_HEX * 4}"',
    "putty.txt": "PuTTY-User-Key-File-2: " + "ssh-rsa",
    "vpn.txt": "-----BEGIN OpenVPN Static " + "key V1-----",
    "age.txt": "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2,
    "jwk.json": '{"kty":"RSA","n":"0vx7ago","d":"' + 'X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6"}',
    "manifest.yaml": "kind: Secret\nmetadata: {name: x}\ndata:\n  user: " + "ZmVhc3Q=\n",
    "pull.yaml": "x: eyJhdXRocyI6" + "eyJyLmV4YW1wbGUiOnsiYXV0aCI6",
    "bcrypt.txt": "feast:$2y$10$" + "abcdefghijklmnopqrstuuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0",
    "accounts.txt": "root:$6$saltsalt$" + "a" * 86,
    "logins.txt": "machine index.example\n    login me\n    password " + "hunter2-of-mine",
    "notebook.ipynb": '{"cells":[{"source":["1"],"outputs": [{"text":["x"]}]}],"nbformat":4}',
    "utf16.txt": "--extra-index-url https://me:" + "s3cretpw@index.example/simple",
}
CLEAN = {
    "calls.py": 'login(url, password=password, token=token)\nx = config.get("token", "unknown")\n',
    "oid.py": 'SERVER_AUTH = ObjectIdentifier("1.3")\n',
    "views.py": 'tags = ["token", "password", "user_id"]\ndf["token"] = tokens\nkey = "driver_id"\n',
    "settings.py": "api_key = settings.api_key\n",
    "help.md": "Use --password PASSWORD, or --token-file FILE. `curl -u USER https://x.example`\n",
    "clean.ipynb": '{"cells": [{"source": ["1"], "outputs": []}], "nbformat": 4}',
    "lake.py": 'path = "abfss://a-container-with-a-long-name@account.dfs.core.example/x"\n',
    "template.yaml": "kind: Secret\nstringData:\n  password: ${DB_PASSWORD}\n",
    "grants.sql": "ALTER TABLE users ADD password text;\n",
}


@pytest.mark.parametrize("name", NAMES)
def test_further_names_of_secrets_and_leftovers_are_known(name: str) -> None:
    assert secret_marks.by_name(name)


@pytest.mark.parametrize("name", ORDINARY)
def test_code_prose_and_public_keys_are_ordinary(name: str) -> None:
    assert not secret_marks.by_name(name)


def test_every_further_form_is_refused_and_never_shown(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {name: f"# a comment\n{text}\n" for name, text in FORMS.items()}
    files["utf16.txt"] = f"# a comment\n{FORMS['utf16.txt']}\n".encode("utf-16")
    with pytest.raises(SpecError) as refused:
        project.load(repo(tmp_path, files))
    told = "\n".join(refused.value.details)
    assert [name for name in FORMS if f"/{name}:" not in told] == []
    assert "hunter2" not in told
    assert _36 not in told


def test_further_ordinary_texts_are_no_false_alarm(tmp_path: Path) -> None:
    assert project.load(repo(tmp_path, dict(CLEAN))).allowed_secrets == ()


def requirement_files(folder: Path, allow: str = "") -> Path:
    spec = repo(folder, {}, f"{SPEC}requirements: [requirements.txt]\n{allow}")
    (folder / "requirements.txt").write_text("pandas\n-r more/extra.txt\n")
    (folder / "more").mkdir()
    (folder / "more/extra.txt").write_text("# ours\n--extra-index-url https://me:" + "s3cretpw@index.example/simple\n")
    return spec


def test_a_login_in_a_requirement_file_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="Secrets or leftovers") as refused:
        project.load(requirement_files(tmp_path))
    assert refused.value.details == (f"{tmp_path}/more/extra.txt:2: a login in a URL",)
    assert "netrc" in str(refused.value.remedy)


def test_a_login_in_a_requirement_file_can_be_allowed_by_its_path_beside_the_spec(tmp_path: Path) -> None:
    allow = "secrets: {allow: [{path: more/extra.txt, reason: everybody here has it}]}\n"
    [allowed] = project.load(requirement_files(tmp_path, allow)).allowed_secrets
    assert str(allowed) == "more/extra.txt:2: a login in a URL. Allowed: everybody here has it"


def test_a_requirement_file_by_variable_and_hash_is_no_false_alarm(tmp_path: Path) -> None:
    spec = repo(tmp_path, {}, f"{SPEC}requirements: [requirements.txt]\n")
    (tmp_path / "requirements.txt").write_text(
        f"--index-url https://me:${{TOKEN}}@index.example/simple\npandas==2.0 --hash=sha256:{_HEX * 4}\n"
    )
    assert project.load(spec).allowed_secrets == ()


@pytest.mark.parametrize(
    ("deployment", "place"),
    [
        ("servers: {online: {env: {DB_PASSWORD: " + "hunter2mine}}}", "servers.online.env.DB_PASSWORD"),
        ("servers: {registry: {env: {AWS_SECRET_ACCESS_KEY: " + "hunter2mine}}}", "env.AWS_SECRET_ACCESS_KEY"),
        ("batchEngine: {config: {type: spark.engine, spark_conf: {x.password: " + "hunter2}}}", "x.password"),
        ("podAnnotations: {vault.example/token: " + "hunter2mine}", "podAnnotations.vault.example/token"),
        ("servers: {online: {env: {X: AKIA" + "Q3EGRT5WXYZ7ABCD}}}", "AWS"),
        ("observability: {openTelemetry: {endpoint: 'http://me:" + "s3cretpw@otel:4317'}}", "a login in a URL"),
    ],
)
def test_what_the_spec_writes_out_is_refused_with_its_line(tmp_path: Path, deployment: str, place: str) -> None:
    text = SPEC.replace("deployment: {name: demo}", f"deployment:\n  name: demo\n  {deployment}")
    with pytest.raises(SpecError) as refused:
        project.load(repo(tmp_path, {}, text))
    [detail] = refused.value.details
    assert detail.startswith(f"{tmp_path}/bundle.yaml:9: ")
    assert place in detail
    assert "hunter2" not in detail


def test_names_of_secrets_in_the_spec_are_no_false_alarm(tmp_path: Path) -> None:
    deployment = """deployment:
  name: demo
  credentialsSecret: demo-credentials
  imagePullSecrets: [registry-credentials]
  onlineStore: {secret: redis-password}
  tls: {secret: demo-tls}
  servers: {online: {env: {REQUIRE_TOKEN: "true", DB_PASSWORD_FILE: /run/secrets/pw, TOKEN: "${TOKEN}"}}}
  batchEngine: {config: {type: spark.engine, spark_conf: {spark.master: local}}}
  volumes: [{name: tls, secret: {secretName: demo-tls}}]
"""
    assert (
        project.load(repo(tmp_path, {}, SPEC.replace("deployment: {name: demo}\n", deployment))).allowed_secrets == ()
    )


def test_a_placeholder_is_known() -> None:
    assert secret_forms.is_placeholder("changeme")
    assert not secret_forms.is_placeholder("hunter2")
