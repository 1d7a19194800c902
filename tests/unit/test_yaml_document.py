from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model import yaml_document
from bundler.model.descriptor import Json


def sentences(text: str) -> list[str]:
    return [f"{problem.line}: {problem.sentence}" for problem in yaml_document.load(text).problems]


def test_values_know_the_line_of_their_key() -> None:
    document = yaml_document.load("a: 1\n\nb:\n  - x\n  - c: y\n")
    assert document.value == {"a": 1, "b": ["x", {"c": "y"}]}
    assert [document.line(path) for path in [("a",), ("b",), ("b", 0), ("b", 1, "c")]] == [1, 3, 4, 5]


def test_a_place_that_does_not_exist_has_the_line_of_the_nearest_one_above() -> None:
    assert yaml_document.load("a:\n  b: 1\n").line(("a", "missing", "deeper")) == 1
    assert yaml_document.load("x: 1\na:\n  b: 1\n").line(("a", "missing")) == 2


def test_aliases_and_merged_mappings_mean_what_they_mean_in_yaml() -> None:
    text = "base: &base {x: 1, y: 2}\none: *base\ntwo:\n  <<: *base\n  y: 3\nthree:\n  y: 4\n  <<: [{z: 5}, *base]\n"
    assert yaml_document.load(text).value == {
        "base": {"x": 1, "y": 2},
        "one": {"x": 1, "y": 2},
        "two": {"x": 1, "y": 3},
        "three": {"x": 1, "z": 5, "y": 4},
    }


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{','.join(['*' + before] * 10)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "1: holds more than"),
        (MERGE_BOMB, "1: holds more than"),
        ("a: &a [*a, *a]", "1: nested more than"),
        ("a: &a {b: *a, c: *a}", "1: nested more than"),
        ("a: &a {<<: *a}", "1: merges a mapping into itself"),
        ("[" * 1500, "1: nested too deeply"),
        ("x: " + "a" * (1 << 19), "1: 524291 characters long"),
        ("a: 1\na: 2", "2: a: the key occurs twice. Keep one of them."),
        ("a: !!python/object/apply:os.system [ls]", "1: a: the tag !!python/object/apply:os.system is not supported"),
        ("a: !mine x", "1: a: the tag !mine is not supported"),
        ("a: !!binary aGk=", "1: a: the tag !!binary is not supported"),
        ("a: !!set {b, c}", "1: a: the tag !!set is not supported"),
        ("\na: !!int foo", "2: a: 'foo' cannot be read as int."),
        ("a: !!bool foo", "1: a: 'foo' cannot be read as bool."),
        ("a: !!float foo", "1: a: 'foo' cannot be read as float."),
        ("a: " + "9" * 5000, "1: a: '999"),
        ("a: 99999999999999999999", "1: a: 99999999999999999999 is not a finite 64-bit number."),
        ("a: .nan", "1: a: .nan is not a finite 64-bit number."),
        ("? [a, b]\n: c", "1: the document: a key must be a string."),
        ("a: {<<: 1}", "1: a.<<: only mappings can be merged."),
        ("a: 1\n---\nb: 2", "2: not YAML"),
        ("a:\n\t- b", "2: not YAML: found character '\\t'"),
        ("a: 1\nb: \0", "2: not YAML: the character U+0000 is not allowed."),
        ("a: *b", "1: not YAML: found undefined alias"),
    ],
)
def test_what_nobody_can_mean_is_a_problem_with_its_line(text: str, sentence: str) -> None:
    (problem,) = sentences(text)
    assert problem.startswith(sentence)


def test_a_date_stays_the_text_that_was_written_also_where_there_is_no_such_day() -> None:
    assert yaml_document.load("a: 2026-01-01\nb: 2026-13-45").value == {"a": "2026-01-01", "b": "2026-13-45"}


def test_problems_are_told_together_in_the_order_of_their_lines() -> None:
    document = yaml_document.load("b: 1\nb: 2\na: !x y\na: 3\n")
    error = yaml_document.refusal("The file", "f.yaml", document.problems)
    assert error.problem == "The file f.yaml has 3 problems."
    assert [detail.split(": ")[0] for detail in error.details] == ["f.yaml:2", "f.yaml:3", "f.yaml:4"]


@given(st.text(max_size=200))
def test_any_text_is_a_document_or_has_a_problem(text: str) -> None:
    document = yaml_document.load(text)
    assert document.value is None or isinstance(document.value, (bool, int, float, str, list, dict))


VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.text("abc:-{}[]&*!'\"#%@ \n", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-:", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_json_is_read_as_what_it_is(value: Json) -> None:
    document = yaml_document.load(json.dumps(value))
    assert (document.value, document.problems) == (value, ())
