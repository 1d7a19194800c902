"""What a registry answers when it refuses: error classes, sentences, remedies, and how long to wait."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus

from bundler.effects.registry import refusals
from bundler.effects.registry.refusals import Refusal
from bundler.errors import RegistryError

# What passes by itself: request timeout, too early, too many requests, and a server's trouble.
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# Where requests come too fast; the latter may also mean that a server is down. nginx and S3 limit by 503.
BUSY = frozenset({429, 503})
_RESETS = ("x-retry-after", "ratelimit-reset", "x-ratelimit-reset")
_EPOCH = 1_000_000_000  # more seconds than anybody asks to wait: that is a time since 1970
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHOWN = 300  # characters of a foreign error that are worth showing
_SHOWN_ERRORS = 10


class RefusedError(RegistryError):
    """The registry answered, and refused."""

    def __init__(
        self,
        problem: str,
        *,
        remedy: str,
        details: tuple[str, ...],
        status: int,
        codes: frozenset[str],
        retry_after: float | None,
        refusal: Refusal | None = None,
        url: str = "",
    ) -> None:
        super().__init__(problem, remedy=remedy, details=details)
        self.url = url
        self.refusal = refusal
        self.status = status
        self.codes = codes
        self.retry_after = retry_after

    @property
    def is_busy(self) -> bool:
        """Whether the server has too much to do, for whatever reason; all requests to it should wait."""
        return self.status in BUSY and transient(self)

    @property
    def asks_to_slow_down(self) -> bool:
        """Whether requests come too fast; the same request may well succeed later."""
        return asks_to_slow_down(self.status, self.retry_after)


class RegistryUnreachableError(RegistryError):
    """No answer came; ``transient`` tells whether another attempt may help."""

    def __init__(
        self, problem: str, *, remedy: str = "", transient: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(problem, remedy=remedy)
        self.transient = transient
        self.retry_after = retry_after


@dataclass(frozen=True)
class HttpAnswer:
    """A whole answer with a small body; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait (RFC 9110, section 10.2.3), or None."""
        return pause_of(self.headers)


def asks_to_slow_down(status: int, pause: float | None) -> bool:
    """Tell whether an answer means that requests come too fast; ``pause`` is its ``Retry-After``."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and pause is not None)


def pause_of(headers: Mapping[str, str] | Message) -> float | None:
    """Return how many seconds an answer asks to wait, None where it does not say."""
    date = headers.get("date", "")
    asked = retry_after(headers.get("retry-after", ""), date)
    if asked is not None:
        return asked
    resets = (retry_after(headers.get(name, ""), date) for name in _RESETS)
    return next((pause for pause in resets if pause is not None), None)


def retry_after(text: str, date: str) -> float | None:
    """Read ``Retry-After``: seconds, or a date, which counts from the answer's own ``Date``: clocks differ.

    Servers also write a unit, a list (where two of them set the header), or the seconds since 1970.
    """
    now = _timestamp(date)
    now = time.time() if now is None else now
    if seconds := re.fullmatch(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(?:s|seconds)?\s*(?:[,;].*)?", text):
        asked = float(seconds[1])
        return asked if asked < _EPOCH else max(0.0, asked - now)
    until = _timestamp(text)
    return max(0.0, until - now) if until is not None else None


def _timestamp(text: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    # All dates of HTTP are UTC; the oldest of their forms does not say so (RFC 9110, section 5.6.7).
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)).timestamp()


def transient(error: RegistryError) -> bool:
    """Tell whether trying again may help."""
    if isinstance(error, RefusedError):
        return error.status in TRANSIENT_STATUSES and error.refusal in (None, Refusal.READ_ONLY)
    return isinstance(error, RegistryUnreachableError) and error.transient


def _errors(body: bytes) -> tuple[tuple[str, str], ...]:
    """Read (code, message) of each error (distribution specification, section Error Codes)."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    rows = value.get("errors") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        return ()
    return tuple(
        (_line(str(row.get("code", ""))), _line(f"{row.get('message', '')} {row.get('detail') or ''}"))
        for row in rows[:_SHOWN_ERRORS]
        if isinstance(row, dict)
    )


def _line(text: str) -> str:
    return " ".join(text[: 4 * _SHOWN].split())[:_SHOWN]


@dataclass(frozen=True)
class Elsewhere:
    """A host that answers in the place of a registry, which sent us there."""

    host: str
    is_token_server: bool = False


def who_answers(registry: str, elsewhere: Elsewhere | None) -> str:
    """Return what sentences call the server that answered: the registry, or where it sent us."""
    if elsewhere is None:
        return f"the registry {registry}"
    if elsewhere.is_token_server:
        return f"{elsewhere.host}, the token server of the registry {registry},"
    return f"{elsewhere.host}, where the registry {registry} sends us,"


def refused(
    answer: HttpAnswer, *, doing: str, host: str, login: str | None, elsewhere: Elsewhere | None = None
) -> RefusedError:
    """Make the error for an answer; ``login`` says as whom we came (None: as anybody)."""
    errors = _errors(answer.body)
    details = tuple(f"{code}: {message}" for code, message in errors)
    if not errors and answer.body:
        details = (_line(answer.body.decode(errors="replace")),)
    codes = frozenset(code for code, _ in errors)
    # A proxy that is asked for plain HTTP answers in the registry's place.
    by_proxy = answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    who = ("the proxy before " if by_proxy else "") + who_answers(host, elsewhere)
    refusal = refusals.why(answer.status, details)
    if elsewhere and not elsewhere.is_token_server and not by_proxy:
        remedy = _REDIRECTED.format(host=elsewhere.host)
    else:
        remedy = refusals.REMEDIES[refusal] if refusal else _remedy(answer, codes, host, login)
    return RefusedError(
        f"{_capital(who)} answered {answer.status} while {doing}{f': {refusal.value}' if refusal else ''}.",
        remedy=remedy,
        refusal=refusal,
        url=answer.url,
        details=details,
        status=answer.status,
        codes=codes,
        retry_after=answer.retry_after,
    )


_REDIRECTED = (
    "Compare the clocks, or let the registry's administrator see why {host} refuses what the registry sends there; it "
    "may also send content itself (docker-registry: storage.redirect.disable)."
)
LET_THROUGH = "Let this machine reach {host}, or let the registry send content itself instead of redirecting."
_REMEDIES = {
    401: "The login ({login}) is wrong or has expired: log in again, e.g. podman login {host}.",
    403: "Ask for the right to do this as {login}, or choose another path in the registry.",
    404: "Correct the name; or log in, as the registry may hide it. The server may also not be an image registry.",
    405: "This registry, or this path in it, is read-only (a mirror or cache): choose another.",
    413: "A proxy limits the size of requests: let it pass bigger ones (nginx: client_max_body_size 0).",
    429: "It limits how often it may be asked: wait, log in, or lower the number of parallel transfers.",
}
_LOG_IN = "Log in first (podman login {host}, docker login {host}), or give --authfile."
_NO_REPOSITORY = "Create the project or repository in the registry first, or correct the path."
_SPEAKS_TLS = "This port speaks TLS: leave --plain-http away."
_SERVER_FAULT = "The fault is on its side: see the registry's log, then run the same command again."


def _remedy(answer: HttpAnswer, codes: frozenset[str], host: str, login: str | None) -> str:
    if answer.status == HTTPStatus.BAD_REQUEST and b"HTTP request to an HTTPS server" in answer.body:  # Go's words
        return _SPEAKS_TLS
    if answer.status in REDIRECTS:
        return f"It sends us to {answer.headers.get('location', 'nowhere').partition('?')[0]}: name that registry."
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return proxy_login_remedy(answer.headers.get("proxy-authenticate", ""), sent=False)
    text = _REMEDIES.get(answer.status, "See the registry's log.")
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and login is None:
        text = _LOG_IN
    elif answer.status == HTTPStatus.NOT_FOUND and "NAME_UNKNOWN" in codes:
        text = _NO_REPOSITORY
    elif answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and answer.status not in _REMEDIES:
        text = _SERVER_FAULT
    return text.format(host=host, login=login or "anybody")


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:] if sentence.startswith("the ") else sentence


def proxy_login_remedy(offered: str, *, sent: bool) -> str:
    """Say what to do where a proxy wants a login; ``offered`` is its ``Proxy-Authenticate``."""
    schemes = [words.split()[0] for words in offered.split(",") if words.strip() and "=" not in words.split()[0]]
    if schemes and "basic" not in map(str.lower, schemes):
        return (
            f"It takes logins by {', '.join(schemes)} only, which is not supported: go through a local proxy that logs "
            "in there, or add the host to NO_PROXY."
        )
    if sent:
        return "The proxy refuses the login that HTTPS_PROXY (or HTTP_PROXY) holds: correct it."
    return "Give the proxy's login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT (@ in a password is %40)."
