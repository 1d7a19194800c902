"""Options that say how image registries are reached, or which one a command serves as."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from bundler.errors import UsageError

_Result = TypeVar("_Result")


def registry_access(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """How registries are reached; the command gets all of it as ``access``."""
    file = click.Path(path_type=Path)

    @functools.wraps(command)
    def with_access(
        *,
        authfile: Path | None,
        ca_cert: tuple[Path, ...],
        client_cert: Path | None,
        client_key: Path | None,
        plain_http: bool,
        insecure: bool,
        retry_times: int | None,
        registry_timeout: float | None,
        token_server: tuple[str, ...],
        **others: object,
    ) -> _Result:
        from bundler.effects.registry.endpoint import Access, TlsSettings  # noqa: PLC0415  (help stays quick)

        if client_key and not client_cert:
            raise UsageError(
                "--client-key needs --client-cert.", remedy="Add --client-cert with the certificate of this key."
            )
        tls = TlsSettings(ca_cert, client_cert, client_key, verify=not insecure)
        access = Access.of(
            auth_file=authfile,
            tls=tls,
            plain_http=plain_http,
            retry_times=retry_times,
            timeout=registry_timeout,
            token_servers=token_server,
        )
        return command(access=access, **others)

    wrapped: Callable[..., _Result] = with_access
    for option in reversed(
        (
            click.option(
                "--authfile",
                type=file,
                help="File of registry logins, as `skopeo login` writes it.  [default: $REGISTRY_AUTH_FILE, then "
                "Podman's and Docker's files]",
            ),
            click.option(
                "--token-server",
                metavar="HOST[:PORT]",
                multiple=True,
                callback=token_servers,
                help="Token server in another domain than its registry that may get the login; repeatable.",
            ),
            click.option(
                "--ca-cert",
                type=file,
                multiple=True,
                help="CA certificate (PEM) to trust beside the system's, also of package indexes; repeatable.",
            ),
            click.option("--client-cert", type=file, help="Certificate (PEM) to present to registries."),
            click.option("--client-key", type=file, help="Private key (PEM) of --client-cert."),
            click.option("--plain-http", is_flag=True, help="Reach registries by HTTP, without TLS."),
            click.option("--insecure", is_flag=True, help="Do not verify the TLS certificates of registries."),
            click.option(
                "--retry-times",
                type=click.IntRange(0, 100),
                help="How often to repeat a request that failed for a reason that passes.",
            ),
            click.option(
                "--registry-timeout",
                type=click.FloatRange(1, 3600),
                metavar="SECONDS",
                help="How long to wait for an answer of a registry.  [default: 60; 300 until a blob is stored]",
            ),
        )
    ):
        wrapped = option(wrapped)
    return wrapped


def token_servers(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Check hosts of token servers: the same form as that of a registry, without a path."""
    from bundler.effects.registry.endpoint import Destination  # noqa: PLC0415  (help stays quick)

    for text in texts:
        try:
            has_path = Destination.parse(text).prefix is not None
        except UsageError:
            has_path = True
        if has_path:
            raise UsageError(
                f"--token-server {text} is not HOST[:PORT].",
                remedy="Name the host of the address, e.g. auth.example.com.",
            )
    return texts


def pushed_registry(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """``--registry`` and ``--flatten`` of commands that find the images there."""
    return click.option(
        "--registry", required=True, metavar="HOST[:PORT][/PREFIX]", help="Registry that the images were pushed to."
    )(flatten("The images were pushed with --flatten.")(command))


def flatten(text: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """``--flatten``; the command gets ``flat``."""
    return click.option("--flatten", "flat", is_flag=True, help=text)


def _not_by_ipv6(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    """Refuse what no other program takes as the name of a registry."""
    if text.startswith("["):
        raise UsageError(
            f"--listen {text}: skopeo, Podman and Docker take no registry by IPv6 address.",
            remedy="Write 127.0.0.1:PORT, or a name that leads to this machine.",
        )
    return text


def listen(text: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """``--listen`` of commands that let another program pull from the bundle."""
    return click.option(
        "--listen",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        callback=_not_by_ipv6,
        help=f"{text}; give one that policy.json accepts images from.  [default: a free port of 127.0.0.1]",
    )
