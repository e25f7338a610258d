"""Spark glue: the rules' predicates over candidate records, in one pass a table."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.read_images import frame
from lakesight.tables import RULE_ERROR
from quality.rules import errors_sql, refusing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def judge(spark: "SparkSession", table: str, candidates: pa.Table, folder: Path) -> tuple[pa.Table, pa.Table]:
    """(accepted, refused) candidates of a table; refused ones have `errors`: every error rule they break.

    `candidates` pass to Spark through a file in `folder`; only what is refused comes back.
    """
    if candidates.num_rows == 0:  # Spark takes 0.2 s to say so
        return candidates, candidates.append_column("errors", pa.nulls(0, pa.list_(RULE_ERROR)))
    rows = frame(spark, candidates, folder).selectExpr("ordinal", f"{errors_sql(refusing(table))} AS errors")
    errors = rows.where("size(errors) > 0").toArrow()
    place = pc.index_in(candidates["ordinal"], value_set=errors["ordinal"].combine_chunks())
    refused = pc.is_valid(place)
    found = errors["errors"].take(place.filter(refused))
    return candidates.filter(pc.invert(refused)), candidates.filter(refused).append_column("errors", found)
