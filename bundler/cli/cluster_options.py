"""Options that say which cluster is meant, and what is done there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., object])
_Result = TypeVar("_Result")


def cluster(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """Which cluster, and by which program; the command gets it as ``kubectl``."""

    @functools.wraps(command)
    def with_kubectl(*, program: str | None, kubeconfig: str | None, context: str | None, **others: object) -> _Result:
        from bundler.effects.kubectl import Kubectl  # noqa: PLC0415  (help stays quick)

        return command(kubectl=Kubectl.find(program, kubeconfig=kubeconfig, context=context), **others)

    wrapped: Callable[..., _Result] = with_kubectl
    for option in (
        click.option("--context", metavar="NAME", help="Context of the kubeconfig.  [default: the current one]"),
        click.option(
            "--kubeconfig", metavar="FILE", help="File that says how to reach the cluster.  [default: kubectl's]"
        ),
        click.option(
            "--kubectl",
            "program",
            metavar="PROGRAM",
            help="kubectl or oc.  [default: the first on PATH, kubectl before oc]",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def secret_files(command: _Command) -> _Command:
    """``--secret``, repeatable; the command gets ``secrets``."""
    return click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="[NAMESPACE/]NAME=FILE",
        help="Fill in a Secret from a file: its manifest, KEY=VALUE lines or, for a pull secret, the file that "
        "`skopeo login` wrote; repeatable. The cluster must have all other Secrets already.",
    )(command)


def install_part(command: _Command) -> _Command:
    """``--part all|admin|tenant``."""
    return click.option(
        "--part",
        type=click.Choice(["all", "admin", "tenant"]),
        default="all",
        show_default=True,
        help="admin: CRDs, operator and namespaces; tenant: the rest, which needs rights in its namespaces only.",
    )(command)


def read_features(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """What to ask of the online server; the command gets it as ``read``."""

    @functools.wraps(command)
    def with_read(*, features: tuple[str, ...], entity: tuple[str, ...], **others: object) -> _Result:
        from bundler.steps.install.online_check import FeatureQuery  # noqa: PLC0415  (help stays quick)

        return command(read=FeatureQuery.parse(features, entity), **others)

    wrapped: Callable[..., _Result] = with_read
    wrapped = click.option(
        "--entity", multiple=True, metavar="JOIN_KEY=VALUE", help="Entity to read features of; repeatable."
    )(wrapped)
    return click.option(
        "--feature",
        "features",
        multiple=True,
        metavar="VIEW:FEATURE",
        help="Feature to read from the online server at the end; repeatable.",
    )(wrapped)
