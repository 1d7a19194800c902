"""Programs of ours that the Python of a baked image runs in the unpacked image, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from bundler import resources
from bundler.effects import image_root
from bundler.effects.image_root import ImageRoot
from bundler.errors import ToolFailedError
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.steps.sources.unpacked_base import UnpackedBase

_TIMEOUT: Final = 600.0  # seconds; the first import of everything takes half a minute on a slow disk
_T = TypeVar("_T")


@dataclass(frozen=True)
class ImageProbe:
    """A program (a file of the resources) that is asked a question; ``silent`` says that it did not answer it."""

    program: str
    question: str
    environment: Mapping[str, str]
    purpose: str
    silent: str

    @property
    def key(self) -> tuple[str, str]:
        """What the answer depends on, besides the image and the question: environment and program."""
        environment = Digest.of(json.dumps(dict(self.environment), sort_keys=True).encode())
        return str(environment), str(Digest.of(resources.read(self.program)))

    def ask(self, root: ImageRoot, base: UnpackedBase, read: Callable[[Json], _T]) -> _T:
        """Run the program in the image unpacked at ``root``; ``read`` makes a value of the last line that it prints.

        Raises:
            ToolFailedError: the image's Python does not run, or ``read`` raised ``ValueError``.
        """
        python = base.contents.python
        if python is None:
            raise AssertionError("the lock was made for a base that has Python")
        command = [python.executable, "-B", "-W", "ignore", "-c", resources.read(self.program).decode(), self.question]
        output = image_root.run(root, command, self.environment, purpose=self.purpose, timeout=_TIMEOUT)
        try:
            return read(json.loads(output.splitlines()[-1]))  # modules may print whatever they like before it
        except (IndexError, ValueError) as error:
            raise ToolFailedError(
                self.silent,
                details=tuple(output.splitlines()),
                remedy="Run the build again with --verbose; if it fails again, name another base image.",
            ) from error
