"""The quick reader of YAML gives what the one for all of YAML gives, or leaves the text to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.kube import plain_yaml, yaml_events, yaml_text
from bundler.kube.yaml_budget import Budget
from tests.unit import operator_manifests
from tests.unit.test_yaml_values import VALUES

FRAGMENTS = (
    *("a", "b: ", "c:", "- ", "-", "'", "''", '"', "|", "|-", ">", "{}", "[]", "#", " #", "# x", " ", "  ", "   "),
    *("\n", "\n\n", "\n  ", "\n    ", "\n- ", "\n  - ", "---", "---\n", "...", "%", "1", "-1", "1.5", "0x1"),
    *("1.2.3", "010", "1_0", "1:30", "-0", "1e3", ".inf", "yes", "~", "null", "<<", "=", "\\n", "\\", "\\\n", "?"),
    *("? ", "&a ", "*a", "!", "`", "@", ",", ":", ": ", "é", "\x85", "\u2028", "\ufeff", "\t", "true", "2020-01-01"),
    *("x y", "k: v\n", "/", "$x", "l:\n- a\n- b\n", "m:\n  n: o\n", "t: |\n  x\n  y\n", "t: |-\n  x\n\n   y\n"),
    *("p: a\n  b\n", "q: 'a\n  b'\n", "- k: v\n  l: w\n", 'd: "a\\\n  b\\"\n  c"\n', "e:\n  - - f\n    - g\n"),
    *("h: '\n  i'\n", ".x", "+", "^", "(", "\\ud800"),
)
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


def quick(text: str) -> list[Any] | None:
    try:
        return list(plain_yaml.documents(text))
    except plain_yaml.NotPlainError:
        return None


def thorough(text: str) -> list[Any]:
    return list(yaml_events.documents(text, Budget()))


@given(TEXTS)
@settings(max_examples=500, deadline=None)
def test_both_readers_give_the_same_values(text: str) -> None:
    found = quick(f"{text}\n")
    if found is not None:
        assert repr(found) == repr(thorough(f"{text}\n"))


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_both_readers_give_the_same_of_what_is_written_here(value: Any) -> None:
    text = yaml_text.dump(value)
    found = quick(text)
    if found is not None:
        assert repr(found) == repr(thorough(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\n", {"a": 1}),
        ("# c\n---\na:\n- b: c d # e\n  f:\n- 'it''s\n  g'\n", {"a": [{"b": "c d", "f": None}, "it's g"]}),
        ("a: |\n  b\n\n   c\n\nd: |-\n  e\n", {"a": "b\n\n c\n", "d": "e"}),
        ("a: b\n  c\n\n  d\ne: {}\nf: []\n", {"a": "b c\nd", "e": {}, "f": []}),
        ('a: "b\\"\\\n  \\ c\n  d"\n', {"a": 'b" c d'}),
        ("a: on\nb: ~\nc: 1.2.3\nd: 1.5\ne: 10m\n", {"a": True, "b": None, "c": "1.2.3", "d": 1.5, "e": "10m"}),
    ],
)
def test_manifests_as_people_write_them_are_read_quickly(text: str, value: Any) -> None:
    assert quick(text) == [value]
    assert thorough(text) == [value]


@pytest.mark.parametrize(
    "text",
    [
        "a: 1",
        "a: &x 1\n",
        "a: *x\n",
        "a: !!str 1\n",
        "<<: {}\n",
        "? a\n: b\n",
        "a: [b]\n",
        "a: {b: c}\n",
        "a: >\n  b\n",
        "a: |+\n  b\n",
        "a: |2\n  b\n",
        "a: 1\na: 2\n",
        "a: b: c\n",
        "a: 'b' c\n",
        "a: 'b' 'c\n  d'\n",
        "a: b\n # c\n  d\n",
        "a: b\n  c: d\n",
        "a:\n  b: c\n d: e\n",
        "- a\nb: c\n",
        "a: 0x1F\n",
        "a: 010\n",
        "a: 1_0\n",
        "a: 1:30\n",
        "a: .nan\n",
        "a: <<\n",
        "a:\tb\n",
        "a: b\t\n",
        "a: b\r\n",
        "a: \ufeff\n",
        "a: b\u2028c\n",
        "a: \x7f\n",
        'a: "\\x41"\n',
        "%YAML 1.1\n---\na: b\n",
        "a: b\n...\n",
        "--- a\n",
        "a\n",
        "- " * 101 + "a\n",
    ],
)
def test_what_needs_more_of_yaml_is_left_to_the_other_reader(text: str) -> None:
    assert quick(text) is None


@pytest.mark.parametrize("release", operator_manifests.RELEASES)
def test_the_operators_manifests_are_read_quickly(release: str) -> None:
    text = operator_manifests.real_manifest(release).read_text(encoding="utf-8")
    assert quick(text) is not None
