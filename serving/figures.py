"""Spark glue: what is monitored - one row an image, figures of its detections and its pixels, and its slices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lakesight import sql as queries
from lakesight.errors import ConfigError, UserError
from lakesight.sections import MonitorConfig
from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCOPES = {
    "prediction": ("num_detections", "max_score", "mean_score", "top_category"),
    "box": ("mean_area_share", "mean_box_aspect", "mean_center_x", "mean_center_y"),
    "image": ("brightness", "contrast", "sharpness", "entropy", "colorfulness", "aspect_ratio"),
}
FIGURES = tuple(figure for figures in SCOPES.values() for figure in figures)
_COLUMNS = ", ".join(f"{'q' if scope == 'image' else 'p'}.{f}" for scope, figures in SCOPES.items() for f in figures)
UNITS = {"1 hour": "HOUR", "1 day": "DAY", "1 week": "WEEK"}
"""Windows start on the hour, at midnight UTC, on Monday."""

QUERY = """
SELECT
  p.dataset, p.split, p.image_id, p.model_name, p.model_version, p.status,
  date_trunc('{unit}', p.{timestamp}) AS window_start, {figures}{taken}
FROM image_predictions AS p
JOIN (SELECT dataset, image_id{slices} FROM images) AS i ON i.dataset = p.dataset AND i.image_id = p.image_id
LEFT JOIN image_properties AS q ON q.dataset = p.dataset AND q.image_id = p.image_id"""


def read_figures(
    warehouse: Warehouse,
    spark: "SparkSession",
    config: MonitorConfig,
    *,
    model_name: str,
    model_versions: Sequence[str],
    dataset: str,
    split: str | None,
) -> pa.Table:
    """Columns image_id, status, window_start, `FIGURES`, and `slice_0`, ... as strings; ordered by image_id.

    `model_versions`: names of one model, the preferred first; an image that has several counts once.

    Raises:
        ConfigError: a slice is no SQL over the columns of `images`.
        UserError: the model has scored nothing there.
    """
    from pyspark.sql import functions as F

    slices = "".join(f", CAST(({e}) AS STRING) AS slice_{k}" for k, e in enumerate(config.slices))
    text = QUERY.format(
        unit=UNITS[config.granularity],
        timestamp=config.timestamp,
        figures=_COLUMNS,
        taken="".join(f", i.slice_{k}" for k in range(len(config.slices))),
        slices=slices,
    )
    queries.register(warehouse, spark, text)
    for expression in config.slices:
        _check_slice(spark, expression)
    wanted = (F.col("dataset") == dataset) & (F.col("model_name") == model_name)
    wanted &= F.col("model_version").isin(list(model_versions))
    if split is not None:
        wanted &= F.col("split") == split
    rows = _once(spark.sql(text).where(wanted).toArrow(), model_versions)
    if rows.num_rows == 0:
        where = f"data set {dataset}" + (f", split {split}" if split else "")
        raise UserError(
            f"model {model_name!r} has scored nothing there",
            where=f"{where}, version {' or '.join(model_versions)}",
            fix=f"run `lakesight predict --model {model_name}/{model_versions[0]} --dataset {dataset}` first",
        )
    return rows


def _once(rows: pa.Table, model_versions: Sequence[str]) -> pa.Table:
    """One row an image, of the most preferred version that has it; ordered by image_id."""
    place = [model_versions.index(version) for version in rows["model_version"].to_pylist()]
    ordered = rows.append_column("place", pa.array(place, pa.int64())).sort_by(
        [("image_id", "ascending"), ("place", "ascending")]
    )
    _, first = np.unique(ordered["image_id"].to_numpy(), return_index=True)
    return ordered.take(first).drop_columns(["dataset", "split", "model_name", "model_version", "place"])


def _check_slice(spark: "SparkSession", expression: str) -> None:
    from pyspark.errors import AnalysisException, ParseException

    try:
        spark.sql(f"SELECT CAST(({expression}) AS STRING) FROM images").schema  # noqa: B018 - analysis is the check
    except (AnalysisException, ParseException) as error:
        raise ConfigError(
            "a slice is no SQL expression over the columns of `images`",
            where=f"monitor.slices: {expression}: {str(error).splitlines()[0][:200]}",
            expected="such as metadata['camera'] or width > 1000",
            fix="correct it",
        ) from error
