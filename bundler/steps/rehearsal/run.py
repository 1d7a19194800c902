"""Rehearse: run the pods of a bundle without a network, and read back online what was materialized."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bundler.effects.archive.reader import Bundle
from bundler.effects.certificates import CertificateAuthority
from bundler.effects.engine import connection as engine_connection
from bundler.effects.engine import runs as engine_runs
from bundler.effects.engine.api import Engine
from bundler.effects.engine.connection import EngineChoice
from bundler.errors import SpecError, UsageError
from bundler.feast.emulation import local_config, store_servers
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.progress import Progress
from bundler.model.trust import UNCHECKED, Trust
from bundler.steps.bundle import images as bundled_images
from bundler.steps.bundle import verify
from bundler.steps.rehearsal import engine_images, feature_stores, filled_manifests, routes
from bundler.steps.rehearsal.emulated_cluster import ContainerSecurity, EmulatedCluster
from bundler.steps.rehearsal.engine_images import EngineImages
from bundler.steps.rehearsal.feature_stores import EmulatedFeatureStore
from bundler.steps.rehearsal.filled_manifests import FilledManifests
from bundler.steps.rehearsal.inputs import BundleInput, RehearsalInput
from bundler.steps.rehearsal.options import RehearseOptions
from bundler.steps.rehearsal.pod_network import PodNetwork
from bundler.steps.rehearsal.pod_runner import PodRunner

_SHORTEST_SECRET: Final = 6
_IN_FILES: Final = "uncovered.stores"


def run(path: Path, options: RehearseOptions, progress: Progress, trust: Trust = UNCHECKED) -> Report:
    """Rehearse a bundle; what fails in a pod is a finding, not an error.

    Raises:
        UsageError, VerificationError: there is no bundle, it is a delta, or it is damaged.
        ToolMissingError, ToolFailedError: there is no engine, or it refused.
        SpecError: the manifests cannot be read.
    """
    with Bundle.open(path, trust) as bundle:
        verify.require_metadata(bundle)
        bundled_images.require_whole(bundle)
        return run_input(BundleInput(bundle), options, progress)


def run_input(inputs: RehearsalInput, options: RehearseOptions, progress: Progress) -> Report:
    """Rehearse the images and manifests of a bundle or a build; raises as ``run``."""
    authority = CertificateAuthority(dt.datetime.now(dt.timezone.utc))
    texts = filled_manifests.read(inputs, options.manifests, options.operator_version)
    manifests = filled_manifests.interpret(
        texts, options.operator_version, inputs.operator_version, options.values, authority
    )
    choice = EngineChoice(options.engine, options.environment)
    with engine_connection.connected(choice, f"rehearsal-{secrets.token_hex(4)}") as engine, _noted(options, engine):
        progress.say(f"Rehearsing with {engine.title}")
        rehearsal = _Rehearsal(inputs, manifests, options, engine, progress, authority)
        return _without_secrets(rehearsal.report(), manifests)


def _noted(options: RehearseOptions, engine: Engine) -> AbstractContextManager[None]:
    return engine_runs.noted(options.notes_folder, engine) if options.notes_folder else nullcontext()


@dataclass(frozen=True)
class _Rehearsal:
    inputs: RehearsalInput
    manifests: FilledManifests
    options: RehearseOptions
    engine: Engine
    progress: Progress
    authority: CertificateAuthority

    def report(self) -> Report:
        images = engine_images.load(
            self.inputs, self.engine, self.options.store_images, self.progress, keep=self.options.keep_images
        )
        sections = [Section("The images", (images.finding,))]
        if not images.names:
            raise UsageError(
                f"The bundle does not have an image for {self.engine.platform}, the platform of {self.engine.title}.",
                remedy=f"Use an engine on one of the bundle's platforms, or build for {self.engine.platform} too.",
            )
        title = f"Rehearsal of {self.inputs.title} on {self.engine.title}"
        if images.finding.status is Status.FAIL:
            return Report(title, tuple(sections))
        default = next(iter(images.names.values()))
        outcomes = [self._emulated(resource, default) for resource in self.manifests.resources]
        emulated = [outcome for outcome in outcomes if isinstance(outcome, EmulatedFeatureStore)]
        hosts = {store.pod.namespace: _hosts(emulated, store.pod.namespace) for store in emulated}
        needs = [store_servers.needed(store.config, hosts[store.pod.namespace]) for store in emulated]
        servers = store_servers.merged(server for need in needs for server in need.servers)
        missing = sorted({server.kind for server in servers if server.kind not in images.servers})
        unknown = [line for need in needs for line in need.unknown]
        in_files = bool(missing or unknown)
        gaps = [*images.gaps, *_gaps(emulated)]
        emulated = [
            feature_stores.with_local_config(store, file_stores=in_files, hosts=hosts[store.pod.namespace])
            for store in emulated
        ]
        cluster = self._cluster(images, emulated, [] if in_files else servers)
        runner = PodRunner(cluster, images, self.authority.pem, self.progress)
        sections += [outcome for outcome in outcomes if isinstance(outcome, Section)]
        sections += [Section(f"{store.pod.namespace}/{store.pod.name}", tuple(runner.run(store))) for store in emulated]
        uncovered = (*_uncovered(gaps), *_replaced(missing, unknown))
        sections.append(Section("What the rehearsal does not cover", uncovered))
        return Report(title, tuple(sections))

    def _emulated(self, resource: dict[str, Json], default: str) -> EmulatedFeatureStore | Section:
        """Return the emulated FeatureStore, or a section that says why the operator would create no pod for it."""
        try:
            return feature_stores.emulate(resource, self.manifests, default)
        except SpecError as error:
            finding = Finding("pod", "The operator would create no pod", Status.FAIL, (error.problem,), error.remedy)
            return Section("/".join(filled_manifests.place_of(resource)), (finding,))

    def _cluster(
        self,
        images: EngineImages,
        emulated: Sequence[EmulatedFeatureStore],
        servers: Sequence[store_servers.StoreServer],
    ) -> EmulatedCluster:
        open_routes = routes.routes({routes.key(store.pod): store.services for store in emulated}, servers)
        tools = next(iter(images.names.values()))
        network = PodNetwork(self.engine, tools, open_routes)
        security = ContainerSecurity(self.options.user, self.options.read_only_root)
        cluster = EmulatedCluster(self.engine, network, security)
        for server in servers:
            self.progress.say(f"Starting {server.kind} at {server.host}:{server.port}")
            cluster.run_store(server, images.servers[server.kind], self.authority.server([server.host]))
        return cluster


def _hosts(emulated: Sequence[EmulatedFeatureStore], namespace: str) -> frozenset[str]:
    """Return every name that leads to a server of the rehearsal from a namespace."""
    services = [service for store in emulated for service in store.services]
    short = (service.name for service in services if service.namespace == namespace)
    return frozenset((*short, *(host for service in services for host in service.hosts)))


def verdict(report: Report) -> str:
    """Return what a report without a failure shows, in a sentence."""
    served = any(finding.check == "online" and finding.status is Status.PASS for finding in report.findings)
    if not served:
        return "Nothing failed, and no features were read: the report says why."
    in_files = any(finding.check == _IN_FILES for finding in report.findings)
    return "Features are served, from files in the place of the stores." if in_files else "Features are served."


def _replaced(missing: Sequence[str], unknown: Sequence[str]) -> Iterator[Finding]:
    """Yield that files were in the place of the stores, where they were."""
    if missing or unknown:
        lacking = ", ".join([*(f"no image for {kind}" for kind in missing), *unknown])
        title = f"the stores themselves ({lacking}): SQLite and files were used instead of all of them"
        yield Finding(_IN_FILES, title, Status.NOT_APPLICABLE)


def _gaps(emulated: Sequence[EmulatedFeatureStore]) -> Iterator[str]:
    for kind in sorted({local_config.authentication(feature_store.config) for feature_store in emulated} - {"no_auth"}):
        yield f"authentication by {kind}, which needs a server outside the pods: the pods ran without authentication"


def _uncovered(gaps: Sequence[str]) -> Iterator[Finding]:
    always = (
        "the operator itself, admission, scheduling, and ServiceAccounts",
        "NetworkPolicies, Ingress, autoscaling, limits of memory and CPU",
        "kubectl in the CronJob's pod: the engine ran its commands in the same container instead",
    )
    for line in (*always, *gaps):
        yield Finding("uncovered", line, Status.NOT_APPLICABLE)


def _without_secrets(report: Report, manifests: FilledManifests) -> Report:
    """Return the report with the name of each variable instead of its value."""
    filled = {
        text: f"${{{key}}}"
        for objects in manifests.objects.values()
        for texts in objects.secrets.values()
        for key, text in texts.items()
        if len(text) >= _SHORTEST_SECRET
    }

    def cleaned(line: str) -> str:
        for text, name in filled.items():
            line = line.replace(text, name)
        return line

    sections = tuple(
        Section(
            section.title,
            tuple(replace(finding, evidence=tuple(map(cleaned, finding.evidence))) for finding in section.findings),
        )
        for section in report.sections
    )
    return Report(report.title, sections)
