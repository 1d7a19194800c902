"""What a preflight is about, and how a check that cannot be made is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bundler.effects.kubectl import Kubectl
from bundler.errors import BundlerError, ForbiddenError
from bundler.kube.kustomize import Object
from bundler.model.findings import Finding, Status
from bundler.steps.install.plan import InstallPlan, SecretWanted
from bundler.steps.install.release import Release, identity


@dataclass(frozen=True)
class Case:
    """A bundle, the cluster that it shall go to, and which part of it; ``filled`` are Secrets that come with it."""

    subject: Release
    plan: InstallPlan
    kubectl: Kubectl
    admin: bool
    tenant: bool
    filled: Mapping[SecretWanted, Object]

    @property
    def applied(self) -> tuple[Object, ...]:
        """The objects that this part of the install applies, Secrets that are given included."""
        plan, filled = self.plan, self.filled.items()
        admin = (*plan.definitions, *(found for one, found in filled if one.of_operator), *plan.operator)
        tenant = (*(found for one, found in filled if not one.of_operator), *plan.before, *plan.stores, *plan.after)
        return (
            *((*admin, *plan.namespaces) if self.admin else ()),
            *(tenant if self.tenant else ()),
        )

    @property
    def secrets(self) -> tuple[SecretWanted, ...]:
        """The Secrets that this part of the install needs."""
        return self.plan.secrets_of(admin=self.admin, tenant=self.tenant)

    @property
    def brings_operator(self) -> bool:
        """Whether CRD and operator come with this install."""
        return self.admin and bool(self.plan.operator)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of the feature stores."""
        return tuple(sorted({identity(one)[1] for one in self.plan.stores}))


def looked_at(check: str, title: str, look: Callable[[], Iterator[Finding]]) -> tuple[Finding, ...]:
    """Return what a check found; where the cluster does not let us look a person must, and other errors fail it."""
    try:
        return tuple(look())
    except ForbiddenError as error:
        remedy = "You may not look at this: ask somebody who may."
        return (Finding(check, title, Status.MANUAL, tuple(error.details[-1:]), remedy),)
    except BundlerError as error:
        return (Finding(check, title, Status.FAIL, (str(error), *error.details), error.remedy or "See the details."),)
