"""Image configs: the document that says how an image runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.oci import document


@dataclass(frozen=True)
class ImageConfig:
    """An image config (OCI image specification, ``config.md``), with all that its document holds."""

    document: Mapping[str, Json]

    @classmethod
    def parse(cls, content: bytes) -> ImageConfig:
        """Read a config; raise ``ValueError`` where a property that is used here has another type than specified."""
        config = cls(document.parse(content, "the image config"))
        # Reading a property checks it.
        _ = (config.platform, config.diff_ids, config.history, config.user, config.working_dir)
        _ = (config.env, config.entrypoint, config.cmd, config.labels)
        return config

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return document.canonical(dict(self.document))

    @property
    def platform(self) -> Platform:
        """The platform that the image runs on."""
        system, architecture = (_text(self.document, key) for key in ("os", "architecture"))
        if not system or not architecture:
            raise ValueError("the image config does not say for which os and architecture it is")
        return Platform(system, architecture, _text(self.document, "variant"))

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The digests of the unpacked layers, lowest first."""
        rootfs = self.document.get("rootfs")
        if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
            raise ValueError("the image config has no rootfs of type 'layers'")
        return tuple(Digest.parse(text) for text in document.strings(rootfs.get("diff_ids"), "diff_ids"))

    @property
    def history(self) -> tuple[Mapping[str, Json], ...]:
        """What each step did, lowest first; steps that made no layer say ``empty_layer``."""
        value = self.document.get("history")
        if value is None:
            return ()
        entries = value if isinstance(value, list) else [value]
        history = tuple(entry for entry in entries if isinstance(entry, dict))
        if not isinstance(value, list) or len(history) != len(value):
            raise ValueError("the history of the image config is not a list of objects")
        return history

    @property
    def runtime(self) -> Mapping[str, Json]:
        """The object ``config``: user, environment, entry point and the like."""
        value = self.document.get("config")
        if value is not None and not isinstance(value, dict):
            raise ValueError("'config' of the image config is not an object")
        return value or {}

    @property
    def user(self) -> str:
        """The user, as ``NAME``, ``UID`` or ``UID:GID``; empty for root."""
        return _text(self.runtime, "User")

    @property
    def working_dir(self) -> str:
        """The working directory; empty for the root."""
        return _text(self.runtime, "WorkingDir")

    @property
    def env(self) -> Mapping[str, str]:
        """The environment; of a name that occurs twice the last one, as engines do."""
        pairs = (text.partition("=") for text in document.strings(self.runtime.get("Env"), "Env"))
        return {name: value for name, _, value in pairs}

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """The entry point."""
        return document.strings(self.runtime.get("Entrypoint"), "Entrypoint")

    @property
    def cmd(self) -> tuple[str, ...]:
        """The arguments of the entry point, or the command."""
        return document.strings(self.runtime.get("Cmd"), "Cmd")

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels."""
        return document.texts(self.runtime.get("Labels"), "Labels")


def _text(value: Mapping[str, Json], key: str) -> str:
    text = value.get(key) or ""
    if not isinstance(text, str):
        raise ValueError(f"{key!r} of the image config is not a string: {text!r:.100}")  # noqa: TRY004
    return text
