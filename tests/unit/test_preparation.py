"""What a pod says of the sources of its repo becomes findings, and a rehearsal says no more than it saw."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import pytest

from bundler.effects.certificates import CertificateAuthority
from bundler.effects.engine.container import ContainerPlan, EngineContainer, Ran
from bundler.feast.emulation.pods import Pod
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.progress import SilentProgress
from bundler.steps.rehearsal import feature_stores, filled_manifests
from bundler.steps.rehearsal.emulated_cluster import EmulatedCluster, RunningPod, StartedServer
from bundler.steps.rehearsal.engine_images import EngineImages
from bundler.steps.rehearsal.pod_runner import PodRunner
from bundler.steps.rehearsal.preparation import Preparation
from bundler.steps.rehearsal.run import verdict
from tests.unit import manifest_cases


def _said(*, replaced: bool = False, **answer: object) -> Preparation:
    whole = {"configuration": [], "tables": [], "unplayed": [], "problem": "", **answer}
    return Preparation.read(Ran(0, f"a warning\n{json.dumps(whole)}\n", 1), replaced=replaced)


def test_a_pod_with_all_it_needs_goes_on_without_a_word() -> None:
    prepared = _said()
    assert (prepared.can_go_on, list(prepared.findings())) == (True, [])


def test_a_source_without_a_stand_in_is_not_played_and_not_a_failure() -> None:
    prepared = _said(unplayed=["BigQuerySource 'orders': the rehearsal has nothing that stands for it"])
    (finding,) = prepared.findings()
    assert not prepared.can_go_on
    assert (finding.status, finding.title) == (Status.MANUAL, "Not played: the CronJob's commands, and features")


def test_a_configuration_that_was_replaced_is_read_before_anything_is_said_to_serve() -> None:
    (read,) = _said(replaced=True).findings()
    assert (read.check, read.status) == ("configuration", Status.PASS)
    refused = _said(replaced=True, configuration=["online_store.pool_size", "Extra inputs are not permitted"])
    (finding,) = refused.findings()
    assert (finding.status, refused.can_go_on) == (Status.FAIL, False)


def test_definitions_that_cannot_be_loaded_are_left_to_feast_apply() -> None:
    for prepared in (
        _said(replaced=True, problem="ImportError: x"),
        Preparation.read(Ran(1, "Killed", 1), replaced=True),
    ):
        assert prepared.problem
        assert (prepared.can_go_on, list(prepared.findings())) == (True, [])


@pytest.mark.parametrize(
    "output", ["", "{}", "[]", '{"configuration": 3, "tables": [], "unplayed": [], "problem": ""}']
)
def test_an_answer_that_is_none_is_a_problem(output: str) -> None:
    assert Preparation.read(Ran(0, output, 1), replaced=False).problem


SERVED = Finding("online", "orders: /get-online-features returns what was materialized", Status.PASS, ("POST",))
IN_FILES = Finding("uncovered.stores", "the stores themselves", Status.NOT_APPLICABLE)
NOT_PLAYED = Finding("sources", "Not played", Status.MANUAL)


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ((SERVED,), "Features are served."),
        ((SERVED, IN_FILES), "Features are served, from files in the place of the stores."),
        ((NOT_PLAYED, IN_FILES), "Nothing failed, and no features were read: the report says why."),
    ],
)
def test_the_verdict_says_no_more_than_was_seen(findings: tuple[Finding, ...], said: str) -> None:
    assert verdict(Report("Rehearsal", (Section("here", findings),))) == said


@dataclass
class FakeContainer:
    """Answers commands by their program: the CronJob's with a status, the preparation with what it found."""

    status: int
    answer: dict[str, object]
    ran: list[str] = field(default_factory=list)
    plan: ContainerPlan = field(default_factory=lambda: ContainerPlan("online", "image", ("feast", "serve")))

    def run(self, argv: tuple[str, ...]) -> Ran:
        self.ran.append(argv[0])
        whole = {"configuration": [], "tables": [], "unplayed": [], "problem": "", **self.answer}
        return Ran(self.status, "", 1) if argv[0] == "bash" else Ran(0, json.dumps(whole), 1)


@dataclass
class FakeCluster:
    container: FakeContainer

    def run_pod(self, pod: Pod, *_: object) -> RunningPod:
        made = cast("EngineContainer", self.container)
        servers = tuple(StartedServer(one.name, made, 1, 0, ()) for one in pod.containers)
        return RunningPod(pod, made, (), servers)


def _rehearsed(container: FakeContainer, offline: str) -> list[Finding]:
    texts = manifest_cases.parsed(manifest_cases.render())
    authority = CertificateAuthority(dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc))
    manifests = filled_manifests.interpret(texts, "0.61.0", "", {}, authority)
    emulated = feature_stores.emulate(manifests.resources[0], manifests, "image")
    emulated = replace(emulated, config={**emulated.config, "offline_store": {"type": offline}})
    cluster, images = cast("EmulatedCluster", FakeCluster(container)), cast("EngineImages", SimpleNamespace(names={}))
    return list(PodRunner(cluster, images, "", SilentProgress()).run(emulated))


UNPLAYED: dict[str, object] = {"unplayed": ["FileSource 'orders' reads s3://bucket/orders.parquet, not in the image"]}


def test_a_command_that_fails_for_a_source_of_the_site_is_not_a_failure_of_the_bundle() -> None:
    container = FakeContainer(1, UNPLAYED)
    findings = _rehearsed(container, "dask")
    assert [one.status for one in findings if one.check in ("cron", "sources")] == [Status.MANUAL]
    assert container.ran[-2:] == ["bash", "python3"]


def test_a_command_that_fails_for_another_reason_is_a_failure() -> None:
    findings = _rehearsed(FakeContainer(1, {}), "dask")
    assert [one.status for one in findings if one.check in ("cron", "sources")] == [Status.FAIL]


def test_sources_in_a_database_are_looked_at_before_the_commands() -> None:
    container = FakeContainer(0, UNPLAYED)
    findings = _rehearsed(container, "postgres")
    assert findings[-1].title == "Not played: the CronJob's commands, and features"
    assert "bash" not in container.ran
