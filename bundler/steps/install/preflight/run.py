"""Make every check of a preflight and report all that was found, at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.effects.kubectl import Kubectl
from bundler.effects.registry.endpoint import Access
from bundler.errors import ClusterUnreachableError
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.progress import Progress
from bundler.steps.install import plan as install_plan
from bundler.steps.install.preflight import cluster, images, rights
from bundler.steps.install.preflight.case import Case, looked_at
from bundler.steps.install.release import Release


@dataclass(frozen=True)
class PreflightOptions:
    """What ``bundler preflight`` was asked; ``part`` and ``secrets`` as for an install."""

    registry: str
    access: Access
    secrets: tuple[str, ...] = ()
    part: str = "all"


def run(bundle: Path, options: PreflightOptions, kubectl: Kubectl, progress: Progress) -> Report:
    """Look at cluster and registry; changes nothing.

    Raises:
        VerificationError: the bundle is damaged.
        UsageError: a Secret that was given does not fit.
    """
    subject = Release.of(bundle, options.registry)
    plan = install_plan.plan(subject.manifests)
    admin, tenant = install_plan.parts(options.part)
    wanted = plan.secrets_of(admin=admin, tenant=tenant)
    case = Case(subject, plan, kubectl, admin, tenant, install_plan.given(wanted, options.secrets))
    with progress.task("Looking at cluster and registry"):
        return Report(f"Preflight of {subject.title}", tuple(_sections(case, options.access)))


_Check = tuple[str, str, Callable[[], Iterator[Finding]]]


def _sections(case: Case, access: Access) -> Iterator[Section]:
    registry: list[_Check] = [("images", "The registry has every image", lambda: images.check_pushed(case, access))]
    try:
        answers = tuple(cluster.check_version(case))
    except ClusterUnreachableError as error:
        evidence = (str(error), *error.details)
        failed = Finding("version", "The cluster answers", Status.FAIL, evidence, error.remedy or "", "kubectl version")
        yield Section("Cluster", (failed,))
        yield _section("Registry", registry)
        return
    yield Section("Cluster", answers)
    yield _section(
        "Rights and objects",
        [
            ("rights", "You may do what an install does", lambda: rights.check(case)),
            ("operator", "One Feast operator looks after feature stores", lambda: cluster.check_operator(case)),
            ("definition", "The cluster's definition has every field", lambda: cluster.check_definition(case)),
            ("objects", "The server would take every object as it is", lambda: cluster.check_objects(case)),
        ],
    )
    yield _section("Secrets", [("secrets", "Secrets are there", lambda: cluster.check_secrets(case))])
    registry.append(
        ("pull-secrets", "Images can be pulled with the pull secrets", lambda: images.check_pull_secrets(case, access))
    )
    yield _section("Registry", registry)
    yield _section(
        "Room",
        [
            ("nodes", "Nodes have a processor that every image is made for", lambda: images.check_nodes(case)),
            ("storage", "Volumes that feature stores ask for can be made", lambda: cluster.check_storage(case)),
            ("quota", "Quotas leave room", lambda: cluster.check_quota(case)),
        ],
    )


def _section(title: str, checks: Sequence[_Check]) -> Section:
    return Section(title, tuple(finding for check in checks for finding in looked_at(*check)))
