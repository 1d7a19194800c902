from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import SpecError
from bundler.feast.stores import feature_store_yaml as feature_store
from bundler.model import yaml_document

YAML = """\
project: fraud
registry: /feast-data/registry.db
online_store:
  type: redis
  connection_string: ${REDIS_HOST}:6379,password=$REDIS_PASSWORD  # not ${THIS}
# nor ${THAT}
"""


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        feature_store.parse(text, "f")
    return caught.value.details


def test_what_is_not_said_is_what_feast_takes_for_it() -> None:
    config = feature_store.parse("project: a\nregistry: s3://b/r.db\n", "f")
    assert (config.provider, config.auth) == ("local", "no_auth")
    assert (config.online_type, config.offline_type, config.registry_type) == ("sqlite", "dask", "file")
    assert config.registry == {"path": "s3://b/r.db"}


def test_a_bare_text_is_the_type_of_a_section() -> None:
    config = feature_store.parse("project: a\nregistry: r\nonline_store: redis\nbatch_engine: ray.engine\n", "f")
    assert config.online_store == {"type": "redis"}
    assert config.section("batch_engine") == {"type": "ray.engine"}
    assert config.section("feature_server") == {}


@pytest.mark.parametrize("value", ["null", "none", "'null'", ""])
def test_an_online_store_can_be_none_at_all(value: str) -> None:
    assert feature_store.parse(f"project: a\nregistry: r\nonline_store: {value}\n", "f").online_type == "none"


def test_variables_are_found_but_not_in_comments() -> None:
    assert feature_store.parse(YAML, "f").variables == ("REDIS_HOST", "REDIS_PASSWORD")


def test_variables_are_what_feast_expands() -> None:
    text = "project: a\nregistry: r\nx: ['a # ${A}', '$B$C', '${D:-x}', '${}', $5, 'a$', '\u00e9$\u00e9']\n${E}: 1\n"
    assert feature_store.parse(text, "f").variables == ("A", "B", "C", "E")


@pytest.mark.parametrize("project", ["with space", "''", "-x", "_x", "a-b", "~", "a.b", "\u00e9"])
def test_a_project_that_feast_or_the_operator_refuses_is_refused_with_its_line(project: str) -> None:
    (problem,) = problems(YAML.replace("project: fraud", f"\nproject: {project}"))
    assert problem.startswith("f:2: project: ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("registry: r\n", "f:1: project: 'absent' is not a project name."),
        ("project: 2026\nregistry: r\n", "f:1: project: '2026' is not a project name."),
        ("project: a\n", "f:1: registry: is missing."),
        ("project: a\nregistry: [r]\n", "f:2: registry: expected a mapping, got ['r']."),
        ("project: a\nregistry: r\nonline_store:\n  type: 5\n", "f:4: online_store.type: 5 is not a text."),
        ("project: a\nregistry: r\nbatch_engine: {x: y}\n", "f:3: batch_engine: its 'type' is missing."),
        ("project: a\nregistry: r\nauth: {client_id: y}\n", "f:3: auth: its 'type' is missing."),
        ("project: a\nregistry: r\nprovider: [x]\n", "f:3: provider: a text is wanted"),
        ("project: a\nregistry: r\nregistry: s\n", "f:3: registry: the key occurs twice."),
        ("project: a\nregistry: {path: ${R}}\n", "Put quotes around ${...} inside of braces."),
        (
            "project: a\nregistry: r\nonline_store:\n  type: redis\n  connection_string: ${REDIS:-redis:6379}\n",
            (
                "f:5: online_store.connection_string: Feast knows no defaults of variables, and would take the text of "
                "${REDIS:-...} as it stands. Write ${REDIS}."
            ),
        ),
        ("- a\n", "f:1: expected a mapping with 'project', 'registry', 'online_store', ..."),
        ("", "f:1: expected a mapping with 'project', 'registry', 'online_store', ..."),
    ],
)
def test_what_feast_would_not_take_is_refused_with_its_line(text: str, sentence: str) -> None:
    (problem,) = problems(text)
    assert sentence in problem


def test_every_problem_is_told_at_once() -> None:
    assert len(problems("project: a-b\nonline_store: [x]\nauth: {}\n")) == 4


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("online_store: {type: redis, connection_string: 'h:6379,password=hunter2'}", "online_store.connection_string"),
        ("offline_store: {type: postgres, password: hunter2}", "offline_store.password"),
        ("offline_store: {type: postgres, password: 12345}", "offline_store.password"),
        ("x: {registry_type: sql, path: 'postgresql://u:hunter2@h/d'}", "x.path"),
        ("x: {path: 'host=h password=hunter2'}", "x.path"),
        ("x: {aws_secret_access_key: hunter2}", "x.aws_secret_access_key"),
        ("auth: {type: oidc, client_secret: hunter2}", "auth.client_secret"),
        ("online_store: {type: hybrid, online_stores: [{type: redis, conf: {db_password: hunter2}}]}",
         "online_store.online_stores[0].conf.db_password"),
        ('x: {key: "-----BEGIN RSA PRIVATE KEY-----hunter2"}', "x.key"),
    ],
)  # fmt: skip
def test_a_literal_credential_is_found_by_its_place_and_never_shown(text: str, place: str) -> None:
    config = feature_store.parse(f"project: a\nregistry: r\n{text}\n", "f")
    [found] = feature_store.literal_credentials(config.document)
    assert yaml_document.dotted(found) == place


@pytest.mark.parametrize(
    "text",
    [
        "x: {password: '${P}', token: '', api_key: $K, use_token: true}",
        "x: {path: 'postgresql://${U}:${P}@h/d', private_key: /run/secrets/key.pem, credentials_path: /x}",
        "x: {path: 'h:6379,password=${P},ssl=true', url: 'http://h:80/x', key_ttl_seconds: 5}",
    ],
)
def test_a_variable_is_no_literal_credential(text: str) -> None:
    assert (
        feature_store.literal_credentials(feature_store.parse(f"project: a\nregistry: r\n{text}\n", "f").document) == ()
    )


@given(st.text(max_size=300))
def test_any_text_is_a_feature_store_or_a_clear_error(text: str) -> None:
    try:
        feature_store.parse(text, "f")
    except SpecError as error:
        assert all(line.startswith("f:") for line in error.details)  # noqa: PT017  (most are refused, some are not)
        assert error.details  # noqa: PT017


SECTIONS = (
    "project",
    "provider",
    "registry",
    "online_store",
    "offline_store",
    "batch_engine",
    "auth",
    "feature_server",
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "path", "password", "x"]), inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(SECTIONS), ANYTHING))
def test_any_value_of_a_section_is_a_clear_error_or_fits(value: dict[str, object]) -> None:
    try:
        config = feature_store.parse(json.dumps({"project": "a", "registry": "r", **value}), "f")
    except SpecError as error:
        assert error.details  # noqa: PT017  (some values fit)
    else:
        assert isinstance(feature_store.literal_credentials(config.document), tuple)
        assert all(isinstance(kind, str) for kind in (config.online_type, config.offline_type, config.registry_type))


def test_variables_are_expanded_as_feast_does() -> None:
    assert feature_store.expand("${A}:$B:${C}:$$", {"A": "1", "B": "2"}) == "1:2:${C}:$$"
