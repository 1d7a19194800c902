from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bundler.model import media_types
from bundler.model.descriptor import Descriptor
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Report, Section, Status
from bundler.model.manifest import BundledImage
from bundler.model.platform import Platform
from bundler.render import checklist as render
from bundler.steps.checklist.assemble import ChecklistFacts, OperatorFacts, PythonFacts, RepoFacts, assemble
from bundler.steps.checklist.manifest_evidence import Emitted
from tests.unit import manifest_cases

REGISTRY = "registry.example:5000/feast"


def image(role: str, name: str, reference: str = "") -> BundledImage:
    internal = f"{REGISTRY}/{name}"
    root = Descriptor(media_types.OCI_MANIFEST, Digest.of(name.encode()), 10)
    return BundledImage(reference or internal, role, root, (Platform("linux", "amd64"),), 4_200_000, internal)


SERVER, KUBECTL = image("feature-server", "server:1"), image("kubectl", "kubectl:bookworm")
OPERATOR = image("operator", "feastdev/feast-operator:0.61.0", "quay.io/feastdev/feast-operator:0.61.0")
PINNED = {one.role: f"{one.internal}@{one.root.digest}" for one in (SERVER, KUBECTL)}

FEATURE_STORE = f"""
apiVersion: feast.dev/v1
kind: FeatureStore
metadata: {{name: shop, namespace: feast}}
spec:
  services:
    disableInitContainers: true
    onlineStore:
      server: {{image: "{PINNED["feature-server"]}", imagePullPolicy: IfNotPresent}}
  cronJob:
    containerConfigs: {{image: "{PINNED["kubectl"]}", imagePullPolicy: IfNotPresent}}
"""
ACCOUNTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: feast-shop, namespace: feast}
imagePullSecrets: [{name: pull}]
"""
TO_FILL = """
apiVersion: v1
kind: Secret
metadata: {name: shop-credentials, namespace: feast}
stringData: {REDIS_PASSWORD: "", REDIS_HOST: ""}
"""
OPERATOR_MANIFEST = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations: {}
  name: featurestores.feast.dev
"""
MANIFESTS: Mapping[str, str] = {
    "featurestore.yaml": FEATURE_STORE,
    "serviceaccounts.yaml": ACCOUNTS,
    "secrets/shop-credentials.yaml": TO_FILL,
    "operator/install.yaml": OPERATOR_MANIFEST,
}
FACTS = ChecklistFacts(
    name="shop",
    version="1.0",
    created="2025-01-01T00:00:00Z",
    tool="bundler test",
    feast_version="0.61.0",
    registry=REGISTRY,
    base="debian:bookworm",
    lock=Digest.of(b"lock"),
    signed=True,
    repos=(RepoFacts(7, Digest.of(b"repo"), "/opt/feast/feature_repo", PINNED["feature-server"]),),
    operator=OperatorFacts("0.61.0", preinstalled=False),
    python=(PythonFacts("linux/amd64", "3.11.2", 77, 3),),
    images=(SERVER, KUBECTL, OPERATOR),
    manifests=manifest_cases.parsed(MANIFESTS),
)


def findings(facts: ChecklistFacts) -> dict[str, Finding]:
    report, _ = assemble(facts)
    return {finding.check: finding for finding in report.findings}


def with_manifests(**changes: str | None) -> ChecklistFacts:
    """Replace or remove manifests, named without their extension and with _ for /."""
    new = {**MANIFESTS, **{f"{name.replace('__', '/')}.yaml": text for name, text in changes.items() if text}}
    gone = {f"{name.replace('__', '/')}.yaml" for name, text in changes.items() if text is None}
    return replace(
        FACTS, manifests=manifest_cases.parsed({name: text for name, text in new.items() if name not in gone})
    )


def test_the_five_items_and_six_steps_of_the_guide_are_there_in_its_order() -> None:
    report, _ = assemble(FACTS)
    assert [finding.check for finding in report.sections[1].findings] == [
        *("container-images", "crd-manifests", "store-credentials", "python-packages", "service-accounts"),
        "pull-secret",
    ]
    assert [finding.check for finding in report.sections[2].findings] == [
        *("step-build", "step-push", "step-init-containers", "step-images", "step-pull-policy", "step-pull-secrets"),
    ]
    assert not report.failed


def test_every_pass_has_evidence_and_everything_to_do_a_command() -> None:
    for finding in findings(FACTS).values():
        assert finding.evidence or finding.status is not Status.PASS
        assert finding.command or finding.status is not Status.MANUAL, finding.check


def test_evidence_names_digests_counts_and_names() -> None:
    found = findings(FACTS)
    assert str(SERVER.root.digest) in " ".join(found["container-images"].evidence)
    assert found["python-packages"].evidence[0] == "linux/amd64: Python 3.11.2, 77 packages installed, 3 of the base"
    assert "operator/install.yaml defines featurestores.feast.dev" in found["crd-manifests"].evidence
    assert "keys REDIS_PASSWORD, REDIS_HOST" in found["store-credentials"].evidence[0]
    assert f"spec.services.onlineStore.server: {PINNED['feature-server']}" in found["step-images"].evidence


def test_commands_name_what_is_meant() -> None:
    found = findings(FACTS)
    assert found["step-push"].command == f"python3 bundler.pyz push shop-1.0.bundle.tar --registry {REGISTRY}"
    assert "skopeo login --authfile auth.json registry.example:5000\n" in found["pull-secret"].command
    assert "openssl dgst" in found["verify"].command


@pytest.mark.parametrize(
    ("facts", "check"),
    [
        (replace(FACTS, images=(KUBECTL, OPERATOR)), "container-images"),
        (replace(FACTS, images=(KUBECTL, OPERATOR)), "step-build"),
        (replace(FACTS, images=(SERVER, KUBECTL)), "operator-image"),
        (replace(FACTS, python=()), "python-packages"),
        (with_manifests(operator__install=None), "crd-manifests"),
        (with_manifests(serviceaccounts=None), "service-accounts"),
        (
            with_manifests(featurestore=FEATURE_STORE.replace("Containers: true", "Containers: false")),
            "step-init-containers",
        ),
        (with_manifests(featurestore=FEATURE_STORE.replace("disableInit", "other")), "step-init-containers"),
        (with_manifests(featurestore=FEATURE_STORE.replace(PINNED["kubectl"], "quay.io/x/kubectl:1")), "step-images"),
        (
            with_manifests(featurestore=FEATURE_STORE.replace(str(SERVER.root.digest), str(Digest.of(b"")))),
            "step-images",
        ),
        (with_manifests(featurestore=FEATURE_STORE.replace(", imagePullPolicy: IfNotPresent", "")), "step-pull-policy"),
        (
            with_manifests(serviceaccounts=ACCOUNTS + "---\nkind: ServiceAccount\nmetadata: {name: b}\n"),
            "step-pull-secrets",
        ),
        (with_manifests(featurestore=FEATURE_STORE.replace("cronJob", "other")), "kubectl-image"),
    ],
)
def test_what_is_not_so_fails(facts: ChecklistFacts, check: str) -> None:
    assert findings(facts)[check].status is Status.FAIL


def test_an_operator_that_is_there_already_is_for_a_person_to_look_at() -> None:
    found = findings(replace(FACTS, operator=OperatorFacts("0.61.0", preinstalled=True)))
    assert found["crd-manifests"].status is Status.MANUAL
    assert "operator-image" not in found


def test_without_variables_and_pull_secrets_there_is_nothing_to_fill_in() -> None:
    facts = with_manifests(
        secrets__shop_credentials=None, serviceaccounts=ACCOUNTS.replace("imagePullSecrets: [{name: pull}]", "")
    )
    facts = replace(facts, manifests={name: text for name, text in facts.manifests.items() if "secrets/" not in name})
    found = findings(facts)
    assert found["store-credentials"].status is Status.NOT_APPLICABLE
    assert found["step-pull-secrets"].status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(("policy", "said"), [("Never", "Load the images"), ("Always", "only while the registry")])
def test_other_pull_policies_tell_what_they_mean(policy: str, said: str) -> None:
    found = findings(with_manifests(featurestore=FEATURE_STORE.replace("IfNotPresent", policy)))["step-pull-policy"]
    assert found.status is Status.MANUAL
    assert said in found.remedy


def test_an_unsigned_bundle_is_not_said_to_be_checked() -> None:
    found = findings(replace(FACTS, signed=False))
    assert found["signature"].status is Status.NOT_APPLICABLE
    assert "openssl" not in found["verify"].command


def test_findings_of_other_steps_are_shown_as_they_are() -> None:
    rehearsed = Finding("rehearsal", "Features are served", Status.PASS, ("200 OK",))
    assert findings(replace(FACTS, checks=(rehearsed,)))["rehearsal"] == rehearsed


def test_every_one_of_several_feature_stores_has_its_own_findings() -> None:
    other = FEATURE_STORE.replace("{name: shop, namespace: feast}", "{name: rides, namespace: team-b}")
    account = ACCOUNTS.replace("namespace: feast", "namespace: team-b")
    report, cover = assemble(with_manifests(rides__featurestore=other, rides__serviceaccounts=account))
    assert not report.failed
    commands = "\n".join(finding.command for finding in report.findings)
    for namespace, name in (("feast", "shop"), ("team-b", "rides")):
        assert f"kubectl -n {namespace} wait featurestore/{name}" in commands
        assert f"kubectl -n {namespace} create secret generic pull" in commands
    used = next(finding for finding in report.findings if finding.check == "step-images").evidence
    assert any(line.startswith("rides: spec.services.onlineStore.server") for line in used)
    assert dict(cover.facts)["Namespace"] == "feast, team-b"


def test_init_containers_of_the_bundles_own_images_are_no_failure() -> None:
    text = FEATURE_STORE.replace("disableInitContainers: true", "disableInitContainers: false")
    wired = text.replace("spec:\n", "spec:\n  feastProjectDir: {init: {minimal: true}}\n")
    assert findings(with_manifests(featurestore=wired))["step-init-containers"].status is Status.NOT_APPLICABLE
    assert findings(with_manifests(featurestore=text))["step-init-containers"].status is Status.FAIL


def test_manifests_without_a_feature_store_are_no_subject() -> None:
    with pytest.raises(ValueError, match="no FeatureStore"):
        Emitted.read({})


# Forms

HOSTILE = Report(
    "<script>alert(1)</script>",
    (
        Section(
            "a & b",
            (Finding("x", "`tick` | bar * <b>", Status.MANUAL, ('"><img src=x>', "a|b `c`"), "go", "echo ```x```"),),
        ),
    ),
)


class Page(html.parser.HTMLParser):
    """Collects tags, and everything that could load something from elsewhere."""

    VOID = frozenset({"meta", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.loading: list[tuple[str, str | None]] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loading += [
            (name, value) for name, value in attrs if name in {"src", "href", "srcset", "action"} or name[:2] == "on"
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere() -> None:
    text = render.to_html(*assemble(FACTS))
    page = Page(text)
    assert not page.loading
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", text)
    for finding in findings(FACTS).values():
        assert f'id="{finding.check}"' in text
    assert "Signature" in text
    assert "Reviewer" in text


def test_hostile_names_stay_text_in_every_form() -> None:
    _, cover = assemble(FACTS)
    page = Page(render.to_html(HOSTILE, cover))
    assert not page.loading
    assert "script" not in page.tags
    assert "img" not in page.tags
    markdown = render.to_markdown(HOSTILE, cover)
    assert "# <script>" not in markdown
    assert "`` a\\|b `c` ``" in markdown
    assert "````sh" in markdown


FORMS = (render.to_html, render.to_markdown, render.to_json)
EVIL = "a\u202eb\x1b[2J\x85\u2028\u3164<script>alert(1)</script>"


def test_nothing_is_invisible_or_turned_round_in_any_form() -> None:
    report, cover = assemble(FACTS)
    finding = Finding("evil", EVIL, Status.MANUAL, (EVIL,), EVIL, f"{EVIL}\n{EVIL}")
    evil = replace(report, title=EVIL, sections=(Section(EVIL, (finding,)),))
    forms = [form(evil, replace(cover, facts=((EVIL, EVIL),), notes=(EVIL,))) for form in FORMS]
    for text in forms:
        assert not set("\u202e\x1b\x85\u2028\u3164") & set(text)
    assert "<script>" not in forms[0]
    outside_code = re.sub(r"```+sh.*?```+|`[^`]*`", "", forms[1], flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<script", outside_code)


def test_the_page_allows_its_own_style_alone() -> None:
    text = render.to_html(*assemble(FACTS))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert policy
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert " style=" not in text


def test_the_reader_is_told_when_to_trust_it() -> None:
    for form in FORMS[:2]:
        assert "Trust it only after bundler verify" in form(*assemble(FACTS))


def test_the_status_is_said_by_word_and_not_by_colour_alone() -> None:
    text = render.to_html(*assemble(replace(FACTS, images=(KUBECTL,))))
    assert '<p class="status">fail</p>' in text
    assert '<p class="status">to do</p>' in text
    assert "Do not install this bundle." in text


def test_json_says_the_same_as_the_page() -> None:
    report, cover = assemble(FACTS)
    value = json.loads(render.to_json(report, cover))
    assert value["report"]["failed"] is False
    assert value["counts"] == render.count_of(report)
    assert sum(value["counts"].values()) == len(report.findings)
    assert value["images"][0]["root"]["digest"] == str(SERVER.root.digest)


def test_markdown_has_a_box_for_what_a_person_does_and_none_for_what_is_done() -> None:
    report, cover = assemble(FACTS)
    text = render.to_markdown(report, cover)
    assert text.count("- [ ] ") == render.count_of(report)["manual"]
    assert "- **PASS** Container images" in text


def test_the_forms_are_the_same_in_every_run() -> None:
    for form in (render.to_html, render.to_json, render.to_markdown):
        assert form(*assemble(FACTS)) == form(*assemble(FACTS))
