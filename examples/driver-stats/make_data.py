"""Make feature_repo/data/driver_stats.parquet: five drivers, a day of hourly rows, the same bytes every time."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
TOWNS = {
    1001: ("Potsdam", 52.3906, 13.0645),
    1002: ("Berlin", 52.5200, 13.4050),
    1003: ("Bernau", 52.6799, 13.5871),
    1004: ("Oranienburg", 52.7548, 13.2370),
    1005: ("Falkensee", 52.5601, 13.0927),
}


def rows() -> list[dict[str, object]]:
    """Return one row a driver and hour; the rates move a little with the hour so that the latest is recognisable."""
    table: list[dict[str, object]] = []
    for hour in range(24):
        at = START + timedelta(hours=hour)
        for number, (driver, (town, lat, lon)) in enumerate(TOWNS.items()):
            table.append(
                {
                    "driver_id": driver,
                    "event_timestamp": at,
                    "created": at,
                    "conv_rate": round(0.5 + 0.05 * number + 0.01 * (hour % 10), 4),
                    "acc_rate": round(0.9 - 0.05 * number - 0.005 * (hour % 10), 4),
                    "avg_daily_trips": 100 * (number + 1) + hour,
                    "home_lat": lat,
                    "home_lon": lon,
                    "home_town": town,
                }
            )
    return table


if __name__ == "__main__":
    target = Path(__file__).resolve().parent / "feature_repo" / "data" / "driver_stats.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows()), target, compression="snappy")
    print(target)
