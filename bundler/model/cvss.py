"""The base score of a CVSS 3 vector (CVSS 3.1 specification, section 7.1), and the severity that it means."""

from __future__ import annotations

import math
import re
from typing import Final

_VECTOR: Final = re.compile(r"CVSS:3\.[01]((?:/[A-Z]{1,3}:[A-Z])+)")
_WEIGHTS: Final = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PRIVILEGES: Final = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}
_LEVELS: Final = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.0, "low"))


def score(vector: str) -> float | None:
    """Return the base score, None for what is not a vector of CVSS 3."""
    match = _VECTOR.fullmatch(vector.strip())
    if not match:
        return None
    metrics = {key: value for key, _, value in (metric.partition(":") for metric in match[1].strip("/").split("/"))}
    try:
        weights = {key: values[metrics[key]] for key, values in _WEIGHTS.items()}
        changed = {"U": False, "C": True}[metrics["S"]]
        privileges = _PRIVILEGES[metrics["S"]][metrics["PR"]]
    except KeyError:
        return None
    base = 1 - (1 - weights["C"]) * (1 - weights["I"]) * (1 - weights["A"])
    impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weights["AV"] * weights["AC"] * privileges * weights["UI"]
    return _rounded_up(min((1.08 if changed else 1.0) * (impact + exploitability), 10.0))


def level(value: float) -> str:
    """Return the severity of a score."""
    return next(name for least, name in _LEVELS if value >= least)


def _rounded_up(value: float) -> float:
    """Round up to one place as the specification does, without errors of floating point."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (math.floor(whole / 10_000) + 1) / 10.0
