"""Which package indexes this host is configured for: told to uv, which resolves, and used to fetch what it chose.

uv reads its own variables and files itself. What a site configures for pip means the same, so it is passed on where
nothing is configured for uv. Logins go through the environment, never through arguments, locks or logs.
"""

from __future__ import annotations

import netrc
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from bundler.effects import files
from bundler.effects.packages import index_files
from bundler.errors import UsageError

# Some tokens hold characters that a URL should have encoded: everything up to the last @ of the word is hidden.
_LOGIN = re.compile(r"://[^\s\"'`<>]*@")
_UV_DEFAULT = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_UV_FURTHER = ("UV_INDEX", "UV_EXTRA_INDEX_URL")
_AUTHORITIES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")
# Where systems keep their authorities in one file: Debian and Ubuntu, Fedora and Red Hat, SUSE, Alpine.
_SYSTEM_AUTHORITIES = tuple(
    map(
        Path,
        (
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/ca-bundle.pem",
            "/etc/ssl/cert.pem",
        ),
    )
)
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
# What to do where a server's certificate is not trusted.
TRUST = (
    "Put your company's authority into the system's trust store (on Debian: /usr/local/share/ca-certificates/NAME.crt, "
    "then sudo update-ca-certificates), or name its file with --ca-cert or in SSL_CERT_FILE."
)
_TRUSTED: ContextVar[tuple[Path, ...]] = ContextVar("trusted", default=())
_NAMED = re.compile(r"([A-Za-z0-9._-]+)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_INDEX_OPTION = re.compile(r"(?:-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host)(?:\s+|=)(\S+)$")
_PORTS = {"http": 80, "https": 443}


def masked(text: str) -> str:
    """Hide the login of every URL in a text."""
    return _LOGIN.sub("://***@", text)


def index_options(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of requirement files that name indexes; folders are left out, which are relative to the file."""
    named = ((line, _INDEX_OPTION.match(line)) for line in lines)
    return tuple(line for line, match in named if match and ("://" in match[1] or line.startswith("--trusted-host")))


@contextmanager
def trusting(authorities: tuple[Path, ...]) -> Iterator[None]:
    """Let indexes be trusted in the block whose certificates these authorities have signed, besides all others."""
    token = _TRUSTED.set(authorities)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


@dataclass(frozen=True)
class PackageIndexes:
    """The configuration of a host: environment variables, and the folders that configuration files lie in."""

    environment: Mapping[str, str] = field(repr=False)
    home: Path
    machine: Path = Path("/etc")
    options: tuple[str, ...] = field(default=(), repr=False)
    """Lines of requirement files that name indexes, e.g. --extra-index-url URL."""
    further_authorities: tuple[Path, ...] = ()
    """Authorities to trust besides those of ``authorities``."""

    @classmethod
    def of_this_host(cls, options: tuple[str, ...] = ()) -> PackageIndexes:
        """Return the configuration of this process, and of requirement files."""
        home = os.path.expanduser("~")  # noqa: PTH111  (Path.home() fails where this user has no home)
        return cls(dict(os.environ), Path(home), options=options, further_authorities=_TRUSTED.get())

    def for_uv(self, folder: Path | None = None) -> dict[str, str]:
        """Return variables that tell uv what is configured for pip, and what to trust.

        ``folder`` is where a file is put with all authorities, which uv takes only one of.

        Raises:
            UsageError: a variable with a login is not a URL, so that uv would print it; a file of authorities cannot
                be read.
        """
        for name in (*_UV_DEFAULT, *_UV_FURTHER, "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
            self._check(name)
        values = {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never"}
        if not any(self.environment.get(name) for name in (*_UV_DEFAULT, *_UV_FURTHER)):
            values |= self._from_pip()
        if links := self.environment.get("PIP_FIND_LINKS"):
            values.setdefault("UV_FIND_LINKS", self.environment.get("UV_FIND_LINKS") or ",".join(links.split()))
        if hosts := self._pip("PIP_TRUSTED_HOST", "trusted-host"):
            values["UV_INSECURE_HOST"] = self.environment.get("UV_INSECURE_HOST") or " ".join(hosts.split())
        if self.further_authorities and folder is not None:
            values["SSL_CERT_FILE"] = str(self._all_authorities(folder))
        elif self.authorities is not None:
            values["SSL_CERT_FILE"] = str(self.authorities)
        elif "SSL_CERT_DIR" not in self.environment:
            values["UV_SYSTEM_CERTS"] = self.environment.get("UV_SYSTEM_CERTS", "true")
        if self.proxy and not any(self.environment.get(name) for name in _PROXIES):
            values["ALL_PROXY"] = self.proxy
        return values

    @property
    def described(self) -> str:
        """Where the indexes are configured that are used; one place alone is looked at, the first of four."""
        variables = [name for name in (*_UV_DEFAULT, *_UV_FURTHER) if self.environment.get(name)]
        others = [name for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL") if self.environment.get(name)]
        if variables:
            return ", ".join(variables) + (f" (not {', '.join(others)})" if others else "")
        if others:
            return ", ".join(others)
        if self._uv_indexes:
            return "uv.toml"
        return "pip.conf" if {"index-url", "extra-index-url"} & set(self._pip_file) else "none configured: the default"

    def for_pip(self) -> dict[str, str]:
        """Return variables that tell pip what is configured for uv, and to trust what the system trusts.

        Only releases of pip since 24.2 look at the system's trust store by themselves.
        """
        values = {}
        if not self.environment.get("PIP_INDEX_URL"):
            words = (self.environment.get(name, "").split() for name in _UV_DEFAULT)
            if word := next((word[0] for word in words if word), None):
                values["PIP_INDEX_URL"] = _NAMED.sub(r"\2", word) if "://" not in word.partition("=")[0] else word
        trusted = self.authorities or self._system_authorities
        if trusted is not None and not self.environment.get("PIP_CERT") and "cert" not in self._pip_file:
            values["PIP_CERT"] = str(trusted)
        return values

    @property
    def authorities(self) -> Path | None:
        """The file of certificate authorities to trust, None for those of the system."""
        named = next((self.environment[name] for name in _AUTHORITIES if self.environment.get(name)), None)
        named = named or self._pip_file.get("cert")
        return Path(os.path.expanduser(named)) if named else None  # noqa: PTH111  (as above)

    @property
    def _system_authorities(self) -> Path | None:
        return next((path for path in _SYSTEM_AUTHORITIES if path.exists()), None)

    def _all_authorities(self, folder: Path) -> Path:
        named = self.authorities or self._system_authorities
        texts = [files.read_text(path, "certificate authority") for path in self.further_authorities]
        combined = folder / "authorities.pem"
        combined.write_text(
            "\n".join([*([named.read_text(encoding="utf-8")] if named else []), *texts]), encoding="utf-8"
        )
        return combined

    @property
    def proxy(self) -> str | None:
        """The proxy that only pip is configured with; it may hold a password."""
        return self._pip("PIP_PROXY", "proxy")

    def login(self, url: str) -> tuple[str, str] | None:
        """Return user and password for a file: those of the URL, of the index on the same host, or of netrc."""
        place = urlsplit(url)
        for candidate in (place, *self._configured()):
            if _origin(candidate) == _origin(place) and candidate.username is not None:
                return unquote(candidate.username), unquote(candidate.password or "")
        try:
            known = netrc.netrc(self.environment.get("NETRC") or self.home / ".netrc")
        except (OSError, netrc.NetrcParseError):
            return None
        login = known.authenticators(place.hostname or "")
        return (login[0], login[2] or "") if login else None

    def _configured(self) -> Iterator[SplitResult]:
        """Yield every index that anything names, with its login where there is one."""
        for variable in (*_UV_DEFAULT, *_UV_FURTHER, "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
            for word in self.environment.get(variable, "").split():
                named = _NAMED.fullmatch(word) if "://" not in word.partition("=")[0] else None
                yield self._with_named_login(*(named.groups() if named else ("", word)))
        for line in self.options:
            if named := _INDEX_OPTION.match(self._expanded(line)):
                yield urlsplit(named[1])
        for name, url in self._uv_indexes:
            yield self._with_named_login(name, url)
        for key in ("index-url", "extra-index-url"):
            yield from map(urlsplit, self._pip_file.get(key, "").split())

    def _expanded(self, line: str) -> str:
        """Put in the variables of a line, ``${TOKEN}``, as uv and pip do."""
        return _VARIABLE.sub(lambda match: self.environment.get(match[1], match[0]), line)

    def _with_named_login(self, name: str, url: str) -> SplitResult:
        place = urlsplit(url)
        prefix = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"
        user, password = (self.environment.get(f"{prefix}_{field}") for field in ("USERNAME", "PASSWORD"))
        if name and (user or password) and place.username is None:
            return place._replace(netloc=f"{user or ''}:{password or ''}@{place.netloc}")
        return place

    def _from_pip(self) -> dict[str, str]:
        values = {}
        if url := self.environment.get("PIP_INDEX_URL"):
            values["UV_DEFAULT_INDEX"] = url
        if urls := self.environment.get("PIP_EXTRA_INDEX_URL"):
            values["UV_INDEX"] = urls
        if values or self._uv_indexes:
            return values
        if url := self._pip_file.get("index-url"):
            values["UV_DEFAULT_INDEX"] = url
        # A folder that pip looks into as well would hide the real index from uv, which asks the first that has a name.
        remote = [url for url in self._pip_file.get("extra-index-url", "").split() if urlsplit(url).scheme in _PORTS]
        if remote:
            values["UV_INDEX"] = " ".join(remote)
        return values

    def _pip(self, variable: str, option: str) -> str | None:
        return self.environment.get(variable) or self._pip_file.get(option)

    @cached_property
    def _pip_file(self) -> Mapping[str, str]:
        return index_files.pip_options(self.environment, self.home, self.machine)

    @cached_property
    def _uv_indexes(self) -> tuple[tuple[str, str], ...]:
        return index_files.uv_indexes(self.environment, self.home, self.machine)

    def _check(self, variable: str) -> None:
        value = self.environment.get(variable, "")
        for word in value.split():
            url = word if "://" in word.partition("=")[0] else word.rpartition("=")[2]
            if "@" in url and not _is_url(url):
                raise UsageError(
                    f"{variable} is not the URL of a package index.",
                    remedy="Percent-encode reserved characters of the login (/ as %2F, @ as %40, : as %3A).",
                )


def _is_url(text: str) -> bool:
    try:
        place = urlsplit(text)
        return place.scheme in (*_PORTS, "file") and place.netloc.count("@") <= 1 and bool(_origin(place))
    except ValueError:
        return False


def _origin(place: SplitResult) -> tuple[str, str, int]:
    return place.scheme, place.hostname or "", place.port or _PORTS.get(place.scheme, 0)
