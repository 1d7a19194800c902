"""Push by skopeo, for sites that trust no other tool: it reads from a registry that is the bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundler.effects import files, process
from bundler.effects.archive import Bundle
from bundler.errors import UsageError
from bundler.model.progress import Progress
from bundler.steps import serve, verify
from bundler.steps.bundled_images import NamedImage, choose, name, open_images
from bundler.steps.push import PushOptions
from bundler.steps.push_plan import PushedImage, Receipt

_INSTALL = "Install skopeo, or push without --engine skopeo."


def run(path: Path, options: PushOptions, progress: Progress) -> Receipt:
    """Push a bundle's images with skopeo and return what is there then; see ``push.run``.

    The whole bundle is hashed first: skopeo tags image after image.

    Raises:
        VerificationError: the bundle is damaged; nothing was pushed.
        ToolMissingError, ToolFailedError: there is no skopeo, or it failed; its output is in the details.
    """
    process.find("skopeo", remedy=_INSTALL)
    with Bundle.open(path) as bundle:
        verify.require(bundle, progress=progress)
        images = choose(open_images(bundle), options.only)
        named = tuple(name(image, bundle.manifest.registry, options.destination) for image in images)
        with (
            serve.under_names(named) as server,
            _arguments(options) as arguments,
            progress.task("Pushing by skopeo", total=len(named)) as task,
        ):
            for one in named:
                task.note(one.target.repository)
                _copy(one, server.address, arguments)
                task.advance(1)
    receipt = Receipt(str(options.destination), tuple(_pushed(one) for one in named))
    if options.receipt_file:
        files.write(options.receipt_file, receipt.to_bytes())
    return receipt


def _copy(image: NamedImage, address: str, arguments: tuple[str, ...]) -> None:
    target = image.target
    process.run(
        [
            *("skopeo", "copy", "--all", "--preserve-digests", "--retry-times", "3", "--src-tls-verify=false"),
            *arguments,
            f"docker://{address}/{target.repository}:{target.tag}",
            f"docker://{target.tagged}",
        ],
        purpose=f"pushing {target.tagged}",
        remedy="Correct what it says, then push again.",
    )


@contextmanager
def _arguments(options: PushOptions) -> Iterator[tuple[str, ...]]:
    """Say in skopeo's words how to speak to the registry; certificates go into a folder of the names it wants."""
    arguments: list[str] = []
    if options.plain_http or not options.tls.verify:
        arguments.append("--dest-tls-verify=false")
    if options.connection.auth_file:
        arguments += ["--dest-authfile", str(options.connection.auth_file)]
    with tempfile.TemporaryDirectory(prefix="bundler-certs-") as folder:
        wanted = {f"authority-{number}.crt": path for number, path in enumerate(options.tls.ca_certificates)}
        if options.tls.client_certificate and options.tls.client_key:
            wanted |= {"client.cert": options.tls.client_certificate, "client.key": options.tls.client_key}
        try:
            for file_name, path in wanted.items():
                shutil.copyfile(path, Path(folder, file_name))
        except OSError as error:
            raise UsageError(f"Cannot read {error.filename}: {error.strerror}.") from error
        yield (*arguments, "--dest-cert-dir", folder) if wanted else tuple(arguments)


def _pushed(image: NamedImage) -> PushedImage:
    bundled = image.opened.image
    return PushedImage(bundled.reference, bundled.role, image.target.tagged, bundled.root.digest, changed=None)
