"""``bundler build``: the main job, from a spec to one offline bundle."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bundler.cli import (
    bundle_options,
    cache_options,
    console,
    key_password,
    options,
    registry_options,
    rehearsal_options,
)

if TYPE_CHECKING:
    from bundler.effects.registry.endpoint import Access
    from bundler.model.progress import Progress
    from bundler.model.trust import Trust
    from bundler.steps.rehearsal.options import RehearseOptions


_READERS: Final = ("bundler", "skopeo")
_SCANNERS: Final = ("auto", "grype", "trivy", "none")
_ENGINES: Final = ("docker", "podman", "none")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")


def _checked_uri(text: str | None) -> str | None:
    """Return a builder's id; raise ``BadParameter`` where it is not a URI, as SLSA has it."""
    if text is not None and not _URI.fullmatch(text):
        raise click.BadParameter(f"{text!r:.100} is not a URI: write e.g. https://ci.example/feast-bundles.")
    return text


@click.command(
    name="build",
    epilog=options.examples(
        "bundler build -f bundle.yaml -o dist", "bundler build -f bundle.yaml -o dist --engine podman --rehearse"
    ),
)
@options.spec_file
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(path_type=Path),
    default=Path("dist"),
    show_default=True,
    help="Folder that gets NAME-VERSION.bundle.tar.",
)
@click.option(
    "--locked", is_flag=True, help="Fail if bundle.lock does not exist or does not fit, instead of writing it."
)
@click.option(
    "--dry-run", is_flag=True, help="List the steps, and what is to be fetched with its sizes; fetch nothing."
)
@click.option(
    "--reader",
    type=click.Choice(["bundler", "skopeo"]),
    default="bundler",
    show_default=True,
    help="What reads registries. skopeo applies the signature policy of this host (policy.json).",
)
@click.option(
    "--engine",
    metavar="docker|podman|none",
    help="Container engine that builds the feature-server image by a Dockerfile, which the bundle keeps; none: build "
    "without a container engine. Overrides 'engine' of the spec.",
)
@click.option(
    "--sign-key", type=click.Path(path_type=Path), help="Private key (PEM, ECDSA P-256) that signs the bundle."
)
@key_password.option("--sign-key-password")
@click.option(
    "--sign-images",
    is_flag=True,
    help="Also sign the images that are built here, with --sign-key, as cosign does: admission policies can demand it.",
)
@click.option(
    "--attest-images",
    is_flag=True,
    help="Also attach bills of materials and provenance to the images that are built here, as OCI referrers.",
)
@click.option(
    "--builder-id",
    metavar="URI",
    callback=lambda _context, _parameter, text: _checked_uri(text),
    help="Who builds, as the provenance names it, e.g. https://ci.example/feast-bundles.",
)
@click.option(
    "--vulnerabilities",
    type=click.Path(path_type=Path, exists=True),
    help="OSV database (file, folder or zip of records) in which the packages of the images are looked for.",
)
@click.option(
    "--scanner",
    type=click.Choice(_SCANNERS),
    default="auto",
    show_default=True,
    help="Scanner that looks for known vulnerabilities where no OSV database is given; auto: the one on PATH.",
)
@click.option(
    "--rehearse",
    is_flag=True,
    help="Run the pods without a network before packing (bundler rehearse); the checklist gets the evidence.",
)
@click.option("--rehearse-engine", type=click.Choice(["docker", "podman"]), help="Container engine of the rehearsal.")
@rehearsal_options.store_images
@bundle_options.volume_size
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    metavar="OLD",
    help="Base bundle, which the site has pushed already: build a delta without its layers. A push checks that the "
    "registry has them.",
)
@bundle_options.trusted
@registry_options.registry_access
@cache_options.cache_dir
@options.output_format
@options.verbosity
def command(
    *,
    spec_file: Path,
    output_dir: Path,
    locked: bool,
    dry_run: bool,
    reader: str,
    engine: str | None,
    sign_key: Path | None,
    password_source: str | None,
    sign_images: bool,
    attest_images: bool,
    builder_id: str | None,
    vulnerabilities: Path | None,
    scanner: str,
    rehearse: bool,
    rehearse_engine: str | None,
    store_images: Mapping[str, str],
    volume_size: int | None,
    base: Path | None,
    trust: Trust,
    access: Access,
    cache_dir: Path,
    output: str,
    progress: Progress,
) -> None:
    """Build the feature-server image, mirror every other image, write the manifests, and pack one bundle.

    Uses bundle.lock beside the spec, writes it if it does not exist or only the feature repo has changed, and fails if
    it is out of date otherwise. Needs a container engine only with --engine or 'engine' in the spec. Run an interrupted
    build again: it continues where it stopped.
    """
    from bundler.effects.blobs import BlobStore  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.build import run as build  # noqa: PLC0415
    from bundler.steps.build.pack import SigningKey  # noqa: PLC0415
    from bundler.steps.build.request import BuildRequest  # noqa: PLC0415
    from bundler.steps.build.vulnerability_scan import ScanRequest  # noqa: PLC0415

    if (rehearse_engine or store_images) and not rehearse:
        raise click.UsageError("--rehearse-engine, --redis and --postgres need --rehearse: add it, or leave these out.")
    if sign_images and not sign_key:
        raise click.UsageError("--sign-images needs --sign-key: name the private key, or leave out --sign-images.")
    store = BlobStore(cache_dir)
    request = BuildRequest(
        spec_file=spec_file,
        output_dir=output_dir,
        epoch=options.build_time(),
        locked=locked,
        sign_key=SigningKey(sign_key, key_password.read(password_source)) if sign_key else None,
        sign_images=sign_images,
        attest_images=attest_images,
        builder_id=builder_id,
        scan=ScanRequest.at(options.build_time(), vulnerabilities, scanner),
        trust=trust,
        reader=reader,
        engine=_container_engine(engine),
        environment=os.environ,
        rehearsal=_rehearsal(rehearse_engine, store_images, cache_dir) if rehearse else None,
        volume_size=volume_size,
        base=base,
        access=access,
    )
    if dry_run:
        planned = build.plan(request, store, progress)
        if output == "json":
            console.show_json(planned.to_json())
            return
        for line in planned.lines():
            console.show(line)
        return
    built = build.run(request, store, progress)
    if output == "json":
        console.show_json(built.to_json())
        return
    for line in built.summary():
        console.show(line)


def _rehearsal(engine: str | None, store_images: Mapping[str, str], cache: Path) -> RehearseOptions:
    from bundler.effects.engine import runs as engine_runs  # noqa: PLC0415  (help must not load the program)
    from bundler.steps.rehearsal.options import RehearseOptions  # noqa: PLC0415  (help must not load the program)

    return RehearseOptions(engine, os.environ, store_images, notes_folder=engine_runs.folder(cache))


def _container_engine(name: str | None) -> str | None:
    """Return the container engine; raise ``UsageError`` for another word, and for what --engine meant before."""
    if name in _READERS:
        raise click.UsageError(f"--engine {name}: what reads registries is now named by --reader {name}.")
    if name is not None and name not in _ENGINES:
        raise click.UsageError(f"--engine {name}: the container engines are docker and podman; none bakes without one.")
    return name
