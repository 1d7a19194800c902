"""Whether the CronJob's kubectl image runs on every platform of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bundler.model.findings import Finding, Status
from bundler.model.platform import Platform

_ONLY_AMD64: Final = frozenset({"origin-cli"})
"""Names of images that are published for linux/amd64 only."""


def platforms(image: str | None, wanted: Sequence[Platform]) -> Finding:
    """Check the ``kubectl.image`` of a spec, None where the bundle's own is used, against the spec's platforms."""
    check, title = "cron-job.kubectl.platforms", "The CronJob's kubectl image runs on every platform"
    name = (image or "").partition("@")[0].rpartition("/")[2].partition(":")[0]
    lacking = [platform for platform in wanted if platform.architecture != "amd64"]
    if name not in _ONLY_AMD64 or not lacking:
        return Finding(check, title, Status.PASS, (image or "the bundle's own kubectl image",))
    evidence = (f"{image} is for linux/amd64 only: CronJobs fail on {', '.join(map(str, lacking))} nodes",)
    remedy = "Use cronJob.kubectl: {debian: bookworm}, or an image that has these platforms."
    return Finding(check, title, Status.MANUAL, evidence, remedy)
