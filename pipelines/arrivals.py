"""Spark glue: files as a stream, each once; Auto Loader on Databricks, the file stream elsewhere."""

import os
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ingestion.formats.files import IMAGE_SUFFIXES
from ingestion.formats.voc import FirstPixel
from ingestion.read_images import MAX_FILE_BYTES
from ingestion.watched import SUFFIXES, Format
from lakesight.errors import ConfigError
from lakesight.spark import on_databricks
from pipelines.functions import flag_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FILE = "path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY"
PATH = "regexp_replace(path, '^(file|dbfs):/*', '/')"
"""Paths as records have them: /folder/file, without the scheme of a local or mounted disk."""
KNOWN: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "source": (None, ()), "dataset": (None, ()), "format": (None, tuple(SUFFIXES)), "first_pixel": ("1", ("0", "1")),
}  # fmt: skip
"""Setting -> its default and the values it may have, where these are few."""
IMAGE_NAMES = f"[.]({'|'.join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))})$"


@dataclass(frozen=True)
class Settings:
    """What the pipeline's configuration says: `lakesight.source` and so on."""

    source: Path
    """The folder of the files, as their paths begin."""
    dataset: str
    format: Format
    first_pixel: FirstPixel
    """What corners of VOC boxes count from."""


def settings(spark: "SparkSession") -> Settings:
    """The configuration of the pipeline that runs.

    Raises:
        ConfigError: a value is missing or none of those allowed.
    """
    values = {name: spark.conf.get(f"lakesight.{name}", default) for name, (default, _) in KNOWN.items()}
    for name, (_, allowed) in KNOWN.items():
        if values[name] is None or (allowed and values[name] not in allowed):
            raise ConfigError(
                f"the pipeline's configuration has lakesight.{name}: {values[name]}",
                expected=" or ".join(allowed) or "a value",
                fix="correct `configuration` of the pipeline",
            )
    return Settings(
        source=Path(str(values["source"])),
        dataset=str(values["dataset"]),
        format=cast("Format", values["format"]),
        first_pixel=0 if values["first_pixel"] == "0" else 1,
    )


def is_labels(format_: Format) -> str:
    """Spark SQL: whether a file is one of annotations."""
    return "(" + " OR ".join(f"lower(path) LIKE '%{suffix}'" for suffix in SUFFIXES[format_]) + ")"


def is_image(format_: Format) -> str:
    """Spark SQL: whether a file may be an image. COCO files name theirs; elsewhere the suffix tells."""
    return f"NOT {is_labels(format_)}" if format_ == "coco" else f"lower(path) RLIKE '{IMAGE_NAMES}'"


def lies_in(folder: str, path: str) -> bool:
    """Whether a file under a folder is there itself: Spark follows links, and they may lead to anything."""
    return not os.path.islink(path) or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))  # noqa: PTH114 - called for each file


def arriving(spark: "SparkSession", source: Path, *, at: datetime, where: str) -> "DataFrame":
    """(path, modified_at, arrived_at, size_bytes, content) of the files under `source` that satisfy `where`.

    `at` is when the update began, which is `arrived_at` of all that it finds. What a link out of it leads to is left
    out.
    """
    from pyspark.sql.functions import expr, lit

    reader = spark.readStream.schema(FILE).option("recursiveFileLookup", "true")
    if on_databricks():
        reader = reader.format("cloudFiles").option("cloudFiles.format", "binaryFile")
    else:
        reader = reader.format("binaryFile")
    # As everywhere in the pipeline only `select`, `selectExpr` and `where`: what else there is resolves the tables
    # too early, and the second run would read the first one's rows.
    files = reader.load(str(source)).where(f"length <= {MAX_FILE_BYTES} AND ({where})")
    return files.where(flag_of(partial(lies_in, str(source)))(expr(PATH))).select(
        expr(PATH).alias("path"),
        expr("modificationTime").alias("modified_at"),
        lit(at).alias("arrived_at"),
        expr("length").alias("size_bytes"),
        "content",
    )
