"""What credentials look like in texts, where general detectors do not know their forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_IS: Final = rb"""\\?["']?\s{0,4}[:=]\s{0,4}\\?["']?"""
_VALUE: Final = rb"\s{1,9}(?P<secret>\S{3,128})"
_WORD: Final = rb"""(?P<secret>[^\\"'\s${}<>&;]{4,})"""
# The same before a comma: a parameter of a call has a space before it, and a name or a call after it.
_PART: Final = rb"""(?P<secret>[^\\"'\s${}<>&;,()]{4,})"""
_QUOTED: Final = rb"""\\?["'](?P<secret>[^\\"'\s${}<>]{4,512})\\?["']"""
# A word of a command line or of a settings file: one with a digit, which tells it from prose.
_BARE: Final = rb"""["']?(?P<secret>(?=[^\s"']{0,128}[0-9])[^\s"'$<>{}()\[\],-][^\s"'$<>{}()\[\],]{3,256})"""
_MIXED: Final = rb"(?P<secret>(?=[^\s]{0,128}[0-9])(?=[^\s]{0,128}[A-Za-z])[A-Za-z0-9+/_=-]{16,512})"
_NAME: Final = (
    rb"[A-Za-z0-9_.-]{0,64}(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:secret|access|api|account)[._-]?key)"
)


def _needles(words: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in words.split("|"))


# What it is, words in lower case of which a text has one where it has the form, and the form. Looking for words is a
# hundred times as quick as looking for forms, and most files have none of them.
# Every repetition has a limit, so that no text takes longer than its length.
_FORMS: Final = (
    ("a private key", "private key", rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    (
        "a private key",
        "begin ssh2|static key",
        rb"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----|-----BEGIN OpenVPN Static key V1-----",
    ),
    ("a private key", "putty-user|age-secret", rb"\bPuTTY-User-Key-File-[0-9]:|\bAGE-SECRET-KEY-1[A-Z0-9]{40}"),
    ("a private key in base64", "ls0tls1crudjti", rb"LS0tLS1CRUdJTi[A-Za-z0-9+/]{8}"),
    (
        "a login in a URL",
        "://",
        rb"""\b[a-z][a-z0-9+.-]{1,30}://[^\s:/@'"<>{}$]{0,64}:(?P<secret>[^\s:/@'"<>{}$]{3,128})@[A-Za-z0-9.\[-]""",
    ),
    (
        "a login in a URL",
        "://{",
        rb"""\b[a-z][a-z0-9+.-]{1,30}://\{[A-Za-z0-9_.]{1,64}\}:(?P<secret>[^\s:/@'"<>{}$]{3,128})@[A-Za-z0-9.\[{-]""",
    ),
    ("a login in a URL", "://", rb"\b(?:git\+)?https?://(?P<secret>[A-Za-z0-9_~.-]{20,128})@[A-Za-z0-9.-]"),
    ("a login in a URL", "jdbc:oracle", rb"(?i)\bjdbc:oracle:thin:[a-z0-9_]{1,64}/(?P<secret>[^\s/@'\"<>{}$]{3,128})@"),
    (
        "a login in a header",
        "authorization",
        rb"(?i)\bauthorization" + _IS + rb"(?:basic|bearer)\s{1,4}(?P<secret>[A-Za-z0-9+/=_.~-]{16,512})",
    ),
    (
        "a login of a registry",
        "auth",
        rb"""(?i)["']auth["']\s{0,4}:\s{0,4}["'](?P<secret>[A-Za-z0-9+/]{8,512}={0,2})["']""",
    ),
    (
        "a login of a registry",
        "_auth",
        rb"(?im)(?:^\s{0,8}|:)_auth(?:token)?\s{0,4}=\s{0,4}(?P<secret>[A-Za-z0-9+/=_-]{16,512})",
    ),
    ("a login of a registry", "eyjhdxrocyi6", rb"eyJhdXRocyI6[A-Za-z0-9+/]{16}"),
    (
        "a password in a connection string",
        "password=|pwd=|accountkey=|sharedaccesskey=",
        rb"(?i)(?:[;&?]\s{0,4}|,)(?:password|pwd|accountkey|sharedaccesskey)=" + _PART,
    ),
    (
        "a password in a connection string",
        "password=",
        rb"(?i)\b(?:host|hostaddr|port|user|dbname|sslmode)=[^\s,()\"']{1,128} "
        rb"(?:[a-z_]{1,32}=[^\s,()\"']{1,128} ){0,8}password=" + _WORD,
    ),
    (
        "a signed address of a cloud",
        "sig=|signature=",
        rb"(?i)[?&](?:sig|x-(?:amz|goog)-signature)=(?P<secret>[A-Za-z0-9%+/_-]{30,512})",
    ),
    (
        "a login of .netrc",
        "password",
        rb"(?m)^\s{0,8}(?:machine\s{1,4}\S{1,253}|default)\s{1,9}login\s{1,4}\S{1,128}\s{1,9}password" + _VALUE,
    ),
    (
        "a login of .pgpass",
        ":",
        rb"(?m)^[^\s:#]{1,253}:(?:[0-9]{1,5}|\*):[^\s:]{1,64}:[^\s:]{1,64}:(?P<secret>\S{3,128})$",
    ),
    ("a hash of a password", "$2", rb"\$2[aby]\$[0-9]{2}\$[A-Za-z0-9./]{53}"),
    (
        "a hash of a password",
        "$apr1$|$1$|$5$|$6$|$y$|$argon2",
        rb"(?m)^[^\s:#\"']{1,64}:\$(?:apr1|1|5|6|y|argon2id?)\$[^\s:]{8,256}",
    ),
    ("a key of AWS", "aws", rb"(?i)aws_?(?:secret|session)_?[a-z_]{0,16}" + _IS + rb"(?P<secret>[A-Za-z0-9/+=]{40})"),
    (
        "a key",
        "key|token",
        rb"(?i)(?:fernet|encryption|signing|api|access|secret)[._-]?(?:key|token)"
        + _IS
        + rb"(?P<secret>[A-Za-z0-9+/_=-]{32,512})",
    ),
    ("a key", "key|token", rb"(?i)(?:key|token)\\?[\"']?\s{0,4}[:=]\s{0,4}\\?[\"']" + _MIXED + rb"\\?[\"']"),
    (
        "a key",
        ".secret.key|.access.key",
        rb"(?im)^\s{0,16}[a-z0-9_.-]{0,64}\.(?:secret|access)\.key\s{0,4}[:=]\s{0,4}" + _BARE,
    ),
    # In quotes; where a settings file has none, detect-secrets knows the kind of file.
    (
        "a password",
        "pass",
        rb"""(?i)(?:password|passwd|passphrase|\bpass)\\?["']\s{0,4}:\s{0,4}\\?["']""" + _WORD + rb"""\\?["']""",
    ),
    ("a password", "pass", rb"""(?i)(?:password|passwd|passphrase)\s{0,4}=\s{0,4}\\?["']""" + _WORD + rb"""\\?["']"""),
    ("a password", "passphrase", rb"""(?i)passphrase\s{0,4}=\s{0,4}(["'])(?P<secret>[^"'\n${}<>]{8,128})\1"""),
    ("a password", "pass:|password:", rb"(?i)[{,\s]pass(?:word)?:\s{1,4}" + _BARE),
    ("a password", "?=|:=", rb"(?m)^[A-Za-z0-9_]{0,64}(?:PASSWORD|SECRET|TOKEN|KEY)\s{0,4}[?:]=\s{0,4}" + _BARE),
    ("a password", "env|arg", rb"(?im)^\s{0,8}(?:ENV|ARG)\s{1,4}" + _NAME + rb"[ =]" + _BARE),
    # What is called with a name and its value, such as os.getenv("DB_PASSWORD", "...").
    (
        "a password in a call",
        "pass|pwd|secret|token|key",
        rb"""(?i)\b(?:getenv|get|setdefault|putenv|setenv|set|option|config|conf|property)\(\s{0,40}["']"""
        + _NAME
        + rb"""["']\s{0,40},\s{0,40}"""
        + _QUOTED,
    ),
    (
        "a password in a call",
        "pass|pwd|secret|token|key",
        rb"""(?i)\[\s{0,4}["']""" + _NAME + rb"""["']\s{0,4}\]\s{0,4}=\s{0,4}""" + _QUOTED,
    ),
    (
        "a login in a call",
        "auth",
        rb"""(?:\bauth\s{0,4}=\s{0,4}|BasicAuth)\(\s{0,40}["'][^"'\n]{1,64}["']\s{0,4},\s{0,40}""" + _QUOTED,
    ),
    (
        "a password on a command line",
        "-passw|-token|-secret|-api",
        rb"(?i)\s--?(?:password|passwd|token|secret|api-?key|secret-key)[= ]" + _BARE,
    ),
    (
        "a password on a command line",
        "curl",
        rb"\bcurl\b[^\n]{0,200}\s(?:-u|--user)[ =]?[\"']?[A-Za-z0-9_.@-]{1,64}:(?P<secret>[^\s\"'$<>{}]{3,128})",
    ),
    ("a password on a command line", "sshpass", rb"\bsshpass\s{1,4}-p\s{0,4}" + _BARE),
    ("a password on a command line", "redis-cli", rb"\bredis-cli\b[^\n]{0,200}\s-a\s{1,4}" + _BARE),
    ("a password on a command line", "mysql", rb"\bmysql(?:dump|admin)?\b[^\n]{0,200}\s-p" + _BARE),
    (
        "a password in SQL",
        "identified|password",
        rb"(?i)\b(?:identified\s{1,8}by|password)\s{1,8}'(?P<secret>[^'\s${}]{4,128})'",
    ),
    (
        "a password in XML",
        "</",
        rb"(?i)<(?:password|passwd|secret|token|api-?key|secret-?key)>(?P<secret>[^<\s${}]{4,256})</",
    ),
    (
        "a password in XML",
        "</name>",
        rb"(?i)<name>" + _NAME + rb"</name>\s{0,40}<value>(?P<secret>[^<\s${}]{4,256})</value>",
    ),
)
# Tokens by the prefix that their makers gave them, so that scanners find them.
_TOKENS: Final = {
    "GitHub": rb"gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50}",
    "GitLab": rb"gl(?:pat|dt|rt|cbt|ptt|soat|ft|imt|agent|oas)-[A-Za-z0-9_-]{20}",
    "Hugging Face": rb"(?:hf|api_org)_[A-Za-z0-9]{30,64}\b",
    "Databricks": rb"dapi[0-9a-f]{32}",
    "Vault": rb"hv[sbr]\.[A-Za-z0-9_-]{20}|s\.[A-Za-z0-9]{24}\b",
    "a package index": rb"pypi-AgE[A-Za-z0-9_-]{40}|npm_[A-Za-z0-9]{36}|rubygems_[0-9a-f]{48}|oy2[a-z0-9]{43}\b",
    "Google": rb"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20}|GOCSPX-[A-Za-z0-9_-]{28}",
    "Azure": rb"[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{31,34}",
    "Alibaba or Tencent": rb"LTAI[A-Za-z0-9]{16,24}\b|AKID[A-Za-z0-9]{32}\b",
    "a language model's service": (
        rb"sk-(?:proj-|ant-)?[A-Za-z0-9_-]{20}|gsk_[A-Za-z0-9]{40}|r8_[A-Za-z0-9]{37}|xai-[A-Za-z0-9]{60}"
        rb"|pplx-[A-Za-z0-9]{40}|lsv2_(?:pt|sk)_[0-9a-f]{32}|pcsk_[A-Za-z0-9_]{40}"
    ),
    "Docker Hub": rb"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27}",
    "Artifactory": rb"AKCp[A-Za-z0-9]{60}|cmVmdGtu[A-Za-z0-9]{50}",
    "Atlassian": rb"ATATT3xFfGF0[A-Za-z0-9_=-]{50}|ATBB[A-Za-z0-9]{32}",
    "a messenger": rb"xapp-[0-9]-[A-Z0-9]{8,16}-[0-9]{8,16}-[0-9a-f]{32}|AAAA[A-Za-z0-9_-]{7}:APA91b[A-Za-z0-9_-]{60}",
    "a payment service": rb"whsec_[A-Za-z0-9+/=]{32}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    "a cloud or a database as a service": (
        rb"do[opr]_v1_[0-9a-f]{64}|pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_=.-]{32}|sb(?:p_[0-9a-f]{40}|_secret_[A-Za-z0-9_-]{20})"
        rb"|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60}|dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9]{40}|pul-[0-9a-f]{40}"
    ),
    "a monitoring service": (
        rb"gls?a_[A-Za-z0-9_]{32}|glc_[A-Za-z0-9+/=]{32}|NRAK-[A-Z0-9]{27}|dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}"
        rb"|sntry[su]_[A-Za-z0-9+/=_-]{40}"
    ),
    "a mail service": rb"key-[0-9a-f]{32}\b",
    "a team's tool": (
        rb"lin_api_[A-Za-z0-9]{40}|ntn_[A-Za-z0-9]{40}|figd_[A-Za-z0-9_-]{40}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}"
    ),
}
_WEBHOOK: Final = (
    rb"https://(?:discord(?:app)?\.com/api/webhooks/[0-9]{15,20}/[A-Za-z0-9_-]{40}"
    rb"|[a-z0-9.-]{1,64}\.webhook\.office\.com/webhookb2/\S{32})"
)
# What is one only in a document of a kind: (what, what says the kind, the form).
_IN_DOCUMENTS: Final = (
    (
        "a value of a Kubernetes Secret",
        rb"(?m)^kind:\s{1,4}[\"']?Secret\b",
        (
            rb"(?m)^(?:data|stringData):[ \t]{0,8}\n(?:[ \t]{1,8}[^\n]{1,512}\n){0,16}?"
            rb"[ \t]{1,8}[A-Za-z0-9_.-]{1,128}:[ \t]{1,8}(?P<secret>[^\s$<{'\"|>#][^\s$<{]{3,})"
        ),
    ),
    (
        "a private key in JSON",
        rb"""["']kty["']\s{0,4}:\s{0,4}["'](?:RSA|EC|OKP|oct)["']""",
        rb"""["'][dk]["']\s{0,4}:\s{0,4}["'](?P<secret>[A-Za-z0-9_-]{20,2048})["']""",
    ),
    ("a login of Kaggle", rb'"username"', rb'"key"\s{0,4}:\s{0,4}"(?P<secret>[0-9a-f]{32})"'),
    ("outputs of a notebook", rb'"nbformat"', rb'"outputs"\s{0,8}:\s{0,8}\[\s{0,64}\{'),
)
_PREFIXES: Final = {
    "GitHub": "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_",
    "GitLab": "glpat-|gldt-|glrt-|glcbt-|glptt-|glsoat-|glft-|glimt-|glagent-|gloas-",
    "Hugging Face": "hf_|api_org_",
    "Databricks": "dapi",
    "Vault": "hvs.|hvb.|hvr.|s.",
    "a package index": "pypi-age|npm_|rubygems_|oy2",
    "Google": "aiza|ya29.|gocspx-",
    "Azure": "8q~",
    "Alibaba or Tencent": "ltai|akid",
    "a language model's service": "sk-|gsk_|r8_|xai-|pplx-|lsv2_|pcsk_",
    "Docker Hub": "dckr_",
    "Artifactory": "akcp|cmvmdgtu",
    "Atlassian": "atatt3|atbb",
    "a messenger": "xapp-|apa91b",
    "a payment service": "whsec_|shpat_|shpca_|shppa_|shpss_",
    "a cloud or a database as a service": "_v1_|pscale_|sbp_|sb_secret_|.atlasv1.|dp.|pul-",
    "a monitoring service": "glsa_|gla_|glc_|nrak-|dt0|sntry",
    "a mail service": "key-",
    "a team's tool": "lin_api_|ntn_|figd_|pmak-",
}
_PATTERNS: Final = (
    *((what, _needles(words), re.compile(form)) for what, words, form in _FORMS),
    *(
        (f"a token of {maker}", _needles(_PREFIXES[maker]), re.compile(rb"\b(?:" + form + rb")"))
        for maker, form in _TOKENS.items()
    ),
    ("the address of a webhook", _needles("webhook"), re.compile(_WEBHOOK)),
)
_DOCUMENTS: Final = tuple((what, re.compile(kind), re.compile(form)) for what, kind, form in _IN_DOCUMENTS)
_PLACEHOLDER: Final = re.compile(
    rb"(?i)[x*.#]{1,512}|(?:your|my|the)[-_].{0,512}|change-?me|example.{0,512}|redacted|password|secret|none|null"
    rb"|unknown|default|missing|placeholder|dummy|(?-i:[A-Z_]{3,64})"
)


def in_text(content: bytes) -> Iterator[tuple[int, str]]:
    """Yield the line (counted from 1) and the kind of each credential that is written out in a text."""
    lower = content.lower()
    for what, needles, pattern in _PATTERNS:
        if any(needle in lower for needle in needles):
            yield from _lines_with(what, pattern, content)
    for what, kind, pattern in _DOCUMENTS:
        if kind.search(content):
            yield from _lines_with(what, pattern, content)


def _lines_with(what: str, pattern: re.Pattern[bytes], content: bytes) -> Iterator[tuple[int, str]]:
    for match in pattern.finditer(content):
        secret = match.groupdict().get("secret")
        if secret is None or not _PLACEHOLDER.fullmatch(secret):
            at = match.start() if secret is None else match.start("secret")
            yield content.count(b"\n", 0, at) + 1, what


def is_placeholder(text: str) -> bool:
    """Tell whether a value says that the real one stands elsewhere."""
    return bool(_PLACEHOLDER.fullmatch(text.encode()))
