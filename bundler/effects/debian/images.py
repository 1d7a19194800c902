"""Base images made of Debian's packages by mmdebstrap: no container registry is needed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from bundler.effects import process
from bundler.effects.blobs import BlobStore
from bundler.effects.debian import host as debian_host
from bundler.effects.debian import recipe
from bundler.effects.debian.recipe import DebianRecipe
from bundler.errors import RegistryError, SpecError, ToolFailedError, VerificationError
from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.progress import Progress, Task
from bundler.model.size import size
from bundler.oci import document, image, mutate, rootfs
from bundler.oci.image import Image
from bundler.oci.layer import COMPRESSOR, Layer
from bundler.oci.rewrite import rewrite

_RECORD: Final = "debian"
_REMEDY: Final = "Check that apt works on this machine (sudo apt-get update), and that Debian has the suite."
_UNKNOWN: Final = re.compile(r"Unable to locate package (\S+)|Version '\S+' for '(\S+)' was not found")
_FULL: Final = "No space left on device"
_NOT_A_NAME: Final = re.compile(r"[:=].*")
_UNREACHABLE: Final = ("Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect")


@dataclass(frozen=True)
class DebianBase:
    """A base image, and the version of every Debian package in it."""

    image: Image
    packages: Mapping[str, str]


@dataclass(frozen=True)
class DebianRequest:
    """The image to make, and its inputs.

    ``mirrors`` are archives (URLs, or lines of ``sources.list``) to take packages from instead of those that apt of
    this machine uses; neither becomes part of the image.
    """

    recipe: DebianRecipe
    suite: str
    platform: Platform
    mirrors: tuple[str, ...] = ()

    @classmethod
    def base(cls, suite: str, platform: Platform, packages: Sequence[str] = ()) -> DebianRequest:
        """Ask for the base of a feature server: Python and what wheels need, a user 1001 of group 0, nothing else.

        ``packages`` are further ones, as apt names them.
        """
        return cls(replace(recipe.BASE, packages=(*recipe.BASE.packages, *packages)), suite, platform)

    @classmethod
    def kubectl(cls, suite: str, platform: Platform) -> DebianRequest:
        """Ask for Debian's kubectl and its libraries, which any machine can make for any platform."""
        return cls(recipe.KUBECTL, suite, platform)

    def key(self, mmdebstrap_version: str) -> str:
        """Return what the result depends on, besides the state of Debian's archive."""
        # A mirror may be a snapshot of another day. Its address may hold credentials, so only its digest is kept.
        origin = str(Digest.of("\n".join(self.mirrors).encode())) if self.mirrors else "host"
        return f"{self.recipe.key} {self.suite} {self.platform} {origin} mmdebstrap-{mmdebstrap_version} {COMPRESSOR}"

    def __str__(self) -> str:
        return f"the Debian {self.suite} {self.recipe.name} image for {self.platform}"


def check(request: DebianRequest, store: BlobStore, *, refresh: bool = False) -> None:
    """See that this machine can make an image, or has it already; raise ``ToolMissingError`` where neither is so."""
    version = debian_host.mmdebstrap_version()
    if not refresh and _recalled(store, request.key(version)):
        return
    debian_host.mode()
    debian_host.check_apt()
    if request.recipe.runs_programs:
        debian_host.check_architecture(request.platform)


def make(request: DebianRequest, store: BlobStore, *, progress: Progress, refresh: bool = False) -> DebianBase:
    """Make an image of Debian's packages.

    An earlier result of the same request is taken from the store; ``refresh`` makes it again, of the packages that
    Debian has now.

    Raises:
        ToolMissingError: mmdebstrap, a permission, or an emulator for a foreign platform is missing.
        RegistryError: Debian's archive cannot be reached.
        SpecError: it does not have one of the packages.
        ToolFailedError: mmdebstrap failed.
    """
    key = request.key(debian_host.mmdebstrap_version())
    cached = None if refresh else _recalled(store, key)
    if cached:
        return cached
    with progress.task(f"Making {request}") as task:
        layer = _make_layer(request, store, task)
    made = mutate.append_layers(image.empty(request.platform), [layer])
    made = mutate.configure(
        made,
        user=f"{recipe.UID}:0",
        working_dir=recipe.HOME,
        env=request.recipe.env,
        entrypoint=request.recipe.entrypoint,
        cmd=request.recipe.cmd,
        labels=request.recipe.labels,
        created=recipe.EPOCH,
    )
    packages = rootfs.inspect(made, store.open).debian_packages
    if not {_NOT_A_NAME.sub("", name) for name in request.recipe.packages} <= set(packages):
        raise ToolFailedError(
            f"mmdebstrap made {request} without some of the requested packages.",
            remedy="Run the command again with --verbose, which shows what mmdebstrap prints.",
        )
    store.put(made.config_bytes())
    store.put(made.manifest_bytes())
    store.remember(_RECORD, key, {"image": made.descriptor.to_json(), "packages": dict(packages)})
    progress.say(f"Made {request}: {len(packages)} packages, {size(layer.descriptor.size)}")
    return DebianBase(made, packages)


def _recalled(store: BlobStore, key: str) -> DebianBase | None:
    """Return the result of an earlier run; None where the cache is damaged or was cleaned."""
    record: Json = store.recall(_RECORD, key)
    if not isinstance(record, dict):
        return None
    try:
        image = Image.from_blobs(Descriptor.from_json(record.get("image")), store.read)
        packages = document.texts(record.get("packages"), "packages")
    except (ValueError, FileNotFoundError, VerificationError):
        return None
    whole = all(store.has(layer.descriptor.digest, layer.descriptor.size) for layer in image.layers)
    return DebianBase(image, packages) if whole else None


def _make_layer(request: DebianRequest, store: BlobStore, task: Task) -> Layer:
    if request.recipe.runs_programs:
        debian_host.check_architecture(request.platform)
    created_by = f"bundler: Debian {request.suite}, {', '.join(request.recipe.packages)}"
    with store.writing() as sink, _root_file_system(request, task) as tar:
        return rewrite(
            tar,
            sink,
            keep=recipe.is_kept,
            additions=request.recipe.additions,
            epoch=recipe.EPOCH,
            created_by=created_by,
        )


@contextmanager
def _root_file_system(request: DebianRequest, task: Task) -> Iterator[BinaryIO]:
    """Run mmdebstrap; the block reads the tar that it writes."""
    sources = debian_host.lines(request.mirrors, request.suite) or debian_host.sources(request.suite)
    command = [
        "mmdebstrap",
        f"--variant={request.recipe.variant}",
        f"--mode={debian_host.mode()}",
        f"--architectures={request.platform.debian_architecture}",
        f"--include={','.join(request.recipe.packages)}",
        "--aptopt=Acquire::Retries 3",
        "--skip=output/dev",
        *request.recipe.hooks,
        *(() if sources else debian_host.keyring_options()),
        request.suite,
        "-",
        *(("-",) if sources else ()),
    ]
    try:
        with process.streaming(
            command,
            purpose=f"making {request}",
            remedy=_REMEDY,
            environment={
                **debian_host.proxy_environment(),
                "SOURCE_DATE_EPOCH": str(recipe.EPOCH),
                "LC_ALL": "C.UTF-8",
            },
            stdin=sources.encode() if sources else None,
            on_line=lambda line: task.note(line.removeprefix("I: ")) if line.startswith("I: ") else None,
        ) as tar:
            yield tar
    except ToolFailedError as error:
        if any(mark in line for line in error.details for mark in _UNREACHABLE):
            raise RegistryError(
                "Debian's package archive cannot be reached.",
                remedy="Check network and proxy of this machine's apt (sudo apt-get update).",
                details=error.details,
            ) from error
        if any(_FULL in line for line in error.details):
            raise ToolFailedError(
                f"There is no space left for {request}.",
                remedy=f"Free a gigabyte in {tempfile.gettempdir()}, or name another folder in TMPDIR.",
                details=error.details,
            ) from error
        if unknown := [match[1] or match[2] for line in error.details if (match := _UNKNOWN.search(line))]:
            raise SpecError(
                f"Debian {request.suite} does not have the package {', '.join(unknown)}.",
                remedy="Correct 'system_packages'; the names are those of Debian, not of pip.",
                details=error.details,
            ) from error
        raise
