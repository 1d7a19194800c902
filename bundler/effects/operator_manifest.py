"""The operator's install manifest: from a file, from an address, or chosen by its version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import urllib3

from bundler.effects import files
from bundler.effects.packages import index_tls as trust
from bundler.errors import RegistryError
from bundler.feast.operator import crd
from bundler.feast.operator.capabilities import Capabilities
from bundler.feast.operator.crd import FeatureStoreCrd
from bundler.feast.operator.images import image_references
from bundler.kube import yaml_values
from bundler.model.spec import Operator

# The address at which the Feast project publishes its releases.
_RELEASES = "https://raw.githubusercontent.com/feast-dev/feast/v{version}/infra/feast-operator/dist/install.yaml"


@dataclass(frozen=True)
class OperatorRelease:
    """The known facts about the operator.

    ``crd`` is its definition of the FeatureStore where one is at hand; ``manifest`` the text to install, None where the
    cluster has the operator already; ``images`` those that the manifest names.
    """

    capabilities: Capabilities
    crd: FeatureStoreCrd | None = None
    manifest: str | None = None
    images: tuple[str, ...] = ()


def release(operator: Operator, folder: Path) -> OperatorRelease:
    """Read the release that a spec names; a file is relative to ``folder``.

    Raises:
        SpecError: the file is missing or does not hold the FeatureStore CRD.
        RegistryError: the address cannot be read.
    """
    if operator.manifest is None and operator.preinstalled:
        return OperatorRelease(Capabilities.for_version(operator.version))
    source = operator.manifest or _RELEASES.format(version=operator.version)
    text = _text(source, folder)
    documents = yaml_values.read(text, source, remedy="Give the operator release's install.yaml.")
    definition = crd.find(documents, source)
    capabilities = Capabilities.from_crd(definition)
    if operator.preinstalled:
        return OperatorRelease(capabilities, definition)
    return OperatorRelease(capabilities, definition, text, image_references(documents))


def _text(source: str, folder: Path) -> str:
    if "://" in source:
        return _fetched(source)
    return files.read_text(
        folder / source,
        "the operator's manifest",
        missing="Download the install.yaml of the operator's release and review it, or correct operator.manifest.",
        remedy="Correct operator.manifest in the spec: it names the install.yaml of the operator's release.",
    )


def _fetched(url: str) -> str:
    try:
        answer = trust.pool(1).request("GET", url, preload_content=False)
        content = answer.read(files.TEXT_LIMIT + 1)
    except urllib3.exceptions.HTTPError as error:
        raise RegistryError(
            f"operator.manifest: cannot read {url}: {error}.", remedy="Download the file and give its path instead."
        ) from error
    if answer.status != 200 or len(content) > files.TEXT_LIMIT:  # noqa: PLR2004  (HTTP: OK)
        raise RegistryError(
            f"operator.manifest: {url} answered {answer.status}.", remedy="Download the file and give its path instead."
        )
    return str(content.decode("utf-8", errors="replace"))
