"""How the operator starts each server of a FeatureStore, and how the kubelet asks whether it serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bundler.feast.deployment.servers import METRICS_PORT, PORTS
from bundler.feast.emulation.container import Probe
from bundler.feast.operator.resource import Resource
from bundler.model.descriptor import Json

CRON_DEFAULT: Final = ("feast apply", "feast materialize-incremental $(date -u +'%Y-%m-%dT%H:%M:%S')")
_COMMANDS: Final = {
    "registry": ("serve_registry",),
    "online": ("serve", "-h", "0.0.0.0"),  # noqa: S104  (inside a pod)
    "offline": ("serve_offline", "-h", "0.0.0.0"),  # noqa: S104
    "ui": ("ui", "-h", "0.0.0.0"),  # noqa: S104
}
_WORKERS: Final = {
    "workers": "--workers",
    "workerConnections": "--worker-connections",
    "maxRequests": "--max-requests",
    "maxRequestsJitter": "--max-requests-jitter",
    "keepAliveTimeout": "--keep-alive-timeout",
    "registryTTLSeconds": "--registry_ttl_sec",
}


def command(resource: Resource, server: str) -> tuple[str, ...]:
    """Return a server's command; the image's entry point is always overridden."""
    settings = resource.settings(server)
    level = settings.get("logLevel")
    options = ("--log-level", level.upper()) if isinstance(level, str) else ()
    verb, *arguments = _COMMANDS[server]
    if server == "online" and settings.get("metrics") is True:
        arguments.insert(0, "--metrics")
    if server == "registry":
        arguments.append("--grpc" if resource.grpc else "--no-grpc")
        if resource.rest:
            arguments += ["--rest-api", "--rest-port", str(_port(resource, server, "registry-rest"))]
    if server == "online":
        arguments += _workers(settings.get("workerConfigs"))
    if resource.tls_secret(server):
        crt, key = _certificate(settings)
        arguments += ["--key", f"/tls/{server}/{key}", "--cert", f"/tls/{server}/{crt}"]
    return ("feast", *options, verb, *arguments, "-p", str(_port(resource, server, server)))


def _workers(configs: Json) -> list[str]:
    settings = configs if isinstance(configs, dict) else {}
    return [word for key, option in _WORKERS.items() if key in settings for word in (option, str(settings[key]))]


def _certificate(settings: Mapping[str, Json]) -> tuple[str, str]:
    tls = settings.get("tls")
    names = tls.get("secretKeyNames") if isinstance(tls, dict) else None
    keys = names if isinstance(names, dict) else {}
    return str(keys.get("tlsCrt") or "tls.crt"), str(keys.get("tlsKey") or "tls.key")


def _port(resource: Resource, server: str, name: str) -> int:
    return PORTS[name].chosen(tls=resource.tls_secret(server) is not None)


def service_ports(resource: Resource, server: str) -> dict[str, int]:
    """Return the ports of a server that a Service leads to, by the Service's name."""
    if server != "registry":
        return {server: _port(resource, server, server)}
    wanted = {"registry": resource.grpc, "registry-rest": resource.rest}
    return {name: _port(resource, server, name) for name, enabled in wanted.items() if enabled}


def container_ports(resource: Resource, server: str) -> dict[str, int]:
    """Return the ports that a server's container declares."""
    metrics = server == "online" and (
        resource.settings(server).get("metrics") is True
        or resource.get("services.onlineStore.serving.metrics.enabled") is True
    )
    return {**service_ports(resource, server), **({"metrics": METRICS_PORT} if metrics else {})}


def probe(resource: Resource, server: str) -> Probe:
    """Return the probe of a server; startup, liveness and readiness ask the same."""
    tls = resource.tls_secret(server) is not None
    if server == "online":
        return Probe(_port(resource, server, server), "/health", tls)
    if server == "registry" and not resource.grpc:
        return Probe(_port(resource, server, "registry-rest"), "/", tls)
    return Probe(_port(resource, server, server), None, tls)
