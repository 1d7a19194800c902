"""The CronJob that registers the definitions of the image and loads new features."""

from __future__ import annotations

import shlex
from typing import Final

from bundler.feast.deployment.servers import resources_value
from bundler.feast.deployment.tenant import Tenant
from bundler.model.deployment_spec import CronJob
from bundler.model.descriptor import Json

APPLY: Final = "feast apply"
_NOW: Final = "$(date -u +'%Y-%m-%dT%H:%M:%S')"


def cron_job(tenant: Tenant) -> dict[str, Json]:
    """Return the CronJob part of a FeatureStore."""
    cron = tenant.deployment.cron_job
    value: dict[str, Json] = {"schedule": cron.schedule}
    if cron.time_zone:
        value["timeZone"] = cron.time_zone
    value["concurrencyPolicy"] = cron.concurrency_policy
    value["suspend"] = cron.suspend
    value |= _given(
        startingDeadlineSeconds=cron.starting_deadline_seconds,
        successfulJobsHistoryLimit=cron.successful_jobs_history_limit,
        failedJobsHistoryLimit=cron.failed_jobs_history_limit,
    )
    job = _given(
        activeDeadlineSeconds=cron.active_deadline_seconds,
        backoffLimit=cron.backoff_limit,
        ttlSecondsAfterFinished=cron.ttl_seconds_after_finished,
    )
    if job:
        value["jobSpec"] = job
    containers: dict[str, Json] = {
        "image": tenant.images.kubectl,
        "imagePullPolicy": tenant.deployment.image_pull_policy,
    }
    if cron.resources:
        containers["resources"] = resources_value(cron.resources)
    return {**value, "containerConfigs": {**containers, "commands": list[Json](commands(cron))}}


def commands(cron: CronJob) -> tuple[str, ...]:
    """Return what runs, in order.

    Each is one `kubectl exec deploy/feast-NAME -i -- bash -c COMMAND` in a container of its own; the next is not run
    where one fails, so none needs `set -e`.
    """
    views = "".join(f" --views {shlex.quote(view)}" for view in cron.views)
    wanted = ((cron.apply, APPLY), (cron.materialize, f"feast materialize-incremental{views} {_NOW}"))
    return tuple(command for enabled, command in wanted if enabled)


def _given(**values: int | None) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}
