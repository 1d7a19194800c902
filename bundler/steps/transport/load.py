"""Load: a bundle's images into the local Docker or Podman, which pulls them from the bundle itself.

Pulling keeps the digests, which ``docker load`` and ``podman load`` lose for Docker's archives, and skips the layers
that the engine has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundler.effects import process
from bundler.effects.archive.reader import Bundle
from bundler.effects.registry.endpoint import Destination
from bundler.effects.skopeo import policy
from bundler.errors import ToolFailedError, ToolMissingError, UsageError
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.progress import Progress
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.bundle import verify
from bundler.steps.bundle.images import NamedImage, OpenedImage, choose, open_images, require_whole
from bundler.steps.bundle.images import name as named_image
from bundler.steps.transport import serve

_ENGINES = ("podman", "docker")
_INSTALL = "Install Podman or Docker, or name the program with --engine."


@dataclass(frozen=True)
class LoadOptions:
    """What ``bundler load`` was asked.

    ``engine`` is ``podman``, ``docker`` or a path that ends in one of them; None takes the first that is installed.
    ``platform`` is OS/ARCH where another than the engine's own is wanted. ``environment`` is added to the engine's,
    e.g. DOCKER_HOST.
    ``listen`` is the address that the engine pulls from.
    """

    engine: str | None = None
    only: tuple[str, ...] = ()
    platform: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    listen: str = serve.ANY_PORT


@dataclass(frozen=True)
class LoadedImage:
    """An image in the engine: ``reference`` is its name there, the one that the bundle's manifests use."""

    image: str
    reference: str
    digest: Digest

    def to_json(self) -> dict[str, Json]:
        """Return a row of the result."""
        return {"image": self.image, "reference": self.reference, "digest": str(self.digest)}


def run(path: Path, options: LoadOptions, progress: Progress, trust: Trust = UNCHECKED) -> tuple[LoadedImage, ...]:
    """Load images and return them; the engine checks every digest.

    Raises:
        VerificationError: the bundle's metadata is damaged.
        UsageError: there is no such bundle or engine, or ``only`` names no image of it.
        ToolMissingError, ToolFailedError: no engine is installed, or it refused.
    """
    engine = _Engine.find(options)
    with Bundle.open(path, trust) as bundle:
        verify.require_metadata(bundle)
        require_whole(bundle)
        chosen = choose(open_images(bundle), options.only)
        images = tuple(_named(image, bundle) for image in chosen if image.image.platforms)
        with serve.under_names(images, options.listen) as server, progress.task("Loading", total=len(images)) as task:
            for image in images:
                task.note(image.target.repository)
                engine.load(image, server.address)
                task.advance(1)
    return tuple(_loaded(image) for image in images)


def _named(image: OpenedImage, bundle: Bundle) -> NamedImage:
    """Give an image the very name that the bundle's manifests pull it by."""
    return named_image(image, bundle.manifest.registry, Destination.parse(bundle.manifest.registry))


def _loaded(image: NamedImage) -> LoadedImage:
    bundled = image.opened.image
    return LoadedImage(bundled.reference, image.target.tagged, bundled.root.digest)


@dataclass(frozen=True)
class _Engine:
    program: str
    podman: bool
    options: LoadOptions

    @classmethod
    def find(cls, options: LoadOptions) -> _Engine:
        program = options.engine or next((name for name in _ENGINES if process.is_on_path(name)), None)
        if program is None:
            raise ToolMissingError("Neither podman nor docker is on PATH.", remedy=_INSTALL)
        kind = Path(program).name
        if kind not in _ENGINES:
            raise UsageError(
                f"{program!r} is not a container engine.", remedy="Name podman or docker, or a path to one."
            )
        process.find(program, remedy=_INSTALL)
        return cls(program, kind == "podman", options)

    def load(self, image: NamedImage, address: str) -> None:
        """Pull an image from the bundle, give it its name, and take the loopback's name away."""
        served = f"{address}/{image.target.repository}:{image.target.tag}"
        pull = ["pull", "--quiet"]
        if self.podman:
            pull.append("--tls-verify=false")  # Docker takes every loopback registry for insecure by itself
        if self.options.platform:
            pull += ["--platform", self.options.platform]
        try:
            self._run([*pull, "--", served], f"pulling {image.target.tagged} from the bundle")
        except ToolFailedError as error:
            if (refused := policy.explained(error, address)) is error:
                raise
            raise refused from error
        try:
            self._check(image, served)
            self._run(["tag", "--", served, image.target.tagged], f"naming {image.target.tagged}")
        finally:
            self._run(["rmi", "--", served], "removing a name")

    def _check(self, image: NamedImage, served: str) -> None:
        output = self._run(["image", "inspect", "--", served], "looking at an image").stdout
        digests = repository_digests(output)
        expected = image.opened.image.root.digest
        if not any(text.endswith(f"@{expected}") for text in digests):
            listed = ", ".join(digests) or "no digest"
            raise ToolFailedError(
                f"{self.program} has {image.target.tagged} with {listed} instead of {expected}.",
                remedy="Another program may have taken the port: run the command again.",
            )

    def _run(self, arguments: list[str], purpose: str) -> process.Completed:
        return process.run(
            [self.program, *arguments],
            purpose=purpose,
            remedy="Check that it is running, and your permissions. Engines elsewhere can pull from: bundler serve.",
            environment=self.options.environment,
        )


def repository_digests(output: str) -> tuple[str, ...]:
    """Return the digests in what an engine says of one image; none where it says anything else."""
    try:
        answer = json.loads(output)
        return tuple(str(text) for text in answer[0]["RepoDigests"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return ()
