"""What files are called that hold secrets, and files that a local run left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import translate
from typing import Final

LARGEST: Final = 50 << 20
"""Bytes of a file in a feature repo; a larger one is data that belongs into a store."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SETTINGS: Final = "{,.json,.yaml,.yml,.toml,.ini,.cfg,.conf,.txt,.csv,.xml,.properties,.enc,.env}"
# By the last part of the path, in lower case, as the shell's patterns. What certificates are called is not here.
_NAMES: Final = {
    "a private key": (
        "*.{pem,key,p8,p12,pfx,pk8,ppk,jks,jceks,bks,keystore,truststore,keytab,kdb,kdbx,snk,gpg,pgp,jwk} "
        "{id,ssh_host}_{rsa,dsa,ecdsa,ed25519}* *_rsa *{ssh,deploy,signing}[._-]key private[._-]key* privatekey* "
        "{priv,private,secring,secret}*.asc identity *wallet.{dat,sso} krb5cc_* *private*.jwks jwks.private*"
    ),
    "a login": (
        "{,.,_}netrc{,.*} {,.}authinfo {,.}pgpass{,.*} {,.}pg_service.conf {,.}my.cnf {,.}mylogin.cnf {,.}pypirc "
        "{,.}npmrc .yarnrc.yml {,.}htpasswd {,.}git-credentials {,.}dockercfg {,.}dockerconfigjson "
        "{docker-config,*auth}.json "
        "{,.}s3cfg {,.}boto {,.}databrickscfg {,.}snowsql* kaggle.json {,.}vault-token {,.}vault[._-]pass* "
        "*kubeconfig* kube.config kube_config* admin.conf talosconfig *.ovpn *.rdp {,.}rclone.conf sftp{,-config}.json "
        "{,.}{msmtprc,fetchmailrc,curlrc,terraformrc,renviron} *.tfrc.json filezilla.xml cookie{,s}.{txt,json,sqlite} "
        "accesstokens.json azureprofile.json msal_*cache* oauth*.json adc.json login{,s}.{txt,csv,json} "
        f"{{,application_default_}}credential{{,s}}{_SETTINGS} *[._-]credential{{,s}}{_SETTINGS} "
        f"{{,.,*[._-]}}creds{_SETTINGS} *pull{{,-,_}}secret{{,s}}{_SETTINGS} client_secret*.json "
        "service{_,-,.,}account*.json *firebase*adminsdk*.json keyfile.json sa.json *[._-]sa.json "
        "{gcp,gcs,google,bigquery,bq,sa,service,firebase}[._-]*key*.json {access,root}key{,s}.csv "
        "{1password,lastpass,bitwarden,keepass}*.{csv,json,xml} *credential*.{json,yaml,yml,txt,csv,ini,xml} "
        "*creds.{json,yaml,yml,txt,csv}"
    ),
    "a password or token": (
        f"{{,.}}{{secret,secrets,password,passwords,passwd,passphrase,pass,token,tokens,authtoken}}{_SETTINGS} "
        f"{{,.,*[._-]}}{{access,api,auth,bearer,bot,hf,id,refresh,root,session}}[._-]token{{,s}}{_SETTINGS} "
        f"{{,.}}{{api,secret,master}}{{,_,-,.}}key{{,s}}{_SETTINGS} *[._-]{{secret,secrets}}{_SETTINGS} "
        f"*[._-]{{password,passwords}}{_SETTINGS} {{fernet,encryption,signing,openai}}[._-]key{_SETTINGS} "
        "*password.{txt,json,yaml,yml} *api{,_,-}key*.{txt,json,yaml,yml} bearer.txt "
        "key{,s}.txt {secret,secrets}[._-]*.{yaml,yml,json,toml,ini,env,txt} passwords.{xls,xlsx,ods,docx} "
        f"*.passwd shadow connection{{,_,-}}string{{,s}}{_SETTINGS} dsn.txt "
        "{,ansible-,ansible_}vault.{yaml,yml,json,txt} "
        "unseal*.{txt,json} {recovery,backup}[._-]codes* {otp,totp,2fa}.txt master.key"
    ),
    "variables with secrets": (
        ".env .env[._-]* *.env env.{local,dev,development,test,stage,staging,prod,production} dotenv .envrc "
        "*.tfstate *.tfstate.* *.tfvars *.tfvars.json local.settings.json"
    ),
    "a history of commands": ".*_history fish_history .history .lesshst .rhistory history.sqlite",
    "a dump of a database": (
        "*.{dump,pgdump,rdb} *.sql.{gz,bz2,xz,zst,zip} {,*[._-]}{dump,backup}.sql appendonly.aof *.{hprof,pcap,pcapng} "
        "core core.[0-9]* vmcore"
    ),
    "what a local run left": (
        "*.db registry*.pb *.{sqlite,sqlite3,duckdb}{,-wal,-shm} *.db-{wal,shm,journal} events.out.tfevents.* *.pid "
        ".nfs* .rdata"
    ),
    "a copy that an editor or a tool left": "*.{bak,orig,rej,swp,swo} *~",
    "a log": "*.log nohup.out",
}
# What is public by its name, but where the name says that it is a key.
_PUBLIC: Final = (
    "*.pub *.crt *.cer *.pub.pem *.pub.asc *pub{,lic}{_,-,.,}key.pem *.crt.pem ca.pem ca[._-]*.pem "
    "*[._-]cert.pem cacert*.pem cert*.pem fullchain*.pem chain*.pem *.example *[._-]{example,sample,template}.*"
)
_KEYS: Final = "{ca,cacert,cert,chain,fullchain}*{key,priv}*.pem"
_LEFT_FOLDERS: Final = _words(
    "mlruns mlartifacts wandb lightning_logs spark-warehouse metastore_db dask-worker-space catboost_info ray_results "
    "tensorboard .ipynb_checkpoints .terraform .pulumi .vagrant .dvc"
)
_LOGIN_FOLDERS: Final = _words(
    ".ssh .aws .azure .kube .docker .gnupg .gcloud gcloud .oci .kaggle .snowsql .databricks .huggingface secrets "
    ".secrets .password-store"
)
# Code and prose about secrets: what is in them tells, not their name.
_TOLD: Final = (".py", ".md", ".rst")
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

_IS_KEY: Final = _compiled(_KEYS)


def by_name(path: str) -> str:
    """Say what the name of a file says it holds; empty for what can be baked. ``path`` has ``/``."""
    folders, _, name = path.lower().rpartition("/")
    if left := _LEFT_FOLDERS.intersection(folders.split("/")):
        return f"what a local run left ({min(left)}/)"
    if name.endswith(_TOLD):
        return ""
    if kept := _LOGIN_FOLDERS.intersection(folders.split("/")):
        return f"a login ({min(kept)}/)"
    if _IS_PUBLIC.match(name) and not _IS_KEY.match(name):
        return ""
    return next((what for what, pattern in _BY_NAME.items() if pattern.match(name)), "")
