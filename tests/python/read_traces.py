"""Print every column of a folder of traces, read by polars, as JSON.

    python read_traces.py DIR

Floats are printed as text that parses back to the same number.
"""

import json
import sys

import polars

frame = polars.read_parquet(sys.argv[1] + "/*.parquet")


def exact(value):
    if isinstance(value, list):
        return [exact(item) for item in value]
    return repr(value) if isinstance(value, float) else value


json.dump(
    {
        "types": [[name, str(dtype)] for name, dtype in frame.schema.items()],
        "rows": [{k: exact(v) for k, v in row.items()} for row in frame.to_dicts()],
    },
    sys.stdout,
)
