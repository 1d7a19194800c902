"""The names of Kubernetes as types: a text from a bundle or a cluster becomes one where it is read, or is refused.

Nothing that has such a type can be an option, a path, or part of a program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final, TypeVar

from bundler.kube.objects import KubeObject
from bundler.model.names import LABEL

_T = TypeVar("_T", bound="_Name")
_LONGEST: Final = 253  # letters (RFC 1123, as Kubernetes reads it)


class _Name(str):
    """A text that has the form of its class; ``form`` and ``what`` say which that is, and what it is called."""

    __slots__ = ()
    form: ClassVar[re.Pattern[str]]
    what: ClassVar[str]

    def __new__(cls: type[_T], text: str) -> _T:  # noqa: PYI019  (Self: not before Python 3.11)
        """Read a name; raise ``ValueError`` where it is not one."""
        if len(text) > _LONGEST or not cls.form.fullmatch(text):
            raise ValueError(f"{text!r:.200} is not a Kubernetes {cls.what}")
        return str.__new__(cls, text)


class DnsLabel(_Name):
    """A DNS label (RFC 1123): the name of a namespace, a container, a Service."""

    __slots__ = ()
    form = re.compile(LABEL)
    what = "DNS label"


class DnsSubdomain(_Name):
    """A DNS subdomain (RFC 1123): the name of most objects, of API groups and of resources in them."""

    __slots__ = ()
    form = re.compile(rf"{LABEL}(?:\.{LABEL})*")
    what = "DNS subdomain"


class PathSegment(_Name):
    """A name of the widest kind, that of roles and bindings: one part of a path, e.g. ``system:node``."""

    __slots__ = ()
    form = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:@_-]*[A-Za-z0-9])?")
    what = "name"


class Kind(_Name):
    """A kind, e.g. ``ConfigMap``."""

    __slots__ = ()
    form = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
    what = "kind"


class ApiVersion(_Name):
    """``GROUP/VERSION``, or the version alone of the core group."""

    __slots__ = ()
    form = re.compile(rf"(?:{LABEL}(?:\.{LABEL})*/)?v[0-9][a-z0-9]{{0,61}}")
    what = "API version"


# Objects whose names become parts of DNS names or have always been held to their rules. All others are path segments.
_LABELLED: Final = frozenset({"Namespace", "Service"})
_ROLES: Final = frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "APIService"})


def faults(resource: KubeObject) -> Iterator[str]:
    """Yield what in the identity of an object is not a name, and in the Secrets that it pulls images with.

    A list is a fault, too: kubectl would apply what is in it, which no plan and no question shows.
    """
    if "items" in resource.content or resource.kind.endswith("List"):
        yield f"{resource.kind!r:.80} named {resource.name!r:.80} is a list of objects"
    name_type = PathSegment if resource.kind in _ROLES else DnsLabel if resource.kind in _LABELLED else DnsSubdomain
    asked: list[tuple[type[str], str]] = [
        (Kind, resource.kind),
        (ApiVersion, resource.api_version),
        (name_type, resource.name),
    ]
    asked += [(DnsLabel, resource.namespace)] if resource.get("metadata", "namespace") is not None else []
    asked += [(DnsSubdomain, row.text("name")) for row in resource.rows("imagePullSecrets")]
    yield from (fault for form, text in asked if (fault := _fault(form, text)))


def _fault(form: type[str], text: str) -> str:
    try:
        form(text)
    except ValueError as error:
        return str(error)
    return ""
