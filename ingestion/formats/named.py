"""Annotations that name their class -> annotation and category records with ids (pure)."""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.identity import category_ids
from ingestion.records import ANNOTATION_RECORDS, CATEGORY_RECORDS, records_table
from lakesight.tables import LONG, STRING

NAMED = ANNOTATION_RECORDS.append(pa.field("category_name", STRING))
"""`ANNOTATION_RECORDS`, the class by name."""


def with_ids(named: pa.Table, known: Mapping[str, int], further: Iterable[str] = ()) -> tuple[pa.Table, pa.Table]:
    """(`ANNOTATION_RECORDS`, `CATEGORY_RECORDS` of the classes they name and of `further`).

    `named` are `NAMED`; `known` are the data set's categories so far, name -> category_id.
    """
    names = sorted({*further, *named["category_name"].drop_null().unique().to_pylist()})
    ids = category_ids(names, known)
    place = pc.index_in(named["category_name"], value_set=pa.array(names, STRING), skip_nulls=True)
    column = pa.array([ids[name] for name in names], LONG).take(place.combine_chunks())
    annotations = named.drop_columns("category_name")
    annotations = annotations.set_column(annotations.schema.get_field_index("category_id"), "category_id", column)
    rows: list[dict[str, object]] = [
        {"category_id": ids[name], "name": name, "attributes": {}} for name in sorted(names, key=ids.__getitem__)
    ]
    return annotations, records_table(CATEGORY_RECORDS, rows)
