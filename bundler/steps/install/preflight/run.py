"""Makes every check of a preflight and reports all findings at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bundler.effects.kubectl import Kubectl
from bundler.effects.registry.endpoint import Access
from bundler.errors import ClusterUnreachableError
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.progress import Progress
from bundler.steps.install import secret_values
from bundler.steps.install.preflight import admission, cluster, images, rights
from bundler.steps.install.preflight.scope import PreflightScope, checked
from bundler.steps.install.release import Release


@dataclass(frozen=True)
class PreflightOptions:
    """What ``bundler preflight`` was asked; ``part`` and ``secrets`` as for an install."""

    access: Access
    secrets: tuple[str, ...] = ()
    part: str = "all"


def run(release: Release, options: PreflightOptions, kubectl: Kubectl, progress: Progress) -> Report:
    """Look at cluster and registry; changes nothing.

    Raises:
        UsageError: a ``--secret`` does not fit the bundle.
    """
    filled = secret_values.read(release.plan.secrets_of(options.part), options.secrets)
    scope = PreflightScope(release, kubectl, options.part, filled)
    with progress.task("Looking at cluster and registry"):
        return Report(f"Preflight of {release.title}", tuple(_sections(scope, options.access)))


_Check = tuple[str, str, Callable[[], Iterator[Finding]]]


def _sections(scope: PreflightScope, access: Access) -> Iterator[Section]:
    registry: list[_Check] = [("images", "The registry has every image", lambda: images.check_pushed(scope, access))]
    try:
        version = tuple(cluster.check_version(scope))
    except ClusterUnreachableError as error:
        evidence = (str(error), *error.details)
        failed = Finding("version", "The cluster answers", Status.FAIL, evidence, error.remedy or "", "kubectl version")
        yield Section("Cluster", (failed,))
        yield _section("Registry", registry)
        return
    yield Section("Cluster", version)
    yield _section(
        "Rights and objects",
        [
            ("rights", "You may do what an install does", lambda: rights.check(scope)),
            ("operator", "One Feast operator manages the feature stores", lambda: cluster.check_operator(scope)),
            ("definition", "The cluster's CRD has every field", lambda: cluster.check_definition(scope)),
            ("objects", "The server accepts every object", lambda: cluster.check_objects(scope)),
        ],
    )
    yield _section("Secrets", [("secrets", "Secrets are there", lambda: cluster.check_secrets(scope))])
    registry.append(
        ("pull-secrets", "Images can be pulled with the pull secrets", lambda: images.check_pull_secrets(scope, access))
    )
    yield _section("Registry", registry)
    yield _section(
        "Room",
        [
            ("nodes", "Nodes have a processor that every image is made for", lambda: images.check_nodes(scope)),
            ("storage", "Volumes that feature stores ask for can be provisioned", lambda: cluster.check_storage(scope)),
            ("quota", "Quotas leave room", lambda: cluster.check_quota(scope)),
            ("limits", "Containers set what quotas count", lambda: admission.check_limits(scope)),
            (
                "pod-security",
                "Pod Security accepts pods of feature stores",
                lambda: admission.check_pod_security(scope),
            ),
            ("metrics", "Autoscalers can read metrics", lambda: admission.check_metrics(scope)),
        ],
    )


def _section(title: str, checks: Sequence[_Check]) -> Section:
    return Section(title, tuple(finding for check in checks for finding in checked(*check)))
