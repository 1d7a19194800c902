"""What a feature_store.yaml says, as far as building and deploying depend on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bundler.errors import SpecError
from bundler.model import yaml_document
from bundler.model.descriptor import Json
from bundler.model.yaml_document import Document, DocumentProblem

FILE_NAME: Final = "feature_store.yaml"
# Feast expands variables in the text before it parses it (os.path.expandvars): $NAME and ${NAME}, no defaults.
_VARIABLE: Final = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})", re.ASCII)
_WITH_DEFAULT: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?[-=?+])", re.ASCII)
# What both Feast and the operator's feastProject take. Feast's message allows hyphens for stores other than SQLite, but
# its check never sees the store and refuses them always (0.61 to 0.66).
_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*", re.ASCII)
# Section -> the key that names its type. A bare text stands for the type too, but for the registry's path.
_SECTIONS: Final = {
    "online_store": "type",
    "offline_store": "type",
    "registry": "registry_type",
    "batch_engine": "type",
    "feature_server": "type",
    "auth": "type",
}
# Without these Feast's own defaults would be meant; in the others a mapping must name its type.
_DEFAULT_TYPES: Final = {
    "online_store": "sqlite",
    "offline_store": "dask",
    "registry": "file",
    "feature_server": "local",
}
_SECRET_KEY: Final = re.compile(
    r"(password|passwd|passphrase|pwd|secret|token|(api|secret|access|account)[._]?key|private_key_content"
    r"|credentials|credentials_json)$",
    re.IGNORECASE,
)
_SECRETS_IN_TEXT: Final = (
    re.compile(r"://[^/@:\s]*:(?P<secret>[^@\s]+)@"),
    re.compile(r"(?:password|passwd|pwd|accountkey|sharedaccesskey|secret_?key)=(?P<secret>[^,\s&;]+)", re.IGNORECASE),
    re.compile(r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----)"),
)


@dataclass(frozen=True)
class RegistryUrl:
    """Where the Feast registry lies: the key that says so, and its text, which may hold a password."""

    key: str
    text: str

    @property
    def scheme(self) -> str:
        """What stands before ``://``, such as ``s3`` or ``postgresql+psycopg``; empty for a path."""
        return self.text.partition("://")[0] if "://" in self.text else ""

    @property
    def is_variable(self) -> bool:
        """Whether only the cluster knows which scheme it is."""
        return "$" in (self.scheme or self.text)


@dataclass(frozen=True)
class FeatureStoreConfig:
    """A parsed feature_store.yaml.

    ``text`` is what was parsed and ``document`` its value; ``variables`` are the names of its ``${VARIABLES}``, sorted.
    Stores are as they are written, with the type where a bare text stood for it. ``source`` is the document that people
    wrote, also where the text was derived from it, and ``file`` its name.
    """

    project: str
    provider: str
    online_store: Mapping[str, Json]
    offline_store: Mapping[str, Json]
    registry: Mapping[str, Json]
    auth: str
    variables: tuple[str, ...]
    text: str
    document: Mapping[str, Json]
    file: str
    source: Document

    def place(self, *path: str | int) -> str:
        """Return where a value is written, for people: ``FILE:LINE: online_store.type``."""
        return f"{self.file}:{self.source.line(path)}: {yaml_document.dotted(path)}"

    @property
    def online_type(self) -> str:
        """Type of the online store; Feast's default is sqlite, and ``none`` says that there is no store."""
        return _kind(self.online_store, "online_store")

    @property
    def offline_type(self) -> str:
        """Type of the offline store; Feast's default is dask ("file" is its older name)."""
        return _kind(self.offline_store, "offline_store")

    @property
    def registry_type(self) -> str:
        """Type of the registry; Feast's default is a file."""
        return _kind(self.registry, "registry")

    @property
    def registry_urls(self) -> tuple[RegistryUrl, ...]:
        """Where the Feast registry is written, and where it is read if that is elsewhere."""
        texts = [(key, self.registry.get(key)) for key in ("path", "read_path")]
        return tuple(RegistryUrl(key, text) for key, text in texts if isinstance(text, str))

    @property
    def has_mcp(self) -> bool:
        """Whether the registry server offers MCP as well."""
        mcp = self.registry.get("mcp")
        return isinstance(mcp, dict) and mcp.get("enabled") is True

    def children(self, name: str) -> Mapping[yaml_document.Path, Json]:
        """Return the types of the stores that a hybrid ``online_store`` or ``offline_store`` delegates to, by place."""
        children = self.section(name).get(f"{name}s")
        rows = enumerate(children) if isinstance(children, list) else ()
        return {
            (name, f"{name}s", index, "type"): child.get("type") for index, child in rows if isinstance(child, dict)
        }

    def section(self, name: str) -> Mapping[str, Json]:
        """Return another section, empty where the file has none; a bare text stands for its type, as in Feast."""
        return _section(self.document, name)


def parse(text: str, file: str) -> FeatureStoreConfig:
    """Read the text of a feature_store.yaml.

    Raises:
        SpecError: every problem found is a line of its details: no YAML, no mapping, a section that Feast would not
            take, or a project whose name Feast or the operator refuses.
    """
    document = yaml_document.load(text)
    problems = [_explained(problem, text) for problem in document.problems]
    value = document.value if isinstance(document.value, dict) else {}
    if isinstance(document.value, dict):
        problems += _problems(document.value, document)
    elif not problems:
        problems.append(DocumentProblem(1, "expected a mapping with 'project', 'registry', 'online_store', ..."))
    if problems:
        raise yaml_document.refusal("The feature store", file, problems)
    return FeatureStoreConfig(
        project=str(value["project"]),
        provider=str(value.get("provider", "local")),
        online_store=_section(value, "online_store"),
        offline_store=_section(value, "offline_store"),
        registry=_section(value, "registry"),
        auth=_kind(_section(value, "auth"), "auth"),
        variables=variables(value),
        text=text,
        document=value,
        file=file,
        source=document,
    )


def _explained(problem: DocumentProblem, text: str) -> DocumentProblem:
    lines = text.splitlines()
    if problem.line <= len(lines) and re.search(r"[{,\[][^'\"]*\$\{", lines[problem.line - 1]):
        return replace(problem, sentence=f"{problem.sentence} Put quotes around ${{...}} inside of braces.")
    return problem


def _problems(value: Mapping[str, Json], document: Document) -> Iterator[DocumentProblem]:
    project = value.get("project")
    if not isinstance(project, str) or not _PROJECT.fullmatch(project):
        seen = document.texts.get(("project",), "absent")
        yield DocumentProblem(
            document.line(("project",)),
            f"project: {seen!r:.80} is not a project name. Use letters, digits and underscores, "
            "beginning with a letter; quote it where it is a number.",
        )
    if not isinstance(value.get("provider", "local"), str):
        yield DocumentProblem(document.line(("provider",)), "provider: a text is wanted, e.g. local.")
    yield from _defaults(document)
    if value.get("registry") is None:
        yield DocumentProblem(document.line(("registry",)), "registry: is missing. Feast does not start without.")
    for name, key in _SECTIONS.items():
        place = document.line((name,))
        match value.get(name):
            case None | str():
                pass
            case dict(section) if key in section:
                if not isinstance(section[key], str):
                    yield DocumentProblem(
                        document.line((name, key)), f"{name}.{key}: {section[key]!r:.80} is not a text."
                    )
            case dict(_) if name in _DEFAULT_TYPES:
                pass
            case dict(_):
                yield DocumentProblem(place, f"{name}: its {key!r} is missing. Add it.")
            case other:
                yield DocumentProblem(place, f"{name}: expected a mapping, got {other!r:.80}.")


def _defaults(document: Document) -> Iterator[DocumentProblem]:
    for path, text in document.texts.items():
        if path and path[0] in _SECTIONS and (match := _WITH_DEFAULT.search(text)):
            yield DocumentProblem(
                document.line(path),
                f"{yaml_document.dotted(path)}: Feast knows no defaults of variables, and would take the text of "
                f"{match[0]}...}} as it stands. Write ${{{match[1]}}}.",
            )


def _section(document: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = document.get(name)
    if name == "online_store" and name in document and (value is None or value in ("none", "null")):
        return {"type": "none"}  # Feast's way to have no online store, unlike a file that says nothing of it
    if isinstance(value, str):
        return {"path" if name == "registry" else _SECTIONS.get(name, "type"): value}
    return value if isinstance(value, dict) else {}


def _kind(section: Mapping[str, Json], name: str) -> str:
    value = section.get(_SECTIONS[name])
    return value if isinstance(value, str) else _DEFAULT_TYPES.get(name, "no_auth")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace the variables of a feature_store.yaml as Feast does; what is not known stays."""
    return _VARIABLE.sub(lambda match: values.get(match[1] or match[2], match[0]), text)


def _variables(value: Json) -> Iterator[str]:
    """Yield the variables in keys and values; a comment may mention one without using it."""
    if isinstance(value, str):
        yield from (match[1] or match[2] for match in _VARIABLE.finditer(value))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _variables(key)
            yield from _variables(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _variables(inner)


def variables(value: Json) -> tuple[str, ...]:
    """Return the names of the ``${VARIABLES}`` in a part of a feature_store.yaml, sorted."""
    return tuple(sorted(set(_variables(value))))


def literal_credentials(value: Mapping[str, Json]) -> tuple[yaml_document.Path, ...]:
    """Return where a credential is written out instead of being a ``${VARIABLE}``; never the value."""
    return tuple(_literals(dict(value), ()))


def refuse_credentials(config: FeatureStoreConfig) -> None:
    """Raise ``SpecError`` where a credential is written out: it would be in the image for good."""
    if places := literal_credentials(config.document):
        raise SpecError(
            f"A credential is written out in {config.file}; it would be baked into the image.",
            remedy="Replace it with a ${VARIABLE}, which a Secret fills in on the cluster.",
            details=tuple(config.place(*path) for path in places),
        )


def _literals(value: Json, path: yaml_document.Path) -> Iterator[yaml_document.Path]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if _SECRET_KEY.search(key) and _is_literal(inner):
                yield (*path, key)
            else:
                yield from _literals(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _literals(inner, (*path, position))
    elif isinstance(value, str):
        matches = (pattern.search(value) for pattern in _SECRETS_IN_TEXT)
        if any(match and _is_literal(match["secret"]) for match in matches):
            yield path


def _is_literal(value: Json) -> bool:
    if isinstance(value, str):
        return bool(value) and not _VARIABLE.search(value)
    return isinstance(value, int) and not isinstance(value, bool)
