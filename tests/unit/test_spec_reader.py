from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import SpecError
from bundler.model import spec_reader
from bundler.model.companions import CompanionPolicy, ImageWish

ROOT = Path(__file__).resolve().parents[2]
GOOD = (ROOT / "examples/driver-stats/bundle.yaml").read_text()


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        spec_reader.read(text, "bundle.yaml")
    return caught.value.details or (caught.value.problem,)


@pytest.mark.parametrize("example", ["driver-stats", "official"])
def test_the_examples_are_specs(example: str) -> None:
    path = ROOT / "examples" / example / "bundle.yaml"
    assert spec_reader.read(path.read_text(), str(path)).feast.version == "0.61.0"


def test_a_misspelt_key_is_named_with_its_line_and_the_right_spelling() -> None:
    (problem,) = problems(GOOD.replace("requirements:", "requirments:"))
    line = GOOD.splitlines().index("requirements:") + 1
    assert problem == f"bundle.yaml:{line}: requirments: unknown key; did you mean 'requirements'?"


def test_a_misspelt_key_deep_in_the_spec_is_compared_with_the_keys_of_that_place() -> None:
    (problem,) = problems(GOOD.replace("    schedule:", "    schedul:"))
    assert "deployment.cronJob.schedul: unknown key; did you mean 'schedule'?" in problem


def test_every_problem_is_reported_at_once() -> None:
    text = GOOD.replace("name: driver-stats\nversion", "name: Driver\nversion").replace(
        "debian: bookworm\n\n", "{}\n\n"
    )
    text = text.replace("linux/amd64", "linux/s390x")
    found = problems(text.replace("base:\n  {}", "base: {}"))
    assert [problem.split(": ")[1] for problem in found] == ["name", "base", "platforms[0]"]


def test_a_number_where_a_text_is_wanted_is_shown_as_written_with_how_to_quote_it() -> None:
    (problem,) = problems(GOOD.replace("version: 0.1.0", "version: 0.10"))
    assert "version: YAML reads 0.10 as float, but a string is expected. Quote it: '0.10'." in problem


def test_a_key_that_occurs_twice_is_refused() -> None:
    (problem,) = problems(GOOD + "name: other\n")
    assert problem.endswith("name: the key occurs twice. Keep one of them.")


def test_a_base_is_either_debian_or_an_image() -> None:
    (problem,) = problems(GOOD.replace("  debian: bookworm\n\nreq", "  debian: bookworm\n  image: a/b:c\n\nreq"))
    assert "exactly one of 'debian' and 'image' must be given" in problem


def test_text_that_is_no_yaml_is_refused_with_its_line() -> None:
    (problem,) = problems("name: [\nversion: 1")
    assert problem.startswith("bundle.yaml:2: not YAML")


def test_the_fingerprint_ignores_comments_order_and_defaults_written_out() -> None:
    lines = GOOD.replace("name: driver-stats\nversion: 0.1.0", "version: 0.1.0\nname: driver-stats") + "images: []\n"
    assert spec_reader.fingerprint(spec_reader.read(lines, "x")) == spec_reader.fingerprint(spec_reader.read(GOOD, "x"))
    other = spec_reader.read(GOOD.replace("version: 0.1.0", "version: 0.1.1"), "x")
    assert spec_reader.fingerprint(other) != spec_reader.fingerprint(spec_reader.read(GOOD, "x"))


def test_the_committed_schema_is_the_one_of_the_code() -> None:
    assert json.loads((ROOT / "docs/bundle.schema.json").read_text()) == spec_reader.schema()  # else: make schema


@given(st.text(max_size=200))
def test_any_text_is_a_spec_or_a_clear_error(text: str) -> None:
    with pytest.raises(SpecError):
        spec_reader.read(text, "bundle.yaml")


SMALL = """\
name: a
version: "1"
feast: {version: 0.61.0}
base: {debian: bookworm}
registry: {host: r}
operator: {version: 0.61.0, preinstalled: true}
deployment: {name: a}
"""
KEYS = ("version", "feast", "base", "registry", "deployment", "repo", "packages", "platforms", "tenants", "mirrors")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(KEYS), ANYTHING)
def test_any_value_in_the_place_of_a_part_is_a_clear_error_or_fits(key: str, value: object) -> None:
    text = "".join(line for line in SMALL.splitlines(keepends=True) if not line.startswith(f"{key}:"))
    try:
        spec_reader.read(text + json.dumps({key: value})[1:-1] + "\n", "bundle.yaml")
    except SpecError as error:
        assert all(re.match(r"bundle\.yaml:\d+: ", line) for line in error.details)  # noqa: PT017  (some values fit)
        assert error.details  # noqa: PT017


def test_a_file_that_is_no_mapping_says_what_it_should_be() -> None:
    assert problems("- a\n") == ("bundle.yaml:1: expected a mapping with 'name', 'version', 'base', ...",)
    assert problems("") == problems("- a\n")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            "preinstalled: true",
            "preinstalled: 'yes'",
            "operator.preinstalled: YAML reads yes as text, but true or false",
        ),
        ("registry: {host: r}", "registry: r", "registry: YAML reads r as text, but a mapping is expected"),
        ("registry: {host: r}", "registry:", "registry: is empty, but a mapping is expected"),
        ("{host: r}", "{host: {a: b}}", "registry.host: here is a mapping, but a string is expected."),
        (
            "{host: r}",
            "{host: null}",
            "registry.host: YAML reads null as null, but a string is expected. Quote it: 'null'.",
        ),
        ("{host: r}", "{host: !!int x}", "registry.host: 'x' cannot be read as int."),
        ("{host: r}", "{host: https://r/}", "registry.host: not a registry host: 'https://r/'"),
        ("{name: a}", "{name: a, image_pull_policy: Never}", "did you mean 'imagePullPolicy'?"),
        (
            "{name: a}",
            "{name: a, imagePullPolicy: never}",
            "'never' is not one of 'Always', 'IfNotPresent' or 'Never'.",
        ),
        (
            "name: a",
            "name: a\nmirrors: [{source: https://quay.io, location: m}]",
            "is not a registry host, or host and path",
        ),
        ("{version: 0.61.0}", "{version: 0.61.0, extras: ['a]==1']}", "feast.extras[0]: 'a]==1' is not a pip extra"),
        (
            "{name: a}",
            "{name: a, cronJob: {schedule: 99 * * * *}}",
            "the minute '99' is not a number, range or step of 0-59",
        ),
        ("{name: a}", "{name: a, cronJob: {schedule: daily}}", "'daily' is not a cron schedule (five fields"),
        ("{version: 0.61.0}", "{version: 0.61}", "feast.version: YAML reads 0.61 as float, but a string is expected."),
        ("{version: 0.61.0}", "{version: new}", "feast.version: not a version: 'new' (expected e.g. 0.61.0)."),
        (
            "name: a",
            "name: a\nplatforms: linux/amd64",
            "platforms: YAML reads linux/amd64 as text, but a list is expected",
        ),
        ("name: a", "name: a\nplatforms: []", "platforms: "),
        ("name: a", "name: a\nimages: ['!']", "images[0]: "),
    ],
)
def test_a_wrong_value_is_shown_as_written_with_what_is_wanted(before: str, after: str, sentence: str) -> None:
    (problem,) = problems(SMALL.replace(before, after, 1))
    assert sentence in problem


def test_the_small_spec_of_these_tests_is_one() -> None:
    assert spec_reader.read(SMALL, "x").name == "a"


def test_an_image_is_a_reference_or_says_what_comes_along() -> None:
    plain = spec_reader.read(GOOD + "images: [quay.example/a:1]\n", "bundle.yaml")
    same = spec_reader.read(GOOD + "images: [{image: quay.example/a:1, companions: true}]\n", "bundle.yaml")
    assert plain.images == same.images
    assert spec_reader.fingerprint(plain) == spec_reader.fingerprint(same)
    assert plain.model_dump(mode="json", exclude_defaults=True)["images"] == ["quay.example/a:1"]
    for said, wish in (
        ("companions: required", ImageWish(CompanionPolicy.REQUIRED)),
        ("companions: false", ImageWish(CompanionPolicy.UNWANTED)),
        ("platforms: all", ImageWish(all_platforms=True)),
    ):
        spec = spec_reader.read(GOOD + f"images: [{{image: quay.example/a:1, {said}}}]\n", "bundle.yaml")
        assert spec.images[0].wish == wish
        assert spec_reader.fingerprint(spec) != spec_reader.fingerprint(plain)
    assert "companions: 'maybe' is not one of" in problems(GOOD + "images: [{image: a/b, companions: maybe}]\n")[0]
