"""Push by skopeo, for sites that trust no other tool: it reads from a registry that is the bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bundler.effects import files, process
from bundler.effects.archive.reader import Bundle
from bundler.effects.skopeo import access as skopeo_access
from bundler.effects.skopeo import policy
from bundler.errors import RegistryError, ToolFailedError, UsageError
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import NamedImage, choose, name, open_images, require_whole
from bundler.steps.transport import companions, serve
from bundler.steps.transport.push_failures import Failures, is_artifact
from bundler.steps.transport.push_options import PushOptions
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


def run(path: Path, options: PushOptions, progress: Progress, trust: Trust = UNCHECKED) -> Receipt:
    """Push a bundle's images with skopeo and return what is there then; see ``push.run``.

    The whole bundle is hashed first: skopeo tags image after image.

    Raises:
        VerificationError: the bundle is damaged; nothing was pushed.
        ToolMissingError, ToolFailedError: there is no skopeo, or it failed; its output is in the details.
        RegistryError: the registry refused, or cannot be reached.
    """
    if options.force:
        raise UsageError(
            "skopeo does not send again what the registry has, which --force asks for.",
            remedy="Leave out --client skopeo, or --force.",
        )
    if options.destination.host.startswith("["):
        raise UsageError(
            f"skopeo does not take an IPv6 address as a registry: {options.destination.host}.",
            remedy="Give a host name that leads there, or leave out --client skopeo.",
        )
    process.find("skopeo", remedy=_INSTALL)
    if options.receipt_file:
        files.require_writable(options.receipt_file)
    with Bundle.open(path, trust) as bundle:
        require_whole(bundle)
        verify.require(bundle, progress=progress)
        failures = Failures(keep_going=options.keep_going)
        images = choose(open_images(bundle), options.only)
        named = tuple(name(image, bundle.manifest.registry, options.destination) for image in images)
        with (
            serve.under_names(named, options.listen) as server,
            skopeo_access.arguments(options.access, "dest-") as arguments,
            skopeo_access.arguments(options.access, "") as looking,
            progress.task("Pushing by skopeo", total=len(named)) as task,
        ):
            for image in sorted(named, key=lambda image: is_artifact(image.opened.image)):
                task.note(image.target.repository)
                with failures.noting((image.opened.image,)):
                    _leave_those_of_the_site(image, looking)
                    _copy(image, server.address, (skopeo_access.retries(options.access, _RETRIES), *arguments))
                task.advance(1)
    pushed = tuple(_pushed(image) for image in named if not failures.of(image.opened.image))
    receipt = Receipt(str(options.destination), pushed, failed=failures.all())
    if options.receipt_file:
        files.write(options.receipt_file, receipt.to_bytes())
    return receipt


def _leave_those_of_the_site(image: NamedImage, arguments: Sequence[str]) -> None:
    """Refuse to overwrite signatures that the site may have added; skopeo cannot merge them."""
    if not companions.may_be_shared(image):
        return
    target = image.target
    command = ["skopeo", "inspect", "--raw", *arguments, f"docker://{target.tagged}"]
    try:
        held = process.run(command, purpose=f"looking for {target.tagged}").stdout
    except ToolFailedError:  # not there; where the registry cannot be reached, copying says so
        return
    if Digest.of(held.encode()) != image.opened.image.root.digest:
        raise RegistryError(
            f"The registry has other signatures under {target.tagged}.",
            remedy="They were left as they are. Push without --client skopeo: that merges them.",
        )


def _copy(image: NamedImage, address: str, arguments: tuple[str, ...]) -> None:
    target = image.target
    command = [
        *("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"),
        *arguments,
        "--",
        f"docker://{address}/{target.repository}:{target.tag}",
        f"docker://{target.tagged}",
    ]
    try:
        process.run(command, purpose=f"pushing {target.tagged}", remedy="Correct what it says, then push again.")
    except ToolFailedError as error:
        if (refused := policy.explained(error, address)) is not error:
            raise refused from error
        if is_artifact(image.opened.image) or BY_REGISTRY.search("\n".join(error.details)):
            raise RegistryError(error.problem, remedy=error.remedy, details=error.details) from error
        raise


def _pushed(image: NamedImage) -> PushedImage:
    bundled = image.opened.image
    return PushedImage(bundled.reference, bundled.role, image.target.tagged, bundled.root.digest, changed=None)
