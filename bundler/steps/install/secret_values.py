"""The values of Secrets that ``--secret`` names: read from files of several forms, and checked for every key."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundler.effects import files
from bundler.errors import UsageError
from bundler.kube import yaml_values
from bundler.kube.objects import KubeObject
from bundler.model import assignments
from bundler.steps.install.plan import PULL_KEY, PULL_TYPE, RequiredSecret


def read(required: Sequence[RequiredSecret], arguments: Sequence[str]) -> Mapping[RequiredSecret, KubeObject]:
    """Read ``[NAMESPACE/]NAME=FILE`` arguments.

    A file is a Secret's manifest, or has KEY=VALUE lines, or, for pulling images, is what ``skopeo login`` writes.

    Raises:
        UsageError: the bundle needs no such Secret, the file cannot be read, or it lacks a key.
    """
    secrets: dict[RequiredSecret, KubeObject] = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not equals or not file:
            raise UsageError(f"--secret {name}: the file is missing.", remedy="Write --secret NAME=FILE.")
        matching = [secret for secret in required if name in (secret.name, secret.place)]
        if not matching:
            known = ", ".join(secret.place for secret in required) or "none"
            raise UsageError(
                f"--secret {name}: the bundle does not ask for this Secret.", remedy=f"It asks for: {known}."
            )
        text = files.read_text(Path(file), "the values of a Secret", error=UsageError)
        for secret in matching:
            values = _values(text, Path(file), secret)
            if missing := sorted(key for key in secret.keys if not values.get(key)):
                raise UsageError(
                    f"{file}: {', '.join(missing)} is not there, or empty.",
                    remedy=f"Add the values to the file; for {secret.place}, {secret.hint}.",
                )
            secrets[secret] = secret.filled(values)
    return secrets


def _values(text: str, file: Path, required: RequiredSecret) -> Mapping[str, str]:
    if any(line.startswith("kind:") for line in text.splitlines()):
        return _of_manifest(text, file)
    if required.type == PULL_TYPE:
        return {PULL_KEY: _logins(text, file)}
    return assignments.parse(text, file, form="KEY=VALUE", remedy="Write one key a line, or a Secret's manifest.")


def _logins(text: str, file: Path) -> str:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or not isinstance(config.get("auths"), dict):
        raise UsageError(
            f"{file} holds no logins of registries.", remedy="Write the file with: skopeo login --authfile FILE HOST"
        )
    return text


def _of_manifest(text: str, file: Path) -> Mapping[str, str]:
    values: dict[str, str] = {}
    for document in yaml_values.read(text, str(file)):
        secret = KubeObject(document if isinstance(document, dict) else {})
        if secret.kind != "Secret":
            raise UsageError(
                f"{file} is not the manifest of a Secret.", remedy="Write KEY=VALUE lines, or an object of kind Secret."
            )
        try:
            values |= {
                key: base64.b64decode(value, validate=True).decode() for key, value in secret.texts("data").items()
            }
        except ValueError as error:
            raise UsageError(f"{file}: a value of data is not base64 of a text.", remedy="Use stringData.") from error
        values |= secret.texts("stringData")
    return values
