"""What an install would apply, in its order, from the bundle alone: the cluster is not asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.steps.install import plan as install_plan
from bundler.steps.install.plan import SecretWanted
from bundler.steps.install.release import Release, identity, record


@dataclass(frozen=True)
class Outline:
    """The objects of an install by groups (title -> objects), and the Secrets that a site gives or has already."""

    bundle: str
    digest: Digest
    registry: str
    groups: tuple[tuple[str, tuple[Object, ...]], ...]
    secrets: tuple[tuple[SecretWanted, bool], ...]
    """Each with whether it was given."""

    @classmethod
    def of(cls, bundle: Path, registry: str, part: str, given: Sequence[str]) -> Outline:
        """Read a bundle; ``part`` and ``given`` as for an install.

        Raises:
            VerificationError: the bundle is damaged.
            UsageError: a Secret that was given does not fit.
        """
        subject = Release.of(bundle, registry)
        plan = install_plan.plan(subject.manifests)
        admin, tenant = install_plan.parts(part)
        wanted = plan.secrets_of(admin=admin, tenant=tenant)
        filled = install_plan.given(wanted, given)
        groups: list[tuple[str, Sequence[Object]]] = []
        if admin:
            groups += [("Definitions", plan.definitions), ("Operator", plan.operator), ("Namespaces", plan.namespaces)]
        if tenant:
            groups += [("What the feature stores refer to", plan.before), ("Feature stores", plan.stores)]
            groups += [("What leads to them", plan.after), ("Record", [record(subject, plan)] if plan.stores else [])]
        kept = tuple((title, tuple(objects)) for title, objects in groups if objects)
        secrets = tuple((one, one in filled) for one in wanted)
        return cls(subject.title, subject.digest, subject.registry, kept, secrets)

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        for title, objects in self.groups:
            yield title
            for one in objects:
                kind, namespace, name = identity(one)
                yield f"  {kind} {namespace}/{name}" if namespace else f"  {kind} {name}"
        for secret, was_given in self.secrets:
            source = "given" if was_given else f"must be there, with {', '.join(secret.keys)}"
            yield f"Secret {secret.namespace}/{secret.name}: {source}"

    def to_json(self) -> dict[str, Json]:
        """Return it for scripts: objects whole, but for Secrets, of which nothing is shown but the names."""
        return {
            "bundle": self.bundle,
            "digest": str(self.digest),
            "registry": self.registry,
            "objects": [_shown(one) for _, objects in self.groups for one in objects],
            "secrets": [
                {"namespace": one.namespace, "name": one.name, "keys": list(one.keys), "given": was_given}
                for one, was_given in self.secrets
            ],
        }


def _shown(found: Object) -> Object:
    return {
        key: value for key, value in found.items() if found["kind"] != "Secret" or key not in ("data", "stringData")
    }
