"""Judge a bill of materials by the schema of CycloneDX."""

from __future__ import annotations


def problem(text: str) -> object:
    """Return what is wrong with a bill, None where it is valid."""
    # Three seconds to load, which only the tests that judge bills should wait for.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
