"""Check the signatures of provenance by the keys of the site, which also sign the bundle that holds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bundler.effects.archive import openssl
from bundler.effects.archive.reader import Bundle
from bundler.errors import VerificationError
from bundler.model import layout
from bundler.model.findings import Finding, Section, Status, passed
from bundler.model.trust import PublicKey
from bundler.render import provenance

_CHECK: Final = "provenance"
_TITLE: Final = "The statement in {} is signed by a key that is trusted"


def sections(bundle: Bundle, keys: Sequence[PublicKey]) -> tuple[Section, ...]:
    """Return what is to be said of each statement; nothing where no key is trusted or nothing is stated.

    Raises:
        ToolMissingError: there is no openssl.
    """
    paths = [path for path in bundle.known if path.startswith(layout.PROVENANCE)] if keys else []
    findings = tuple(finding for path in paths for finding in _findings(bundle, path, keys))
    return (Section("Provenance", findings),) if findings else ()


def _findings(bundle: Bundle, path: str, keys: Sequence[PublicKey]) -> Iterator[Finding]:
    title = _TITLE.format(path)
    try:
        payload, signatures = provenance.signatures(bundle.read(path))
    except (ValueError, VerificationError) as error:
        yield Finding(_CHECK, title, Status.FAIL, (f"{path} cannot be read: {error}",))
        return
    known = {key.key_id.hex: key for key in keys}
    trusted = [(known[key_id], signature) for key_id, signature in signatures.items() if key_id in known]
    if not trusted:
        by = f"signed by {', '.join(sorted(signatures))}, which no trust file names" if signatures else "not signed"
        covered = ("the signature of the bundle covers the file",)
        yield Finding(_CHECK, f"The statement in {path} is {by}", Status.NOT_APPLICABLE, covered)
    for key, signature in trusted:
        wrong = openssl.check_signature(provenance.to_sign(payload), signature, key)
        if wrong:
            remedy = "Do not believe it: ask who built the bundle."
            yield Finding(_CHECK, title, Status.FAIL, (f"{key}: {wrong}",), remedy)
        else:
            yield passed(_CHECK, title, f"signed by {key}")
