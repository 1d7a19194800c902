"""The options by which skopeo reaches a registry."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundler.effects.registry.endpoint import Access
from bundler.errors import UsageError


@contextmanager
def arguments(access: Access, side: str = "", *, insecure: bool = False) -> Iterator[tuple[str, ...]]:
    """Give options for as long as the block runs; ``side`` is ``src-`` or ``dest-`` for ``skopeo copy``.

    skopeo takes certificates from a folder, by their names: they are copied into one. ``insecure`` is for a place that
    is known to have no certificate. ``retries`` says how often to repeat.

    Raises:
        UsageError: a certificate cannot be read.
    """
    options: list[str] = []
    if insecure or access.plain_http or not access.tls.verify:
        options.append(f"--{side}tls-verify=false")
    if access.connection.auth_file:
        options.append(f"--{side}authfile={access.connection.auth_file.absolute()}")
    tls = access.tls
    wanted = {f"authority-{number}.crt": path for number, path in enumerate(tls.ca_certificates)}
    if tls.client_certificate and tls.client_key:
        wanted |= {"client.cert": tls.client_certificate, "client.key": tls.client_key}
    with tempfile.TemporaryDirectory(prefix="bundler-certs-") as folder:
        try:
            for file_name, path in wanted.items():
                shutil.copyfile(path, Path(folder, file_name))
        except OSError as error:
            raise UsageError(
                f"Cannot read {error.filename}: {error.strerror}.",
                remedy="Give the path of a certificate or key that you may read.",
            ) from error
        yield (*options, f"--{side}cert-dir={folder}") if wanted else tuple(options)


def retries(access: Access, default: int) -> str:
    """Return the option that says how often skopeo repeats a request, or ``default`` where the user does not say."""
    return f"--retry-times={default if access.retry_times is None else access.retry_times}"
