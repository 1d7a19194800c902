"""Whatever a value looks like, it is read back as itself, by readers of YAML 1.1 and of YAML 1.2."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import SpecError
from bundler.kube import yaml_text, yaml_values
from bundler.model.descriptor import Json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "yes",
        "No",
        "on",
        "y",
        "0123",
        "0o17",
        "1e3",
        "1_000",
        "0x1F",
        "1:20",
        "null",
        "~",
        ".inf",
        "",
        " ",
        "a: b",
        "- a",
        "#a",
    ]
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\u2029", "\ufeff"])
def test_what_some_readers_take_for_a_line_end_is_escaped(letter: str) -> None:
    value: dict[str, Json] = {"a": f"0\n{letter}b", "c": letter}
    text = yaml_text.dump(value)
    assert letter not in text
    assert yaml_values.read(text, "x") == (value,) == (yaml.safe_load(text),)


@settings(deadline=None)
@given(VALUES)
def test_a_document_reads_back(value: Any) -> None:
    assert yaml.safe_load(yaml_text.dump(value)) == value


@settings(deadline=None)
@given(VALUES)
def test_a_block_after_a_key_reads_back_at_any_indentation(value: Any) -> None:
    assert yaml.safe_load(f"key:{yaml_text.block(value, 2)}\nend: true\n") == {"key": value, "end": True}
    nested = f"outer:\n    key:{yaml_text.block(value, 6)}\n    end: true\n"
    assert yaml.safe_load(nested) == {"outer": {"key": value, "end": True}}


@settings(deadline=None)
@given(TEXTS)
def test_a_scalar_stays_on_its_line(text: str) -> None:
    written = yaml_text.scalar(text)
    assert "\n" not in written
    assert yaml.safe_load(f"- key: {written} # comment") == [{"key": text}]


# What sigs.k8s.io/yaml (go-yaml) takes for something else than text, after the YAML 1.1 and 1.2 type repositories.
OTHER_TYPES = re.compile(
    r"[-+]?(\d[\d_]*)?\.?\d+([eE][-+]?\d+)?|0[xob][0-9a-fA-F_]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)|~|"
    r"[yYnN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|true|True|TRUE|false|False|FALSE|null|Null|NULL|<<|="
)


@settings(deadline=None)
@given(st.from_regex(OTHER_TYPES, fullmatch=True))
def test_what_any_reader_takes_for_another_type_is_quoted(text: str) -> None:
    assert yaml_text.scalar(text).startswith('"')
    assert yaml_text.dump({text: text}).startswith('"')


@pytest.mark.parametrize(
    "text", ["registry.internal:5000/feast/app@sha256:00", "feast apply", "/opt/feast", "driver_stats", "Europe/Berlin"]
)
def test_ordinary_text_needs_no_quotes(text: str) -> None:
    assert yaml_text.scalar(text) == text


def test_texts_of_several_lines_are_literal_blocks() -> None:
    assert yaml_text.dump({"redis": "host: a\nport: 1\n"}) == "redis: |\n  host: a\n  port: 1\n"


def test_repeated_values_are_written_out_and_not_aliased() -> None:
    shared: Any = {"name": "credentials"}
    assert "&" not in yaml_text.dump([shared, shared])


def test_a_template_may_not_write_a_mapping_as_a_scalar() -> None:
    with pytest.raises(TypeError):
        yaml_text.scalar({})


def test_what_is_not_yaml_is_refused_by_file() -> None:
    with pytest.raises(SpecError, match=r"^install\.yaml: not YAML"):
        yaml_values.read("a: [", "install.yaml")
    assert yaml_values.read("---\n---\na: 1\n", "x") == ({"a": 1},)


def test_comments_are_prefixed_line_by_line() -> None:
    assert yaml_text.comment("why\n\nand how\n", 2) == "  # why\n  #\n  # and how"
