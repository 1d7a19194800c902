"""What a program of an image or an engine prints is a value, or a sentence; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.effects.archive.reader import Bundle
from bundler.steps.install import online_check
from bundler.steps.rehearsal.inputs import BundleInput
from bundler.steps.rehearsal.pod_network import answer_of
from bundler.steps.rehearsal.read_back import expected_views
from bundler.steps.transport.load import repository_digests
from tests.support.hostile import Draft
from tests.unit import packed

GARBAGE = ("", "\n", "x", "[]", "{}", "null", "1", '{"views": 1}', '{"views": [1]}', '{"status": []}', "[" * 50_000)


@pytest.mark.parametrize(
    "output",
    [
        *GARBAGE,
        '{"views": [{"view": "x", "rows": [1]}]}',
        '{"views": [{"view": "x", "rows": [{}], "features": ["a"], "keys": []}]}',
        '{"views": [{"view": "x", "rows": [{"a": 1}], "features": ["a"], "keys": [["b"]]}]}',
        '{"views": [{"rows": []}]}',
    ],
)
def test_what_is_not_rows_of_feature_views_is_refused(output: str) -> None:
    with pytest.raises(ValueError):
        expected_views(output)


def test_rows_of_feature_views_are_read() -> None:
    text = 'a warning\n{"views": [{"view": "v", "rows": [{"k": 1, "f": NaN}], "features": ["f"], "keys": ["k"]}]}\n'
    assert [view["view"] for view in expected_views(text)] == ["v"]
    assert expected_views('{"views": []}') == []


@pytest.mark.parametrize("output", GARBAGE)
def test_what_is_not_an_answer_is_none_with_all_that_was_printed(output: str) -> None:
    assert answer_of(output) == (0, output)
    assert answer_of('x\n{"status": 200, "body": "y"}') == (200, "y")


@pytest.mark.parametrize("output", [*GARBAGE, "[1]", '[{"RepoDigests": null}]', '[{"RepoDigests": 1}]'])
def test_an_engine_that_says_something_else_has_no_digest(output: str) -> None:
    assert repository_digests(output) == ()
    assert repository_digests('[{"RepoDigests": ["a@b"]}]') == ("a@b",)


@pytest.mark.parametrize("content", [b"{}", b'{"facts": []}', b'{"facts": {"Operator": [1]}}'])
def test_a_checklist_that_names_no_operator_names_none(content: bytes, tmp_path: Path) -> None:
    draft = Draft.of(packed.bundle(tmp_path).path)
    draft.files["checklist.json"] = content
    (tmp_path / "x.bundle.tar").write_bytes(draft.to_bytes())
    with Bundle.open(tmp_path / "x.bundle.tar") as bundle:
        assert BundleInput(bundle).operator_version == ""


@pytest.mark.parametrize(
    "text",
    [*GARBAGE, '{"status": [200]}', '{"status": {}}', '{"status": 1e999}', '{"status": 200, "statuses": [1]}'],
)
def test_a_probe_that_prints_something_else_reaches_nothing(text: str) -> None:
    assert not online_check._read_answer(text, ("view:feature",)).reached


def test_a_probe_that_says_what_is_served_is_believed() -> None:
    text = '{"status": 200, "statuses": {"feature": "PRESENT"}}'
    assert online_check._read_answer(text, ("view:feature",)).reached
