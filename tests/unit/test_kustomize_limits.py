"""Kustomizations that name each other many times are refused before they are walked."""

from __future__ import annotations

import pytest

from bundler.errors import SpecError, VerificationError
from bundler.kube import kustomize, yaml_values
from bundler.kube.yaml_budget import Budget
from bundler.model import limits

OBJECT = "kind: ConfigMap\nmetadata: {name: x}\n"


def chain(length: int) -> dict[str, str]:
    """Return kustomizations of which each names the next one, and the last one an object."""
    folders = ["/".join("a" * depth) for depth in range(length)]
    files = {
        f"{folder}/kustomization.yaml".lstrip("/"): "kind: Kustomization\nresources: [a]\n" for folder in folders[:-1]
    }
    last = f"{folders[-1]}/".lstrip("/")
    return files | {
        f"{last}kustomization.yaml": "kind: Kustomization\nresources: [x.yaml]\n",
        f"{last}x.yaml": OBJECT,
    }


def test_the_deepest_that_is_allowed_is_read_and_one_more_is_not() -> None:
    assert [found.name for found in kustomize.objects(chain(limits.KUSTOMIZE_DEPTH))] == ["x"]
    with pytest.raises(VerificationError, match=f"nested deeper than {limits.KUSTOMIZE_DEPTH}"):
        list(kustomize.objects(chain(limits.KUSTOMIZE_DEPTH + 1)))


@pytest.mark.parametrize("again", ["x.yaml", "./x.yaml", "a", "a/", "./a", "."])
def test_what_is_named_twice_or_names_itself_is_refused(again: str) -> None:
    manifests = {
        "kustomization.yaml": f"kind: Kustomization\nresources: [x.yaml, a, {again}]\n",
        "x.yaml": OBJECT,
        "a/kustomization.yaml": "kind: Kustomization\nresources: [y.yaml]\n",
        "a/y.yaml": OBJECT,
    }
    with pytest.raises(VerificationError, match=r"named twice|has no manifests"):
        list(kustomize.objects(manifests))


def test_patches_are_limited_and_their_keys_are_only_keys() -> None:
    patch = "  - {target: {kind: ConfigMap}, patch: '[{op: add, path: /self, value: 1}]'}\n"
    text = "kind: Kustomization\nresources: [x.yaml]\npatches:\n"
    manifests = {"kustomization.yaml": text + patch * limits.KUSTOMIZE_PATCHES, "x.yaml": OBJECT}
    assert [found.get("self") for found in kustomize.objects(manifests)] == [1]
    manifests["kustomization.yaml"] += patch
    with pytest.raises(VerificationError, match=f"more than {limits.KUSTOMIZE_PATCHES} patches"):
        list(kustomize.objects(manifests))


PATCH = "target: {kind: ConfigMap}, patch: '[{op: add, path: /self, value: 1}]'"


@pytest.mark.parametrize(
    "patch",
    [
        PATCH.replace("kind: ConfigMap", "kind: ConfigMap, name: x"),
        PATCH.replace("kind: ConfigMap", "kind: ConfigMap, labelSelector: a=b"),
        PATCH.replace("kind: ConfigMap", "kind: ConfigMap, version: v.*"),
        PATCH.replace("kind: ConfigMap", "kind: Config.*"),
        PATCH.replace("kind: ConfigMap", "kind: ConfigMap|Secret"),
        PATCH.replace("/self", "/metadata/name"),
        PATCH.replace("/self", "/a~1b"),
        PATCH.replace("/self", "/"),
        PATCH.replace("/self", "self"),
        PATCH.replace("value: 1", "value: 1, from: /x"),
        PATCH.replace("op: add", "op: remove"),
        f"{PATCH}, options: {{allowKindChange: true}}",
        "path: patch.yaml",
    ],
)
def test_patches_that_kustomize_reads_in_another_way_are_refused(patch: str) -> None:
    text = f"kind: Kustomization\nresources: [x.yaml]\npatches: [{{{patch}}}]\n"
    with pytest.raises(VerificationError, match="patch 1: an unsupported patch"):
        list(kustomize.objects({"kustomization.yaml": text, "x.yaml": OBJECT}))


@pytest.mark.parametrize(
    "text",
    [
        "kind: Component\nresources: [x.yaml]\n",
        "kind: Other\nresources: [x.yaml]\n",
        "kind: Kustomization\nresources: []\n---\nkind: Kustomization\nresources: [x.yaml]\n",
    ],
)
def test_what_is_not_one_kustomization_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match="than one Kustomization"):
        list(kustomize.objects({"kustomization.yaml": text, "x.yaml": OBJECT}))


def test_patches_count_against_the_limit_of_all_manifests() -> None:
    values = "\\x31\\x2c" * 100  # brackets and commas that nobody counts before the patch itself is parsed
    text = f'kind: Kustomization\nresources: []\npatches:\n- target: {{kind: X}}\n  patch: "[{values}]"\n'
    budget = Budget(events=100)
    with pytest.raises(SpecError, match=r"kustomization.yaml, patch 1: .* in other forms than block lists"):
        list(
            kustomize.objects(
                {"kustomization.yaml": text}, parse=lambda text, path: yaml_values.read(text, path, budget=budget)
            )
        )
