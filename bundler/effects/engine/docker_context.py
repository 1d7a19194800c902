"""Docker contexts: the engines in the configuration folder of Docker's own program.

docker-py reads them only where a config.json lies beside them, and from the process's environment alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from docker.tls import TLSConfig

from bundler.effects import files, user_config
from bundler.errors import ToolFailedError, ToolMissingError

_DEFAULT: Final = "default"


def chosen(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Return ``base_url`` and ``tls`` of the context that is chosen, None for the default context.

    ``DOCKER_CONTEXT`` names it, else ``currentContext`` of config.json in ``DOCKER_CONFIG`` or ~/.docker.

    Raises:
        ToolMissingError: the context does not exist.
        ToolFailedError: its file, or config.json, is malformed.
    """
    # Not Path.home(), which fails where a container's user has no home.
    folder = user_config.docker(environment) or Path(os.path.expanduser("~/.docker"))  # noqa: PTH111
    name = (
        environment.get("DOCKER_CONTEXT") or _read(folder / user_config.DOCKER_FILE).get("currentContext") or _DEFAULT
    )
    if name == _DEFAULT:
        return None
    known_as = hashlib.sha256(str(name).encode()).hexdigest()
    file = folder / "contexts" / "meta" / known_as / "meta.json"
    try:
        engine = _read(file)["Endpoints"]["docker"]
        address = engine["Host"]
        verify = not engine.get("SkipTLSVerify", False)
    except (KeyError, TypeError, AttributeError) as error:
        if not file.exists():
            raise ToolMissingError(
                f"The docker context {name!r} does not exist.", remedy="See: docker context ls"
            ) from error
        raise _damaged(file) from error
    return {"base_url": address, "tls": _tls(folder / "contexts" / "tls" / known_as / "docker", verify=verify)}


def _tls(folder: Path, *, verify: bool) -> TLSConfig | None:
    authority, certificate, key = (folder / f"{name}.pem" for name in ("ca", "cert", "key"))
    own = (str(certificate), str(key)) if certificate.exists() and key.exists() else None
    if verify and not own and not authority.exists():
        return None
    return TLSConfig(client_cert=own, ca_cert=str(authority) if authority.exists() else None, verify=verify)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(files.read_bytes(file))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file) from error
    if not isinstance(document, dict):
        raise _damaged(file)
    return document


def _damaged(file: Path) -> ToolFailedError:
    return ToolFailedError(
        f"{file} cannot be read: it does not have the form that Docker writes.", remedy="See: docker context inspect"
    )
