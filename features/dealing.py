"""Spark glue: the split of every image of a data set -> the view `built_splits`, by `features/splits.py`."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from features.splits import choose, deal, deal_stratified, group, leaks
from lakesight.errors import ConfigError
from lakesight.sections import BuildConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def deal_splits(session: "SparkSession", config: BuildConfig) -> int:
    """Make `built_splits` (image_id, chosen_split) of the views `built_*`; returns the groups that are torn apart.

    Raises:
        ConfigError: `build.group_by` is no expression over `images`.
    """
    images = _images(session, config)
    groups = group(images["pixel_hash"], images["key"], images["dhash"], config.near_duplicate_bits)
    shares = (1 / config.folds,) * config.folds if config.folds else (config.val_fraction, 1 - config.val_fraction)
    if config.stratify:
        bins = deal_stratified(groups, images["pixel_hash"], _labels(session, images["image_id"]), shares)
    else:
        bins = deal(groups, images["pixel_hash"], shares)
    chosen = choose(groups, images["split"], bins, config.fold)
    rows = pa.table(
        {"image_id": pa.array(images["image_id"], pa.int64()), "chosen_split": pa.array(chosen, pa.string())}
    )
    session.createDataFrame(rows).createOrReplaceTempView("built_splits")
    return len(leaks(groups, chosen))


def _images(session: "SparkSession", config: BuildConfig) -> dict[str, list[Any]]:
    from pyspark.errors import AnalysisException, ParseException

    try:
        keyed = session.table("built_images").selectExpr(
            "image_id",
            "coalesce(pixel_hash, sha256, sha2(CAST(image_id AS STRING), 256)) AS pixel_hash",
            "split",
            f"CAST({config.group_by or 'NULL'} AS STRING) AS key",
        )
    except (AnalysisException, ParseException) as error:
        raise ConfigError(
            f"build.group_by is not understood: {str(error).splitlines()[0]}",
            where=f"build.group_by={config.group_by}",
            expected="a SQL expression over the columns of `images`",
            fix="for example metadata['video']",
        ) from error
    keyed.createOrReplaceTempView("built_keyed")
    columns: dict[str, list[Any]] = session.sql(IMAGES_SQL).toArrow().to_pydict()
    return columns


def _labels(session: "SparkSession", image_ids: list[int]) -> list[list[int]]:
    """Of each image, the labels of its annotations."""
    found = session.sql(LABELS_SQL).toArrow().to_pydict()
    labels = dict(zip(found["image_id"], found["labels"], strict=True))
    return [labels.get(image_id, []) for image_id in image_ids]


IMAGES_SQL = """
SELECT i.*, p.dhash
FROM built_keyed i LEFT JOIN built_image_properties p ON i.image_id = p.image_id"""

LABELS_SQL = """
SELECT a.image_id, collect_list(c.label) AS labels
FROM built_annotations a JOIN built_categories c ON a.category_id = c.category_id GROUP BY a.image_id"""
