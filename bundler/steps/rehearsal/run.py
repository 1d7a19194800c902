"""Rehearse: play the pods of a bundle without a network, and read back online what was materialized."""

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
from bundler.feast.emulation import stand_ins
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.progress import Progress
from bundler.steps.bundle import images as bundled_images
from bundler.steps.rehearsal import cast, roles, script, stage
from bundler.steps.rehearsal.act import Act
from bundler.steps.rehearsal.cast import Cast
from bundler.steps.rehearsal.options import RehearseOptions
from bundler.steps.rehearsal.roles import EmulatedFeatureStore
from bundler.steps.rehearsal.script import Script
from bundler.steps.rehearsal.source import BundleSource, RehearsalInput
from bundler.steps.rehearsal.stage import Rules, Stage

_SHORTEST_SECRET: Final = 6


def run(path: Path, options: RehearseOptions, progress: Progress) -> Report:
    """Rehearse a bundle; what fails on the stage is a finding, not an error.

    Raises:
        UsageError, VerificationError: there is no bundle, it is a delta, or it is damaged.
        ToolMissingError, ToolFailedError: there is no engine, or it refused.
        SpecError: the manifests cannot be read.
    """
    with Bundle.open(path) as bundle:
        bundled_images.require_whole(bundle)
        return play(BundleSource(bundle), options, progress)


def play(source: RehearsalInput, options: RehearseOptions, progress: Progress) -> Report:
    """Rehearse images and manifests, wherever they are; raises as ``run``."""
    authority = CertificateAuthority(dt.datetime.now(dt.timezone.utc))
    texts = script.read(source, options.manifests, options.operator_version)
    played = script.interpret(texts, options.operator_version, source.operator_version, options.values, authority)
    choice = EngineChoice(options.engine, options.environment)
    with engine_connection.connected(choice, f"rehearsal-{secrets.token_hex(4)}") as engine, _noted(options, engine):
        progress.say(f"Rehearsing with {engine.title}")
        rehearsal = _Rehearsal(source, played, options, engine, progress, authority)
        return _without_secrets(rehearsal.report(), played)


def _noted(options: RehearseOptions, engine: Engine) -> AbstractContextManager[None]:
    return engine_runs.noted(options.notes_folder, engine) if options.notes_folder else nullcontext()


@dataclass(frozen=True)
class _Rehearsal:
    source: RehearsalInput
    script: Script
    options: RehearseOptions
    engine: Engine
    progress: Progress
    authority: CertificateAuthority

    def report(self) -> Report:
        found = cast.gather(
            self.source, self.engine, self.options.store_images, self.progress, keep=self.options.keep_images
        )
        sections = [Section("The images", (found.finding,))]
        if not found.names:
            raise UsageError(f"No image of the bundle is for {self.engine.platform}, which {self.engine.title} runs.")
        title = f"Rehearsal of {self.source.title} on {self.engine.title}"
        if found.finding.status is Status.FAIL:
            return Report(title, tuple(sections))
        default = next(iter(found.names.values()))
        outcomes = [self._role(resource, default) for resource in self.script.resources]
        playing = [one for one in outcomes if isinstance(one, EmulatedFeatureStore)]
        needs = [stand_ins.needed(role.config) for role in playing]
        servers = stand_ins.merged(server for need in needs for server in need.servers)
        missing = sorted({server.kind for server in servers if server.kind not in found.servers})
        unknown = [line for need in needs for line in need.unknown]
        in_files = bool(missing or unknown)
        gaps = [*found.gaps, *_gaps(playing, missing, unknown)]
        playing = [roles.with_stand_ins(role, stores=in_files) for role in playing]
        act = Act(self._stage(found, playing, [] if in_files else servers), found, self.authority.pem, self.progress)
        sections += [one for one in outcomes if isinstance(one, Section)]
        sections += [Section(f"{role.pod.namespace}/{role.pod.name}", tuple(act.play(role))) for role in playing]
        sections.append(Section("What was not covered", tuple(_uncovered(gaps))))
        return Report(title, tuple(sections))

    def _role(self, resource: dict[str, Json], default: str) -> EmulatedFeatureStore | Section:
        """Return the role of a FeatureStore, or what to say of one that the operator would make no pod of."""
        try:
            return roles.role(resource, self.script, default)
        except SpecError as error:
            finding = Finding("pod", "No pod would start", Status.FAIL, (error.problem,), error.remedy)
            return Section("/".join(script.place_of(resource)), (finding,))

    def _stage(
        self, found: Cast, playing: Sequence[EmulatedFeatureStore], servers: Sequence[stand_ins.StoreServer]
    ) -> Stage:
        ways = stage.routes({stage.key(role.pod): role.services for role in playing}, servers)
        tools = next(iter(found.names.values()))
        made = Stage(self.engine, tools, ways, Rules(self.options.user, self.options.read_only_root))
        for server in servers:
            self.progress.say(f"Starting {server.kind} at {server.host}:{server.port}")
            made.raise_store(server, found.servers[server.kind])
        return made


def _gaps(playing: Sequence[EmulatedFeatureStore], missing: Sequence[str], unknown: Sequence[str]) -> Iterator[str]:
    if missing or unknown:
        lacking = ", ".join([*(f"no image for {kind}" for kind in missing), *unknown])
        yield f"the stores themselves ({lacking}): SQLite and files took the place of all of them"
    for kind in sorted({stand_ins.authentication(role.config) for role in playing} - {"no_auth"}):
        yield f"authentication by {kind}, for which somebody outside the pods must be asked: every caller was let in"


def _uncovered(gaps: Sequence[str]) -> Iterator[Finding]:
    always = (
        "the operator itself, admission, scheduling, and ServiceAccounts",
        "NetworkPolicies, Ingress, autoscaling, limits of memory and CPU",
        "kubectl in the CronJob's pod: its commands ran by the engine's exec in the same container",
    )
    for line in (*always, *gaps):
        yield Finding("uncovered", line, Status.NOT_APPLICABLE)


def _without_secrets(report: Report, played: Script) -> Report:
    """Return the report with the names of variables in the place of what was filled in for them."""
    filled = {
        text: f"${{{key}}}"
        for objects in played.objects.values()
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
            tuple(replace(one, evidence=tuple(map(cleaned, one.evidence))) for one in section.findings),
        )
        for section in report.sections
    )
    return Report(report.title, sections)
