"""The addresses in a rehearsal: which pod answers for which Service, as the cluster's DNS and kube-proxy would say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler.feast.emulation.pods import EmulatedService, Pod
from bundler.feast.emulation.store_servers import StoreServer

SOCKETS: Final = "/relay"
"""The folder of the relays' sockets, in every relay."""
_ADDRESSES_PER_NET: Final = 250
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Route:
    """How other pods reach a port of a pod: ``hosts`` resolve in every namespace, ``short`` in the pod's own.

    All names resolve to ``address``; ``target`` is the pod's port, ``socket`` the Unix socket that joins both relays.
    """

    pod: str
    namespace: str
    hosts: tuple[str, ...]
    short: str
    address: str
    port: int
    target: int
    socket: str


def routes(services: Mapping[str, Sequence[EmulatedService]], servers: Sequence[StoreServer]) -> tuple[Route, ...]:
    """Return a route to every Service (by the key of its pod) and store, each at a loopback address of its own."""
    targets = [(pod, service) for pod, offered in services.items() for service in offered]
    to_pods = [
        Route(
            pod=pod,
            namespace=service.namespace,
            hosts=service.hosts,
            short=service.name,
            address=_address(number),
            port=service.port,
            target=service.target,
            socket=f"{SOCKETS}/{number}",
        )
        for number, (pod, service) in enumerate(targets)
    ]
    for number, store in enumerate(servers, len(to_pods)):
        address, socket = _address(number), f"{SOCKETS}/{number}"
        to_pods.append(Route(store_pod(store), "", (store.host,), "", address, store.port, store.port, socket))
    return tuple(to_pods)


def key(pod: Pod) -> str:
    """Return what tells a pod from those of other namespaces."""
    return f"{pod.namespace}.{pod.name}"


def _address(number: int) -> str:
    return f"127.0.{1 + number // _ADDRESSES_PER_NET}.{1 + number % _ADDRESSES_PER_NET}"


def store_pod(store: StoreServer) -> str:
    """Return the name of the pod that runs a store's server."""
    return _NOT_IN_A_NAME.sub("-", f"{store.kind}-{store.host}-{store.port}")
