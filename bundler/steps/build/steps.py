"""The steps of a build, as data: what ``bundler build`` does for a spec, in its order, before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bundler.errors import SpecError
from bundler.model.descriptor import Json
from bundler.model.spec import BundleSpec


class StepKind(Enum):
    """What a step does; its value is its name in JSON."""

    CHECK = "check-inputs"
    BASES = "gather-base-images"
    IMAGES = "mirror-images"
    LOCK = "lock"
    PACKAGES = "fetch-packages"
    BAKE = "bake"
    IMPORTS = "check-imports"
    SIGN_IMAGES = "sign-images"
    MANIFESTS = "render-manifests"
    REHEARSE = "rehearse"
    DOCUMENTS = "write-documents"
    PACK = "pack"


@dataclass(frozen=True)
class BuildStep:
    """One step: what it does, and a title for people, which is a command ("fetch wheels")."""

    kind: StepKind
    title: str

    def to_json(self) -> dict[str, Json]:
        """Return the step for scripts."""
        return {"name": self.kind.value, "title": self.title}


def engine_of(spec: BundleSpec, option: str | None) -> str | None:
    """Return the container engine that builds images, None for none; the option comes before the spec.

    Raises:
        SpecError: the spec needs an engine, and none is chosen.
    """
    name = option or spec.engine
    if name != "none":
        return name
    needs = ["sdists: only a container engine builds them"] if spec.sdists else []
    if spec.system_packages and spec.base.debian is None:
        needs.append("system_packages: only a container engine installs them on an image")
    if needs:
        raise SpecError(
            f"{'; '.join(needs)}.",
            remedy="Set 'engine: docker' or 'engine: podman' in the spec, or use --engine docker or --engine podman.",
        )
    return None


def steps(
    spec: BundleSpec,
    *,
    engine: str | None = None,
    has_lock: bool = False,
    rehearse: bool = False,
    signed: bool = False,
    sign_images: bool = False,
) -> tuple[BuildStep, ...]:
    """Return the steps of a build.

    ``engine`` is what ``engine_of`` returns; ``has_lock`` says that there is a lock beside the spec already.
    """
    base = f"pull {spec.base.image}" if spec.base.image else f"make it from packages of Debian {spec.base.debian}"
    sources = " and source distributions" if spec.sdists else ""
    count = 1 + sum(1 for tenant in spec.tenants if tenant.repo)
    images = "the feature server's image" if count == 1 else f"{count} feature servers' images"
    rows = [
        (StepKind.CHECK, "check the inputs and the output folder"),
        (StepKind.BASES, f"gather the base image for {_listed(spec.target_platforms)}: {base}"),
        (StepKind.IMAGES, "mirror every image that is not built here"),
        (StepKind.LOCK, "check bundle.lock against what was found" if has_lock else "resolve and write bundle.lock"),
        (StepKind.PACKAGES, f"fetch wheels{sources}"),
        (StepKind.BAKE, f"bake {images} {f'with {engine}' if engine else 'without a container engine'}"),
        (StepKind.IMPORTS, "check imports and the feature repo in the image"),
        *([(StepKind.SIGN_IMAGES, "sign the images that are built here")] if sign_images else []),
        (StepKind.MANIFESTS, "render and check the manifests"),
        *([(StepKind.REHEARSE, "rehearse the pods without a network")] if rehearse else []),
        (StepKind.DOCUMENTS, "write the checklist and the bills of materials"),
        (StepKind.PACK, f"pack{', sign' if signed else ''} and verify the bundle"),
    ]
    return tuple(BuildStep(kind, title) for kind, title in rows)


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names))
