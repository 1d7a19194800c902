"""What the fleet knows of its drivers, and what a dispatcher asks about them."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RequestSource,
    ValueType,
)
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

driver = Entity(
    name="driver",
    join_keys=["driver_id"],
    value_type=ValueType.INT64,
    description="A driver of the fleet",
)

# Absolute, so that the same definition works from any working directory.
hourly_stats_file = FileSource(
    name="hourly_stats_file",
    path=str(Path(__file__).resolve().parent / "data" / "driver_stats.parquet"),
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
)

hourly_stats_push = PushSource(name="hourly_stats_push", batch_source=hourly_stats_file)

hourly_stats = FeatureView(
    name="driver_hourly_stats",
    entities=[driver],
    # Far longer than any bundle lives: the example's data must not age out of the online store.
    ttl=timedelta(days=3650),
    schema=[
        Field(name="conv_rate", dtype=Float64),
        Field(name="acc_rate", dtype=Float64),
        Field(name="avg_daily_trips", dtype=Int64),
        Field(name="home_lat", dtype=Float64),
        Field(name="home_lon", dtype=Float64),
        Field(name="home_town", dtype=String),
    ],
    online=True,
    source=hourly_stats_push,
    tags={"team": "dispatch"},
)

request = RequestSource(
    name="ride_request",
    schema=[
        Field(name="pickup_lat", dtype=Float64),
        Field(name="pickup_lon", dtype=Float64),
        Field(name="pickup_town", dtype=String),
    ],
)


@on_demand_feature_view(
    sources=[hourly_stats, request],
    schema=[
        Field(name="km_from_home", dtype=Float64),
        Field(name="town_similarity", dtype=Float64),
        Field(name="reliability", dtype=Float64),
    ],
)
def ride_features(inputs: pd.DataFrame) -> pd.DataFrame:
    """Relate a ride to the driver who may take it."""
    # Imported here: the function is pickled into the registry and runs in the feature server.
    from haversine import haversine
    from rapidfuzz import fuzz

    from scoring import reliability

    rides = pd.DataFrame(index=inputs.index)
    homes = zip(inputs["home_lat"], inputs["home_lon"])
    pickups = zip(inputs["pickup_lat"], inputs["pickup_lon"])
    rides["km_from_home"] = [
        float(haversine(home, pickup)) for home, pickup in zip(homes, pickups)
    ]
    rides["town_similarity"] = [
        float(fuzz.ratio(home, pickup))
        for home, pickup in zip(inputs["home_town"], inputs["pickup_town"])
    ]
    rides["reliability"] = [
        reliability(conv, acc)
        for conv, acc in zip(inputs["conv_rate"], inputs["acc_rate"])
    ]
    return rides


dispatch = FeatureService(
    name="dispatch",
    # The whole view: historical retrieval does not fetch what the on-demand view
    # reads beyond the features of the service.
    features=[hourly_stats, ride_features],
    description="What the dispatcher asks for each candidate driver",
)
