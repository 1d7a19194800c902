"""What to do where the signature policy of a host (containers-policy.json(5)) refuses what a bundle serves."""

from __future__ import annotations

from bundler.errors import ToolFailedError

REJECTED = "source image rejected"
"""How skopeo and Podman begin it, in lower case."""


def explained(error: ToolFailedError, address: str) -> ToolFailedError:
    """Return the error with the remedy, where the policy refused an image that is served on ``address``."""
    if REJECTED not in "\n".join(error.details).lower():
        return error
    return ToolFailedError(
        "The signature policy of this host (policy.json) refuses images of the bundle, which is served on loopback.",
        remedy='Let it accept them: "transports": {"docker": {"127.0.0.1:5055": [{"type": "insecureAcceptAnything"}]}} '
        "in /etc/containers/policy.json, then run the same command with --listen 127.0.0.1:5055. Every digest is "
        "compared with the bundle's.",
        details=(*error.details, f"served on {address}"),
    )
