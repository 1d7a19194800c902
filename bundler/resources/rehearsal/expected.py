"""Say what was materialized: rows of the offline store, read as materialization reads them, as JSON.

Runs in the container that the CronJob's commands run in, as its user and with its variables.
"""

import json
import os

from feast import FeatureStore, utils

ROWS = 3


def rows_of(store, view):
    if not view.materialization_intervals:
        return {"view": view.name, "problem": "was never materialized", "rows": []}
    start, end = view.materialization_intervals[-1]
    entities = [store.get_entity(name) for name in view.entities if name != "__dummy"]
    keys, columns, timestamp, created = utils._get_column_names(view, entities)
    job = store._get_provider().offline_store.pull_latest_from_table_or_query(
        config=store.config,
        data_source=view.batch_source,
        join_key_columns=keys,
        feature_name_columns=columns,
        timestamp_field=timestamp,
        created_timestamp_column=created,
        start_date=start,
        end_date=end,
    )
    renamed = view.batch_source.field_mapping or {}
    table_rows = job.to_arrow().slice(0, ROWS).to_pylist()
    rows = [{renamed.get(key, key): value for key, value in row.items()} for row in table_rows]
    features = [feature.name for feature in view.features]
    join_keys = [renamed.get(key, key) for key in keys]
    return {
        "view": view.name,
        "from": str(start),
        "to": str(end),
        "features": features,
        "keys": join_keys,
        "rows": [{key: row.get(key) for key in [*join_keys, *features]} for row in rows],
    }


folder = os.environ.get("FEATURE_REPO_DIR_ENV_VAR") or os.getcwd()
store = FeatureStore(repo_path=folder)
answers = []
for view in store.list_feature_views():
    if view.online:
        try:
            answers.append(rows_of(store, view))
        except Exception as error:  # noqa: BLE001  (one view that cannot be read must not hide the others)
            problem = f"{type(error).__name__}: {error}"
            answers.append({"view": view.name, "problem": problem, "rows": []})
print("\n" + json.dumps({"views": answers}, default=str))
