"""What an install would apply, in its order, from the bundle alone: the cluster is not asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.steps.install import secret_values
from bundler.steps.install.plan import Group, RequiredSecret
from bundler.steps.install.release import Release


@dataclass(frozen=True)
class Outline:
    """The groups of objects of an install, and the Secrets that it needs, each with whether ``--secret`` brings it."""

    bundle: str
    digest: Digest
    registry: str
    groups: tuple[Group, ...]
    secrets: tuple[tuple[RequiredSecret, bool], ...]

    @classmethod
    def of(cls, release: Release, part: str, secrets: Sequence[str]) -> Outline:
        """Plan an install; ``part`` and ``secrets`` as for the install itself.

        Raises:
            UsageError: a ``--secret`` does not fit the bundle.
        """
        required = release.plan.secrets_of(part)
        filled = secret_values.read(required, secrets)
        # Secrets are listed once, apart from the objects of the bundle.
        groups = tuple(group for group in release.plan.groups(part) if group.objects)
        rows = tuple((secret, secret in filled) for secret in required)
        return cls(release.title, release.digest, release.registry, groups, rows)

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        for group in self.groups:
            yield group.stage.value
            for identity in (resource.identity for resource in group.objects):
                yield f"  {identity.kind} {identity.place}"
        for secret, given in self.secrets:
            source = "given with --secret" if given else f"must be there, with {', '.join(secret.keys)}"
            yield f"Secret {secret.place}: {source}"

    def to_json(self) -> dict[str, Json]:
        """Return it for scripts: whole objects, but Secrets without their values."""
        return {
            "bundle": self.bundle,
            "digest": str(self.digest),
            "registry": self.registry,
            "objects": [_shown(resource) for group in self.groups for resource in group.objects],
            "secrets": [
                {"namespace": secret.namespace, "name": secret.name, "keys": list(secret.keys), "given": given}
                for secret, given in self.secrets
            ],
        }


def _shown(resource: KubeObject) -> Json:
    return (resource.without("data", "stringData") if resource.kind == "Secret" else resource).to_json()
