"""Push by skopeo, for sites that trust no other tool: it reads from a registry that is the bundle."""

from __future__ import annotations

import re
from pathlib import Path

from bundler.effects import files, process
from bundler.effects.archive.reader import Bundle
from bundler.effects.skopeo import access as skopeo_access
from bundler.errors import RegistryError, ToolFailedError
from bundler.model.progress import Progress
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import NamedImage, choose, name, open_images, require_whole
from bundler.steps.transport import serve
from bundler.steps.transport.push import PushOptions
from bundler.steps.transport.push_plan import PushedImage, Receipt

_INSTALL = "Install skopeo, or push without --client skopeo."
_RETRIES = 3
# What skopeo says where the registry refuses, or is not there.
BY_REGISTRY = re.compile(
    r"unauthorized|authentication required|(?<!permission )denied|forbidden|too ?many ?requests|too large"
    r"|quota exceeded|x509|tls: |https client|connection re(fused|set)|no such host|name resolution|misbehaving"
    r"|no route|unreachable|timeout|deadline exceeded|unexpected eof|unexpected http|internal server error"
    r"|invalid status|name unknown|not known to registry|(upload|manifest) invalid",
    re.IGNORECASE,
)


def run(path: Path, options: PushOptions, progress: Progress) -> Receipt:
    """Push a bundle's images with skopeo and return what is there then; see ``push.run``.

    The whole bundle is hashed first: skopeo tags image after image.

    Raises:
        VerificationError: the bundle is damaged; nothing was pushed.
        ToolMissingError, ToolFailedError: there is no skopeo, or it failed; its output is in the details.
        RegistryError: the registry refused, or cannot be reached.
    """
    process.find("skopeo", remedy=_INSTALL)
    if options.receipt_file:
        files.require_writable(options.receipt_file)
    with Bundle.open(path) as bundle:
        require_whole(bundle)
        verify.require(bundle, progress=progress)
        images = choose(open_images(bundle), options.only)
        named = tuple(name(image, bundle.manifest.registry, options.destination) for image in images)
        with (
            serve.under_names(named) as server,
            skopeo_access.arguments(options.access, "dest-") as arguments,
            progress.task("Pushing by skopeo", total=len(named)) as task,
        ):
            for image in named:
                task.note(image.target.repository)
                _copy(image, server.address, (skopeo_access.retries(options.access, _RETRIES), *arguments))
                task.advance(1)
    receipt = Receipt(str(options.destination), tuple(_pushed(image) for image in named))
    if options.receipt_file:
        files.write(options.receipt_file, receipt.to_bytes())
    return receipt


def _copy(image: NamedImage, address: str, arguments: tuple[str, ...]) -> None:
    target = image.target
    command = [
        *("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"),
        *arguments,
        f"docker://{address}/{target.repository}:{target.tag}",
        f"docker://{target.tagged}",
    ]
    try:
        process.run(command, purpose=f"pushing {target.tagged}", remedy="Correct what it says, then push again.")
    except ToolFailedError as error:
        if BY_REGISTRY.search("\n".join(error.details)):
            raise RegistryError(error.problem, remedy=error.remedy, details=error.details) from error
        raise


def _pushed(image: NamedImage) -> PushedImage:
    bundled = image.opened.image
    return PushedImage(bundled.reference, bundled.role, image.target.tagged, bundled.root.digest, changed=None)
