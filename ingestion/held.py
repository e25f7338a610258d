"""What the tables hold (delta-rs): of a data set, or of the keys of a source, so that memory grows with these alone."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lakesight import delta
from lakesight.snapshot import plan_table, span
from lakesight.warehouse import Warehouse


def held(warehouse: Warehouse, dataset: str, table: str, columns: Sequence[str]) -> pa.Table:
    """All rows of the data set."""
    return delta.read(warehouse, table, columns=columns, where=pc.field("dataset") == dataset)


def held_of(
    warehouse: Warehouse, dataset: str, table: str, columns: Sequence[str], key: str, values: pa.ChunkedArray
) -> pa.Table:
    """The data set's rows whose `key` is one of `values`; NULL is none."""
    wanted = pc.unique(values.drop_null())
    where = (pc.field("dataset") == dataset) & pc.field(key).isin(wanted)
    plan = plan_table(delta.open_table(warehouse, table), table, span(key, pa.chunked_array([wanted])))
    return plan.read(columns, where) if len(wanted) else plan.schema.empty_table().select(list(columns))
