"""Spark glue: Python functions of ours as SQL functions, typed by an Arrow schema."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

Function = Callable[..., "Column"]


def rows_of(work: Callable[..., Any], schema: pa.Schema) -> Function:
    """`work` gives a list of rows of `schema`."""
    from pyspark.sql.types import ArrayType

    return _function(work, ArrayType(_struct(schema)))


def struct_of(work: Callable[..., Any], schema: pa.Schema) -> Function:
    """`work` gives one row of `schema`."""
    return _function(work, _struct(schema))


def texts_of(work: Callable[..., Any]) -> Function:
    """`work` gives a list of texts."""
    from pyspark.sql.types import ArrayType, StringType

    return _function(work, ArrayType(StringType()))


def flag_of(work: Callable[..., bool]) -> Function:
    """`work` says yes or no."""
    from pyspark.sql.types import BooleanType

    return _function(work, BooleanType())


def _function(work: Callable[..., Any], type_: "DataType") -> Function:
    from pyspark.sql.functions import udf

    # A type as an object: text would be parsed by the server, which a pipeline refuses. Row by row: in a stream of a
    # pipeline (Spark 4.2.0) the Arrow kind of function waits for ever.
    made: Function = udf(work, type_, useArrow=False)
    return made


def _struct(schema: pa.Schema) -> "DataType":
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema, prefer_timestamp_ntz=False)
