"""What secrets and leftovers look like: names of files, and forms in texts that general detectors do not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import translate
from typing import Final

LARGEST: Final = 50 << 20
"""Bytes of a file in a feature repo; a larger one is data that belongs into a store."""

_SETTINGS: Final = "{,.json,.yaml,.yml,.toml,.ini,.cfg,.conf,.txt,.csv,.xml,.properties,.enc}"
# By the last part of the path, in lower case, as the shell's patterns. What certificates are called is not here.
_NAMES: Final = {
    "a private key": (
        "*.{pem,key,p8,p12,pfx,pk8,ppk,jks,jceks,bks,keystore,truststore,keytab,kdb,kdbx,snk,gpg,pgp} "
        "{id,ssh_host}_{rsa,dsa,ecdsa,ed25519}* *_rsa private[._-]key* privatekey* identity *wallet.{dat,sso}"
    ),
    "a login": (
        "{,.,_}netrc {,.}pgpass{,.conf} {,.}my.cnf {,.}mylogin.cnf {,.}pypirc {,.}npmrc .yarnrc.yml {,.}htpasswd "
        "{,.}git-credentials {,.}dockercfg {,.}dockerconfigjson docker-config.json {,.}s3cfg {,.}boto "
        "{,.}vault-token {,.}vault[._-]pass* *kubeconfig* kube.config *.ovpn *.rdp rclone.conf sftp{,-config}.json "
        f"filezilla.xml {{,application_default_}}credential{{,s}}{_SETTINGS} *[._-]credential{{,s}}{_SETTINGS} "
        "client_secret*.json service{_,-,.,}account*.json gcp[._-]*key*.json *[._-]sa.json {access,root}key{,s}.csv"
    ),
    "a password or token": (
        f"{{,.}}{{secret,secrets,password,passwords,passwd,token,tokens,auth_token,authtoken}}{_SETTINGS} "
        f"{{,.}}api{{,_,-,.}}key{{,s}}{_SETTINGS} *[._-]{{secret,secrets,password,passwords}}{_SETTINGS} "
        "shadow master.key *.passwd"
    ),
    "variables with secrets": (
        ".env .env[._-]* *.env env.local .envrc *.tfstate *.tfstate.* *.tfvars *.tfvars.json local.settings.json"
    ),
    "a history of commands": ".{bash,zsh,sh,python,psql,mysql,sqlite,node_repl,rediscli}_history",
    "a dump of a database": "*.{dump,pgdump,rdb} *.sql.gz dump.sql appendonly.aof",
    "what a local run left": "registry*.db online*.db *.{sqlite,sqlite3,duckdb}{,-wal,-shm} *.db-{wal,shm,journal}",
    "a log": "*.log nohup.out core.[0-9]*",
}
_PUBLIC: Final = (
    "*.pub *.crt *.cer *.pub.pem *.crt.pem ca.pem ca[._-]*.pem cacert*.pem cert*.pem fullchain*.pem chain*.pem "
    "*.example *[._-]{example,sample,template}.*"
)
_FOLDERS: Final = frozenset({"mlruns", "mlartifacts", "wandb", "lightning_logs", ".ipynb_checkpoints", ".terraform"})
_BRACES: Final = re.compile(r"\{([^{}]*)\}")


def _expanded(pattern: str) -> Iterator[str]:
    match = _BRACES.search(pattern)
    if not match:
        yield pattern
        return
    for choice in match[1].split(","):
        yield from _expanded(pattern[: match.start()] + choice + pattern[match.end() :])


def _compiled(patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(translate(name) for pattern in patterns.split() for name in _expanded(pattern)))


_BY_NAME: Final = {what: _compiled(patterns) for what, patterns in _NAMES.items()}
_IS_PUBLIC: Final = _compiled(_PUBLIC)

_IS: Final = rb"""\\?["']?\s{0,4}[:=]\s{0,4}\\?["']?"""
_VALUE: Final = rb"\s{1,4}(?P<secret>\S{3,128})"
_WORD: Final = rb"""(?P<secret>[^\\"'\s${}<>&;]{4,})"""
# Every repetition has a limit, so that no text takes longer than its length.
_FORMS: Final = (
    ("a private key", rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    ("a private key in base64", rb"LS0tLS1CRUdJTi[A-Za-z0-9+/]{8}"),
    (
        "a login in a URL",
        rb"""\b[a-z][a-z0-9+.-]{1,30}://[^\s:/@'"<>{}$]{0,64}:(?P<secret>[^\s:/@'"<>{}$]{3,128})@[A-Za-z0-9.\[-]""",
    ),
    (
        "a login in a header",
        rb"(?i)\bauthorization" + _IS + rb"(?:basic|bearer)\s{1,4}(?P<secret>[A-Za-z0-9+/=_.~-]{16,512})",
    ),
    ("a login of a registry", rb"""(?i)["']auth["']\s{0,4}:\s{0,4}["'](?P<secret>[A-Za-z0-9+/]{8,512}={0,2})["']"""),
    ("a login of a registry", rb"(?i)_auth(?:token)?\s{0,4}=\s{0,4}(?P<secret>[A-Za-z0-9+/=_-]{16,512})"),
    (
        "a password in a connection string",
        rb"(?i)[;&?,]\s{0,4}(?:password|pwd|accountkey|sharedaccesskey)=" + _WORD,
    ),
    ("a signature of Azure storage", rb"(?i)[?&]sig=(?P<secret>[A-Za-z0-9%+/_-]{30,512})"),
    (
        "a login of .netrc",
        rb"(?m)^\s{0,8}(?:machine\s{1,4}\S{1,253}|default)\s{1,4}login\s{1,4}\S{1,128}\s{1,4}password" + _VALUE,
    ),
    (
        "a login of .pgpass",
        rb"(?m)^[^\s:#]{1,253}:(?:[0-9]{1,5}|\*):[^\s:]{1,64}:[^\s:]{1,64}:(?P<secret>\S{3,128})$",
    ),
    ("a token of GitHub", rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50})"),
    ("a token of GitLab", rb"\bgl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{20}"),
    ("a token of Hugging Face", rb"\bhf_[A-Za-z]{30,64}\b"),
    ("a token of Databricks", rb"\bdapi[0-9a-f]{32}\b"),
    ("a token of Vault", rb"\bhv[sbr]\.[A-Za-z0-9_-]{20}"),
    ("a token of a package index", rb"\bpypi-AgE[A-Za-z0-9_-]{40}"),
    ("a key of Google", rb"\bAIza[A-Za-z0-9_-]{35}\b"),
    ("a key of AWS", rb"(?i)aws_?(?:secret|session)_?[a-z_]{0,16}" + _IS + rb"(?P<secret>[A-Za-z0-9/+=]{40})"),
    ("a key of an API", rb"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{20}"),
    (
        "a key",
        rb"(?i)(?:fernet|encryption|signing|api|access|secret)_?(?:key|token)"
        + _IS
        + rb"(?P<secret>[A-Za-z0-9+/_=-]{32,512})",
    ),
    # In quotes; where a settings file has none, detect-secrets knows the kind of file.
    ("a password", rb"""(?i)(?:password|passwd|passphrase)\\?["']\s{0,4}:\s{0,4}\\?["']""" + _WORD + rb"""\\?["']"""),
    ("a password", rb"""(?i)(?:password|passwd|passphrase)\s{0,4}=\s{0,4}\\?["']""" + _WORD + rb"""\\?["']"""),
)
_PATTERNS: Final = tuple((what, re.compile(form)) for what, form in _FORMS)
_PLACEHOLDER: Final = re.compile(
    rb"(?i)[x*.#]{1,512}|(?:your|my|the)[-_].{0,512}|change-?me|example.{0,512}|redacted|password|secret|none|null"
)


def by_name(path: str) -> str:
    """Say what the name of a file says it holds; empty for what can be baked. ``path`` has ``/``."""
    folders, _, name = path.lower().rpartition("/")
    if left := _FOLDERS.intersection(folders.split("/")):
        return f"what a local run left ({min(left)}/)"
    if _IS_PUBLIC.match(name):
        return ""
    return next((what for what, pattern in _BY_NAME.items() if pattern.match(name)), "")


def in_text(content: bytes) -> Iterator[tuple[int, str]]:
    """Yield the line (counted from 1) and the kind of each credential that is written out in a text."""
    for what, pattern in _PATTERNS:
        for match in pattern.finditer(content):
            secret = match.groupdict().get("secret")
            if secret is None or not _PLACEHOLDER.fullmatch(secret):
                yield content.count(b"\n", 0, match.start()) + 1, what
