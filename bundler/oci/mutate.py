"""Make an image from another one; what does not change stays the same to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from bundler.model.descriptor import Json
from bundler.oci import layer_format
from bundler.oci.config import ImageConfig
from bundler.oci.image import Image
from bundler.oci.layer import Layer

# Docker's notes about the container that a base image was committed from; they are not true of other images.
_STALE = ("container", "container_config", "docker_version")


def append_layers(image: Image, layers: Sequence[Layer]) -> Image:
    """Add layers on top, the first one lowest; without layers, return the image itself.

    The layers of the image stay by digest. All its documents become OCI's, because some
    engines refuse a manifest that mixes OCI's and Docker's media types.
    """
    if not layers:
        return image
    all_layers = (*image.layers, *layers)
    document: dict[str, Json] = dict(image.config.document)
    document["rootfs"] = {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in all_layers]}
    document["history"] = [*_complete_history(image), *_entries(layers)]
    return _changed(document, all_layers, image.annotations)


def configure(
    image: Image,
    *,
    user: str | None = None,
    working_dir: str | None = None,
    env: Mapping[str, str] | None = None,
    entrypoint: Sequence[str] | None = None,
    cmd: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    created: int | None = None,
) -> Image:
    """Change properties of the image's config and its annotations; None leaves a property as it is.

    ``env``, ``labels`` and ``annotations`` are merged into those that are there. ``created`` is in seconds since 1970;
    it also becomes the time of the history entries that have none. If nothing changes, return the image itself.
    """
    old = image.config
    runtime: dict[str, Json] = dict(old.runtime)
    if user is not None:
        runtime["User"] = user
    if working_dir is not None:
        runtime["WorkingDir"] = working_dir
    if env:
        runtime["Env"] = [f"{name}={value}" for name, value in {**old.env, **env}.items()]
    if entrypoint is not None:
        runtime["Entrypoint"] = list(entrypoint)
    if cmd is not None:
        runtime["Cmd"] = list(cmd)
    if labels:
        runtime["Labels"] = {**old.labels, **labels}
    document: dict[str, Json] = dict(old.document)
    if runtime != old.runtime:
        document["config"] = runtime
    if created is not None:
        document["created"] = _rfc3339(created)
        document["history"] = [{"created": _rfc3339(created), **entry} for entry in old.history]
    all_annotations = {**image.annotations, **(annotations or {})}
    if document == old.document and all_annotations == image.annotations:
        return image
    return _changed(document, image.layers, all_annotations)


def _changed(document: Mapping[str, Json], layers: tuple[Layer, ...], annotations: Mapping[str, str]) -> Image:
    kept = {key: value for key, value in document.items() if key not in _STALE}
    return Image(ImageConfig(kept), tuple(_as_oci(layer) for layer in layers), annotations)


def _as_oci(layer: Layer) -> Layer:
    return replace(
        layer,
        descriptor=replace(layer.descriptor, media_type=layer_format.as_oci(layer.descriptor.media_type)),
    )


def _complete_history(image: Image) -> list[Json]:
    """Return the history with an entry for every layer; engines refuse a history that is too short."""
    made = sum(1 for entry in image.config.history if not entry.get("empty_layer"))
    if made == len(image.layers):
        return [dict(entry) for entry in image.config.history]
    return _entries(image.layers)


def _entries(layers: Sequence[Layer]) -> list[Json]:
    return [{"created_by": layer.created_by} for layer in layers]


def _rfc3339(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
