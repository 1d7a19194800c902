"""Numbers of bytes as people read them: the only place that formats them."""

from __future__ import annotations

_STEP = 1000


def size(amount: int) -> str:
    """Say a number of bytes in decimal units, as registries and disks do."""
    value = float(amount)
    for unit in ("B", "kB", "MB"):
        if abs(value) < _STEP:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.2f} GB"
