"""Where a line's stops are, and what a caller says of the one that they mean."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    RequestSource,
    ValueType,
)
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float64, String

stop = Entity(name="stop", join_keys=["stop_id"], value_type=ValueType.INT64)

stops_file = FileSource(
    name="stops_file",
    path=str(Path(__file__).resolve().parent / "data" / "stops.parquet"),
    timestamp_field="event_timestamp",
)

stops = FeatureView(
    name="stops",
    entities=[stop],
    ttl=timedelta(days=3650),
    schema=[
        Field(name="lat", dtype=Float64),
        Field(name="lon", dtype=Float64),
        Field(name="street", dtype=String),
    ],
    online=True,
    source=stops_file,
)

call = RequestSource(name="call", schema=[Field(name="said", dtype=String)])


@on_demand_feature_view(
    sources=[stops, call],
    schema=[
        Field(name="in_inner_city", dtype=Bool),
        Field(name="sounds_alike", dtype=Bool),
    ],
)
def stop_features(inputs: pd.DataFrame) -> pd.DataFrame:
    """Relate a stop to what somebody said on the telephone."""
    # Imported here: the function is pickled into the registry and runs in the feature server.
    from metaphone import doublemetaphone

    from zones import INNER_CITY, contains

    found = pd.DataFrame(index=inputs.index)
    found["in_inner_city"] = [
        contains(INNER_CITY, float(lon), float(lat))
        for lon, lat in zip(inputs["lon"], inputs["lat"])
    ]
    found["sounds_alike"] = [
        doublemetaphone(str(street))[0] == doublemetaphone(str(said))[0]
        for street, said in zip(inputs["street"], inputs["said"])
    ]
    return found


hotline = FeatureService(name="hotline", features=[stops, stop_features])
