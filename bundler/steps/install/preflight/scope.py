"""What a preflight looks at, and how a check that cannot be made is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bundler.effects.kubectl import Kubectl
from bundler.errors import BundlerError, ForbiddenError
from bundler.kube.objects import KubeObject
from bundler.model.findings import Finding, Status
from bundler.steps.install.plan import InstallPlan, RequiredSecret, Stage, parts
from bundler.steps.install.release import Release


@dataclass(frozen=True)
class PreflightScope:
    """A release, the cluster that it is for, and the part of it; ``filled`` are the Secrets that the install brings."""

    release: Release
    kubectl: Kubectl
    part: str
    filled: Mapping[RequiredSecret, KubeObject]

    @property
    def plan(self) -> InstallPlan:
        """The plan of the release."""
        return self.release.plan

    @property
    def admin(self) -> bool:
        """Whether the admin's part is installed."""
        return parts(self.part)[0]

    @property
    def tenant(self) -> bool:
        """Whether the tenant's part is installed."""
        return parts(self.part)[1]

    @property
    def applied(self) -> tuple[KubeObject, ...]:
        """The objects of the bundle that this part of the install applies, and the Secrets that it brings."""
        groups = self.plan.groups(self.part, self.filled)
        return tuple(resource for group in groups if group.stage is not Stage.RECORD for resource in group.objects)

    @property
    def secrets(self) -> tuple[RequiredSecret, ...]:
        """The Secrets that this part of the install needs."""
        return self.plan.secrets_of(self.part)

    @property
    def brings_operator(self) -> bool:
        """Whether CRD and operator come with this install."""
        return self.admin and bool(self.plan.operator)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of the feature stores."""
        return self.plan.store_namespaces


def checked(check: str, title: str, look: Callable[[], Iterator[Finding]]) -> tuple[Finding, ...]:
    """Return what a check found; what this person may not read is left to a person, and other errors fail the check."""
    try:
        return tuple(look())
    except ForbiddenError as error:
        remedy = "You may not read this: ask somebody with this permission."
        return (Finding(check, title, Status.MANUAL, tuple(error.details[-1:]), remedy),)
    except BundlerError as error:
        return (Finding(check, title, Status.FAIL, (str(error), *error.details), error.remedy or "See the details."),)
