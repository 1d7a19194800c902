"""Options that mean the same in every command."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bundler.cli import console
from bundler.cli.progress import progress_for
from bundler.errors import UsageError
from bundler.model.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from bundler.model.trust import Trust

_Command = TypeVar("_Command", bound=Callable[..., object])
_Result = TypeVar("_Result")


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples that can be copied, one a line."""
    return "\b\n" + "\n".join((f"Example{'s' if len(lines) > 1 else ''}:", *(f"  {line}" for line in lines)))


def output_format(command: _Command) -> _Command:
    """``--output text|json``."""
    return click.option(
        "--output",
        "output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Format of the result on stdout.",
    )(command)


def verbosity(command: _Command) -> _Command:
    """``-v`` and ``-q``."""
    command = click.option(
        "-v", "--verbose", is_flag=True, help="Also show the external programs that run, and their output."
    )(command)
    return click.option("-q", "--quiet", is_flag=True, help="Do not show progress.")(command)


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


def cluster(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """Which cluster, and by which program; the command gets it as ``kubectl``."""

    @functools.wraps(command)
    def with_kubectl(*, program: str | None, kubeconfig: str | None, context: str | None, **others: object) -> _Result:
        from bundler.effects.kubectl import Kubectl  # noqa: PLC0415  (help stays quick)

        return command(kubectl=Kubectl.find(program, kubeconfig=kubeconfig, context=context), **others)

    wrapped: Callable[..., _Result] = with_kubectl
    for option in (
        click.option("--context", metavar="NAME", help="Context of the kubeconfig.  [default: the current one]"),
        click.option(
            "--kubeconfig", metavar="FILE", help="File that says how to reach the cluster.  [default: kubectl's]"
        ),
        click.option(
            "--kubectl",
            "program",
            metavar="PROGRAM",
            help="kubectl or oc.  [default: the first on PATH, kubectl before oc]",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def pushed_registry(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """``--registry`` and ``--flatten`` of commands that find the images there."""
    return click.option(
        "--registry", required=True, metavar="HOST[:PORT][/PREFIX]", help="Registry that the images were pushed to."
    )(flatten("The images were pushed with --flatten.")(command))


def flatten(text: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """``--flatten``; the command gets ``flat``."""
    return click.option("--flatten", "flat", is_flag=True, help=text)


def listen(text: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """``--listen`` of commands that let another program pull from the bundle."""
    return click.option(
        "--listen",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help=f"{text}; give one that policy.json accepts images from.  [default: a free port of 127.0.0.1]",
    )


def secret_files(command: _Command) -> _Command:
    """``--secret``, repeatable; the command gets ``secrets``."""
    return click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="[NAMESPACE/]NAME=FILE",
        help="Fill in a Secret from a file: its manifest, KEY=VALUE lines or, for a pull secret, the file that "
        "`skopeo login` wrote; repeatable. The cluster must have all other Secrets already.",
    )(command)


def install_part(command: _Command) -> _Command:
    """``--part all|admin|tenant``."""
    return click.option(
        "--part",
        type=click.Choice(["all", "admin", "tenant"]),
        default="all",
        show_default=True,
        help="admin: CRDs, operator and namespaces; tenant: the rest, which needs rights in its namespaces only.",
    )(command)


def read_features(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """What to ask of the online server; the command gets it as ``read``."""

    @functools.wraps(command)
    def with_read(*, features: tuple[str, ...], entity: tuple[str, ...], **others: object) -> _Result:
        from bundler.steps.install.online_check import FeatureQuery  # noqa: PLC0415  (help stays quick)

        return command(read=FeatureQuery.parse(features, entity), **others)

    wrapped: Callable[..., _Result] = with_read
    wrapped = click.option(
        "--entity", multiple=True, metavar="JOIN_KEY=VALUE", help="Entity to read features of; repeatable."
    )(wrapped)
    return click.option(
        "--feature",
        "features",
        multiple=True,
        metavar="VIEW:FEATURE",
        help="Feature to read from the online server at the end; repeatable.",
    )(wrapped)


def store_images(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """Images of the store servers of a rehearsal; the command gets kind of store -> image as ``store_images``."""

    @functools.wraps(command)
    def with_images(*, redis: str | None, postgres: str | None, **others: object) -> _Result:
        given = {kind: image for kind, image in (("redis", redis), ("postgres", postgres)) if image}
        return command(store_images=given, **others)

    wrapped: Callable[..., _Result] = with_images
    wrapped = click.option(
        "--postgres",
        metavar="IMAGE",
        help="Image that runs PostgreSQL where a store needs it; the engine must have it.",
    )(wrapped)
    return click.option(
        "--redis", metavar="IMAGE", help="Image that runs Redis where a store needs it; the engine must have it."
    )(wrapped)


def token_servers(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Check hosts of token servers: the same form as that of a registry, without a path."""
    from bundler.effects.registry.endpoint import Destination  # noqa: PLC0415  (help stays quick)

    for text in texts:
        if "/" in text:
            raise UsageError(f"--token-server {text} is not HOST[:PORT].", remedy="Name the host alone.")
        Destination.parse(text)
    return texts


def user(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Check a user of a container, which is named by numbers, as in Kubernetes."""
    if text is not None and not re.fullmatch(r"[0-9]{1,10}(:[0-9]{1,10})?", text):
        raise UsageError(f"--user {text} is not UID:GID.", remedy="Write numbers, e.g. 1000730000:0.")
    return text


def platform(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Check a platform."""
    from bundler.model.platform import Platform  # noqa: PLC0415  (help stays quick)

    try:
        return str(Platform.parse(text)) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--platform: {error}.") from error


def volume_size(command: _Command) -> _Command:
    """``--volume-size``, in bytes."""
    return click.option(
        "--volume-size",
        metavar="SIZE",
        callback=lambda _context, _parameter, text: text and _size(text),
        help="Split the bundle into files of at most this size, e.g. 4GB or 650MB: NAME.bundle.tar.001 and so on.",
    )(command)


def _size(text: str) -> int:
    from bundler.model import volumes  # noqa: PLC0415  (help stays quick)

    return volumes.parse_size(text)


def cache_dir(command: _Command) -> _Command:
    """``--cache-dir``, by default the user's cache."""
    return _cache("Folder that keeps downloads and layers between builds.")(command)


def uploads_dir(command: _Command) -> _Command:
    """``--cache-dir`` of a push, which keeps no image there."""
    return _cache("Folder that records unfinished uploads, so that an interrupted push goes on where it stopped.")(
        command
    )


def engine_notes_dir(command: _Command) -> _Command:
    """``--cache-dir`` of what works in an engine only."""
    return _cache(
        "Folder that records a run while it lasts, so that the next one removes what an interrupted one left."
    )(command)


def _cache(text: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="BUNDLER_CACHE_DIR",
        default=default_cache,
        show_default="$XDG_CACHE_HOME/bundler",
        help=text,
    )


def spec_file(command: _Command) -> _Command:
    """``-f bundle.yaml``."""
    return click.option(
        "-f",
        "--file",
        "spec_file",
        type=click.Path(path_type=Path),
        default=Path("bundle.yaml"),
        show_default=True,
        help="Spec of the bundle.",
    )(command)


def bundle_argument(command: _Command) -> _Command:
    """The bundle to read: its file, or its volumes by one of them, by all of them (``x.tar.*``) or by their folder.

    The command gets ``trust`` too: who must have signed it.
    """
    return click.argument(
        "bundle",
        type=click.Path(path_type=Path),
        nargs=-1,
        required=True,
        callback=lambda _context, _parameter, paths: _one_bundle(paths),
        metavar="BUNDLE",
    )(trusted(command))


def trusted(command: _Command) -> _Command:
    """``--trust``, repeatable; the command gets ``trust``, with what the environment and the machine demand."""
    return click.option(
        "--trust",
        type=click.Path(path_type=Path),
        multiple=True,
        callback=lambda _context, _parameter, paths: _trust(paths),
        help="Public keys (PEM) of which one must have signed the bundle, or a trust file (docs/trust.md); repeatable. "
        "BUNDLER_TRUST and /etc/bundler/trust.d demand signatures, too.",
    )(command)


def _trust(paths: tuple[Path, ...]) -> Trust:
    """Return what the option, the environment and the machine demand together; each of these must be fulfilled."""
    from bundler.effects.archive import trust_files  # noqa: PLC0415  (help stays quick)
    from bundler.model.trust import FOLDER, Trust  # noqa: PLC0415

    named = [Path(text) for text in os.environ.get("BUNDLER_TRUST", "").split(os.pathsep) if text]
    files = (*map(trust_files.read, (*paths, *named)), *trust_files.of_folder(Path(FOLDER)))
    return Trust(files, tell=console.tell)


def _one_bundle(paths: tuple[Path, ...]) -> Path:
    """Return the one path of a bundle, also where the shell has expanded ``x.tar.*`` to its volumes."""
    from bundler.model import volumes  # noqa: PLC0415  (help stays quick)

    if len(paths) == 1:
        return paths[0]
    parts = [path for path in paths if volumes.parse_name(path.name)]
    wholes = {path.parent / (volumes.whole(path.name) or path.name) for path in paths}
    if len(wholes) != 1 or not parts:
        raise UsageError(
            f"{len(paths)} files are not the volumes of one bundle in one folder.",
            remedy="Name one bundle. Where its volumes are on several media, make links to them in one folder.",
        )
    return min(parts)


def default_cache() -> Path:
    """Return the user's cache folder for this program (XDG base directory specification).

    Without a home (no HOME, and no entry in /etc/passwd: a container under any UID) it is a folder of this user's own
    among the temporary files.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    if not root:
        home = os.path.expanduser("~")  # noqa: PTH111  (Path.home() fails where nobody has a home)
        root = None if home.startswith("~") else f"{home}/.cache"
    return Path(root) / "bundler" if root else _cache_without_home()


def _cache_without_home() -> Path:
    """Return a folder that only this user can have filled, because layers and package files are taken from it."""
    import tempfile  # noqa: PLC0415  (it brings half a dozen modules)

    from bundler.effects import files  # noqa: PLC0415  (help stays quick)

    folder = Path(tempfile.gettempdir(), f"bundler-{os.getuid()}")
    if not files.make_own_folder(folder):
        raise UsageError(
            f"This user has no home, and {folder} belongs to another user.", remedy="Give --cache-dir, or set HOME."
        )
    return folder


def progress(*, quiet: bool, verbose: bool) -> Progress:
    """Choose the display of progress, and turn on the log of external programs with ``--verbose``."""
    if verbose:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(console.PlainFormatter("%(message)s"))
        logging.basicConfig(handlers=[handler])
        logging.getLogger("bundler").setLevel(logging.DEBUG)
    return SilentProgress() if quiet else progress_for(sys.stderr, os.environ)


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds, or None where it is not set.

    Raises:
        UsageError: it is set, but not a whole number (reproducible-builds.org specification).
    """
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds.", remedy="Unset it, or set a number."
        )
    return int(text)
