"""Which images a push could not bring to the registry, and whether it continues without them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bundler.effects.registry.faults import RegistryUnreachableError
from bundler.errors import BundlerError, ExitCode, RegistryError, VerificationError
from bundler.model.descriptor import Json
from bundler.model.manifest import BundledImage


@dataclass(frozen=True)
class FailedImage:
    """An image that is not at the registry, or not complete there; ``artifact`` is one that does not run."""

    image: str
    artifact: bool
    error: BundlerError

    def to_json(self) -> dict[str, Json]:
        """Return a row of the receipt."""
        return {
            "image": self.image,
            "artifact": self.artifact,
            "code": int(self.error.exit_code),
            "problem": self.error.problem,
            "remedy": self.error.remedy,
            "details": list(self.error.details),
        }


class Failures:
    """The images that failed; safe to share between threads.

    A registry that refuses a signature, an attestation or a bill of materials loses no image by that: such an artifact
    fails alone. An image fails alone only where ``keep_going`` is set. Where the registry does not answer at all, the
    push ends.
    """

    def __init__(self, *, keep_going: bool) -> None:
        self._keep_going = keep_going
        self._lock = threading.Lock()
        self._failed: dict[str, FailedImage] = {}

    def note(self, images: Iterable[BundledImage], error: BundlerError) -> None:
        """Note that images failed, the first error of each; raise it where the push must end."""
        images = tuple(images)
        alone = isinstance(error, RegistryError) and all(map(is_artifact, images))
        if isinstance(error, RegistryUnreachableError) or not (alone or self._keep_going):
            raise error
        with self._lock:
            for image in images:
                self._failed.setdefault(image.layout_name, FailedImage(image.reference, is_artifact(image), error))

    @contextmanager
    def noting(self, images: Iterable[BundledImage]) -> Iterator[None]:
        """Note images as failed where the block raises what one image alone can fail of; see ``note``."""
        try:
            yield
        except (RegistryError, VerificationError) as error:
            self.note(images, error)

    def of(self, image: BundledImage) -> bool:
        """Tell whether this image failed."""
        return image.layout_name in self._failed

    def all(self) -> tuple[FailedImage, ...]:
        """Return the images that failed, by name."""
        return tuple(self._failed[name] for name in sorted(self._failed))


def is_artifact(image: BundledImage) -> bool:
    """Tell whether an image of a bundle is a signature, an attestation or another artifact that does not run."""
    return not image.platforms


def exit_code(failed: Collection[FailedImage]) -> ExitCode:
    """Return the exit code of a push: damaged bytes before refusals, an image before an artifact."""
    images = [failure for failure in failed if not failure.artifact]
    if any(isinstance(failure.error, VerificationError) for failure in failed):
        return ExitCode.VERIFICATION
    if images:
        return ExitCode.REGISTRY
    return ExitCode.ARTIFACTS if failed else ExitCode.DONE
