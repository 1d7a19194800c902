"""Serve: a bundle as a read-only registry, blobs straight out of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.effects.archive.reader import Bundle
from bundler.effects.registry_server.catalog import Catalog, ServedBlob, ServedRepository
from bundler.effects.registry_server.server import Listening, ServerTls, listening, serving
from bundler.effects.registry_server.users import Users
from bundler.errors import UsageError
from bundler.model.manifest import BundledImage
from bundler.model.progress import Progress
from bundler.model.reference import ImageRef
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import NamedImage, OpenedImage, open_images, require_whole

ANY_PORT: Final = "127.0.0.1:0"
"""An address of this machine alone; the port is one that is free."""


@dataclass(frozen=True)
class ServeOptions:
    """What ``bundler serve`` was asked; ``listen`` is HOST:PORT, port 0 takes any."""

    listen: str = "127.0.0.1:5000"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    htpasswd: Path | None = None

    @property
    def tls(self) -> ServerTls | None:
        """Certificate and key, None for plain HTTP; raise ``UsageError`` where only one is given."""
        if self.tls_cert is None and self.tls_key is None:
            return None
        if self.tls_cert is None or self.tls_key is None:
            raise UsageError("A certificate and its key belong together.", remedy="Give --tls-cert and --tls-key.")
        return ServerTls(self.tls_cert, self.tls_key)


def run(path: Path, options: ServeOptions, progress: Progress, trust: Trust = UNCHECKED) -> None:
    """Serve a bundle until interrupted.

    Raises:
        VerificationError: the bundle's metadata is damaged. (Blobs are not hashed: every client does that.)
        UsageError: there is no such bundle; the address, the certificate or the file of passwords cannot be used; or
            passwords would cross the network in plain text.
        KeyboardInterrupt: the way in which it ends.
    """
    with Bundle.open(path, trust) as bundle:
        verify.require_metadata(bundle)
        require_whole(bundle)
        served = catalog(open_images(bundle))
        users = Users.read(options.htpasswd) if options.htpasswd else None
        with listening(served, options.listen, options.tls, users) as server:
            _check_reach(server, login=users is not None, progress=progress)
            for line in names(served, server.address):
                progress.say(line)
            scheme = "https" if server.tls else "http"
            progress.say(f"Serving {path} on {scheme}://{server.address}; end with Ctrl-C.")
            server.run()


def _check_reach(server: Listening, *, login: bool, progress: Progress) -> None:
    """Say who can reach the server where that is more than this machine."""
    if server.loopback:
        return
    if login and not server.tls:
        raise UsageError(
            f"Passwords would cross the network in plain text: {server.address} can be reached from other machines.",
            remedy="Give --tls-cert and --tls-key as well.",
        )
    lacking = " and ".join(
        text
        for text, there in (("no login (--htpasswd)", login), ("no TLS (--tls-cert, --tls-key)", server.tls))
        if not there
    )
    reach = f"Other machines can reach {server.address}"
    progress.say(f"{reach}. There is {lacking}: everybody there can read these images." if lacking else f"{reach}.")


@contextmanager
def under_names(images: Iterable[NamedImage], listen: str = ANY_PORT) -> Iterator[Listening]:
    """Serve images while the block runs, each under its target's repository and tag.

    For programs that can only pull; the bundle must stay open for as long.
    """
    repositories: dict[str, ServedRepository] = {}
    for named in images:
        _add(repositories, named.target, named.opened)
    with serving(Catalog(repositories), listen) as server:
        yield server


def names(served: Catalog, address: str) -> tuple[str, ...]:
    """Return every tag as a reference that can be pulled from ``address``."""
    return tuple(
        f"{address}/{name}:{tag}"
        for name, repository in sorted(served.repositories.items())
        for tag in sorted(repository.tags)
    )


def catalog(images: tuple[OpenedImage, ...]) -> Catalog:
    """Make what is served.

    An image is found under the repository that the bundle's manifests pull it from, and, where nothing else has that
    name, under the one of its source: so that a node's mirror configuration for either registry can point here.
    """
    repositories: dict[str, ServedRepository] = {}
    for opened_image in images:
        _add(repositories, _reference(opened_image.image.internal, opened_image.image), opened_image)
    taken = frozenset(repositories)
    for opened_image in images:
        source = _reference(opened_image.image.reference, opened_image.image)
        if source.repository not in taken:
            _add(repositories, source, opened_image)
    return Catalog(repositories)


def _add(repositories: dict[str, ServedRepository], name: ImageRef, image: OpenedImage) -> None:
    repository = repositories.setdefault(name.repository, ServedRepository())
    for manifest in image.manifests:
        repository.manifests[manifest.descriptor.digest] = manifest
    for blob in image.blobs:
        repository.blobs[blob.digest] = ServedBlob(blob.size, image.extents[blob.digest])
    if name.tag:
        repository.tags.setdefault(name.tag, image.image.root.digest)


def _reference(text: str, image: BundledImage) -> ImageRef:
    try:
        return ImageRef.parse(text)
    except ValueError:
        # An image of a transport that has no such names, e.g. oci-archive:FILE.
        return ImageRef("localhost", f"image-{image.root.digest.short}", "latest")
