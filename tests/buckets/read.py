"""Prints figures of the exports in a bucket, as tests/buckets/run has SQL print them of the table."""

import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as dataset
from pyarrow import fs

port, folder = sys.argv[1:]
server = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http", region="us-east-1")
table = dataset.dataset(folder, filesystem=server, format="parquet").to_table()

expected = {
    "service_name": pa.string(),
    "metric_type": pa.string(),
    "metric_value": pa.float64(),
    "measurement_timestamp": pa.timestamp("us", tz="UTC"),
    "archive_entry_id": pa.string(),
    "created_at": pa.timestamp("us", tz="UTC"),
}
for name, kind in expected.items():
    assert table.schema.field(name).type == kind, (name, table.schema.field(name).type)

ids = 0
for value in table["id"].to_pylist():
    ids ^= int.from_bytes(value.bytes if hasattr(value, "bytes") else value, "big")
series = {a + b for a, b in zip(table["service_name"].to_pylist(), table["metric_type"].to_pylist())}
times = [pc.min(table["measurement_timestamp"]).as_py(), pc.max(table["measurement_timestamp"]).as_py()]
figures = [
    table.num_rows,
    f"{pc.sum(table['metric_value']).as_py():.6f}",
    *(time.strftime("%Y-%m-%d %H:%M:%S") for time in times),
    table.num_rows - table["archive_entry_id"].null_count,
    len(series),
    f"{ids:0128b}",
]
print("|".join(map(str, figures)))
