"""Make feature_repo/data/stops.parquet: four stops, the same bytes every time."""

from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
STOPS = {
    1: (52.5219, 13.4132, "Alexanderplatz"),
    2: (52.5096, 13.3759, "Potsdamer Platz"),
    3: (52.3906, 13.0645, "Lange Brücke"),
    4: (52.4338, 13.2597, "Mexikoplatz"),
}


def rows() -> list[dict[str, object]]:
    """Return one row a stop."""
    return [
        {"stop_id": number, "event_timestamp": AT, "lat": lat, "lon": lon, "street": street}
        for number, (lat, lon, street) in STOPS.items()
    ]


if __name__ == "__main__":
    target = Path(__file__).resolve().parent / "feature_repo" / "data" / "stops.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows()), target, compression="snappy")
    print(target)
