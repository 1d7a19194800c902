"""The meaning of skopeo's error messages, and what to do about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bundler.effects.skopeo import policy
from bundler.effects.skopeo import source as skopeo_source
from bundler.effects.skopeo.source import SkopeoSource
from bundler.errors import BundlerError, RegistryError, ToolFailedError, VerificationError


@dataclass(frozen=True)
class _Complaint:
    """Texts (lower case) by which a message is recognized, and the error that replaces it."""

    marks: tuple[str, ...]
    error: type[BundlerError]
    problem: str
    remedy: str


# The first match counts: specific texts come first.
_COMPLAINTS: Final = (
    _Complaint(
        ("invalid reference format",),
        ToolFailedError,
        "skopeo does not take {source}: for one, it knows no registries by IPv6 address.",
        "Correct the reference, or give a host name for the address, or leave out --reader skopeo.",
    ),
    _Complaint(
        ("no space left on device", "disk quota exceeded"),
        ToolFailedError,
        "The disk is full: no space is left for {source}.",
        "Free some, or choose another folder (--cache-dir).",
    ),
    _Complaint(
        ("digest did not match",),
        VerificationError,
        "{host} sent content for {source} that does not match its digest.",
        "Tell those who run the registry, and use another source meanwhile.",
    ),
    _Complaint(
        (policy.REJECTED,),
        ToolFailedError,
        "The signature policy of this host (policy.json) refuses {source}.",
        "Sign the image, or let /etc/containers/policy.json accept it. Without --reader skopeo bundler itself reads "
        "registries, by digest.",
    ),
    _Complaint(
        ("policy.json",),
        ToolFailedError,
        "skopeo does not have a policy of the images that it may read.",
        "Install one: sudo apt-get install golang-github-containers-common (Fedora, RHEL: containers-common).",
    ),
    _Complaint(
        ("cannot connect to the docker daemon", "docker.sock"),
        ToolFailedError,
        "The Docker daemon, which {source} is read from, cannot be reached.",
        "Start it, or set DOCKER_HOST, or use another source for the image.",
    ),
    _Complaint(
        ("http response to https client",),
        RegistryError,
        "{host} speaks plain HTTP.",
        "Name it among the 'mirrors' of the spec: source: {host}, location: {host}, insecure: true.",
    ),
    _Complaint(
        ("x509:", "certificate signed by", "certificate is not trusted"),
        RegistryError,
        "The certificate of {host} is not trusted here.",
        "Give its CA (--ca-cert), or put it into /etc/containers/certs.d/{host}/ca.crt or this machine's trust store.",
    ),
    _Complaint(
        ("tls: bad certificate", "certificate required"),
        RegistryError,
        "{host} wants a certificate of the client.",
        "Give one with its key: --client-cert and --client-key.",
    ),
    _Complaint(
        ("unauthorized", "authentication required", "access to the resource is denied", "denied:", "403 (forbidden)"),
        RegistryError,
        "{host} does not let this user read {source}, or does not have this image.",
        "Log in: skopeo login {host}, or give logins with --authfile.",
    ),
    _Complaint(
        ("toomanyrequests", "429 (too many requests)"),
        RegistryError,
        "{host} limits how often this machine may pull.",
        "Log in (skopeo login {host}), wait, or name a mirror in the spec ('mirrors').",
    ),
    _Complaint(
        (
            "no such host",
            "connection refused",
            "connection reset",
            "i/o timeout",
            "network is unreachable",
            "no route to host",
            "temporary failure in name resolution",
            "server misbehaving",
            "tls handshake timeout",
            "deadline exceeded",
            "unexpected eof",
        ),
        RegistryError,
        "{host} cannot be reached, which {source} is read from.",
        "Check network and proxy; or name a mirror in the spec ('mirrors'), or a source on this machine "
        "(docker-daemon:NAME:TAG, oci-archive:FILE), or build on Debian's packages (base: debian: bookworm).",
    ),
    _Complaint(
        (
            "manifest unknown",
            "name unknown",
            "no such image",
            "no descriptor found",
            "identifier is not an image",
            "reference does not exist",
            "not found",
        ),
        RegistryError,
        "The image {source} does not exist.",
        "Check name and tag. These exist: {listing}",
    ),
)


def translate(error: ToolFailedError, source: SkopeoSource) -> BundlerError:
    """Return the error that a reader can act on; an unknown error keeps skopeo's words."""
    text = "\n".join(error.details).lower()
    for complaint in _COMPLAINTS:
        if any(mark in text for mark in complaint.marks):
            facts = {"source": str(source), "host": skopeo_source.host(source), "listing": _listing(source)}
            return complaint.error(
                complaint.problem.format_map(facts), remedy=complaint.remedy.format_map(facts), details=error.details
            )
    return error


def _listing(source: SkopeoSource) -> str:
    match source.transport:
        case "docker":
            return f"skopeo list-tags docker:{skopeo_source.repository(source)}"
        case "docker-daemon":
            return "docker image ls"
        case "containers-storage":
            return "podman image ls"
        case _:
            return "the entries of the index.json or manifest.json in it."
