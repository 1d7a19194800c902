"""YAML of unknown origin becomes values that JSON has, or a sentence; work and memory are bounded by the text."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.kube import yaml_values
from bundler.kube.yaml_budget import Budget
from bundler.model import limits
from tests.unit import operator_manifests

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(st.characters(exclude_categories=("Cs", "Cc"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", max_size=5), inner, max_size=4),
    max_leaves=20,
)


def read(text: str) -> tuple[Any, ...]:
    return tuple(yaml_values.documents(text))


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_what_pyyaml_writes_is_read_back(value: Any) -> None:
    assert read(yaml.safe_dump(value)) == (value,)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-01-01", "2020-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("1:30", "1:30"),
        ("0x1F", 31),
        ("0b11", 3),
        ("017", 15),
        ("1_000", 1000),
        ("-5", -5),
        (".5e+1", 5.0),
        ("~", None),
        ("On", True),
        ("'on'", "on"),
        ("!!str 1", "1"),
        ("!!int '1'", 1),
        ("! 1", "1"),
        ("=", "="),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}", {"a": {"b": 1}, "c": {"b": 2}}),
        (
            "x: &x {b: 1}\ny: &y {b: 2, c: 3}\nz: {<<: [*x, *y]}",
            {"x": {"b": 1}, "y": {"b": 2, "c": 3}, "z": {"b": 1, "c": 3}},
        ),
        ("1: a\ntrue: b\n2020-01-01: c\nnull: d", {"1": "a", "true": "b", "2020-01-01": "c", "null": "d"}),
        ("&k key: 1\nother: *k", {"key": 1, "other": "key"}),
    ],
)
def test_scalars_aliases_and_merges_mean_what_kubernetes_reads(text: str, value: Any) -> None:
    assert read(text) == (value,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!binary aGVsbG8=", "tag !!binary"),
        ("a: !!set {x, y}", "tag !!set"),
        ("a: !!python/object/apply:os.system [x]", "tag"),
        ("a: !%1b[31m x", "line 1"),
        ("a: .nan", "not a number that JSON has"),
        ("a: -.inf", "not a number that JSON has"),
        ("a: 1.0e+999", "not a finite number"),
        ("a: " + "9" * 5000, "5000 digits"),
        ("a: 0x" + "f" * 100, "digits"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' occurs twice"),
        ("[a]: 1", "a key must be a text"),
        ("? {a: b}\n: 1", "a key must be a text"),
        ("a: &x [*x]", "names nothing, or what it is part of"),
        ("a: *nowhere", "names nothing"),
        ("a: [", "line"),
        ("a:\n\t- b", "line 2"),
        ("a: {<<: 1}", "only mappings can be merged"),
        ("a: \x00", "#x0000"),
        ("!!int x", "invalid literal"),
        ("!!bool 7", "tag !!bool"),
        # What libyaml and PyYAML's own parser do not read alike.
        ('a: "\\ud800"', "half of a surrogate pair"),
        ('"\\udfff": a', "half of a surrogate pair"),
        ("a:\tb", "line 1"),
        ("a: b\n\ufeffc: d", r"U\+FEFF"),
        ("a: b\u2028c: d", r"U\+2028"),
        ("# x\u2029a: b", r"U\+2029"),
        ("a: b\x85c: d", r"U\+0085"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        read(text)


def test_each_limit_is_held_and_what_is_at_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "YAML_VALUES", 20_000)  # reading all takes a second
    deep = "[" * limits.YAML_DEPTH + "]" * limits.YAML_DEPTH
    assert json.dumps(read(deep)[0]) == deep
    with pytest.raises(ValueError, match="nested deeper than 100"):
        read(f"[{deep}]")
    # A list and its items.
    wide = "- 1\n" * (limits.YAML_VALUES - 1)
    assert len(read(wide)[0]) == limits.YAML_VALUES - 1
    with pytest.raises(ValueError, match="more than 20000 values"):
        read(f"{wide}- 1\n")
    monkeypatch.undo()
    long = "a" * (limits.YAML_SIZE - 3)
    assert read(f"- {long}\n") == ([long],)
    with pytest.raises(ValueError, match="characters, more than the limit"):
        read(f"- {long}a\n")
    digits = "9" * limits.DIGITS
    assert read(digits) == (int(digits),)


def test_what_is_not_in_blocks_has_limits_of_its_own() -> None:
    long = "a" * limits.YAML_OTHER_SIZE
    assert read(long) == (long,)
    with pytest.raises(ValueError, match="in other forms than block lists and mappings"):
        read(f"{long}a")
    assert Budget().events == limits.YAML_OTHER_EVENTS
    # Begin and end of the stream, the document and the list.
    wide = "[" + "1," * 94 + "]"
    assert list(yaml_values.documents(wide, Budget(events=100))) == [[1] * 94]
    with pytest.raises(ValueError, match="in other forms than block lists and mappings"):
        list(yaml_values.documents(wide.replace("[", "[1,"), Budget(events=100)))


def test_texts_that_come_together_share_one_limit() -> None:
    budget = Budget(events=100)
    text = "[" + "1," * 50 + "]"
    assert list(yaml_values.documents(text, budget))
    with pytest.raises(ValueError, match="in other forms"):
        list(yaml_values.documents(text, budget))


def doubled(first: str, row: str, count: int) -> str:
    """Return mappings of which each uses the one before ten times."""
    rows = (f"a{number}: &a{number} {row % ','.join([f'*a{number - 1}'] * 10)}\n" for number in range(1, count))
    return f"a0: &a0 {first}\n{''.join(rows)}"


@pytest.mark.parametrize(
    "text",
    [
        doubled("[x,x,x,x]", "[%s]", 10),
        doubled("{k: v}", "{<<: [%s]}", 4000),
        "a: &a " + "x" * 1_000_000 + "\nb: [" + "*a," * 1000 + "]",
        "[" * 50_000 + "]" * 50_000,
        "- " * 50_000,
        "{a: " * 50_000,
        "a: " + ":59" * 200_000,
        "a: " + "1_" * 200_000,
    ],
)
def test_bombs_end_soon(text: str) -> None:
    began = time.process_time()
    with suppress(ValueError):
        read(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("release", operator_manifests.RELEASES)
def test_the_operators_manifest_is_far_below_the_limits(release: str) -> None:
    text = operator_manifests.real_manifest(release).read_text(encoding="utf-8")
    assert read(text) == tuple(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    assert len(text) < limits.YAML_SIZE / 2
