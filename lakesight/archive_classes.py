"""Spark glue: make the archive of `class_archive` by work on a few pictures: `lakesight setup spark`."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lakesight import class_archive, config, progress, shapes, spark
from lakesight.config import Config
from lakesight.machine import cache
from lakesight.warehouse import create_warehouse, open_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

STATEMENTS = (
    "SELECT e.rule, count(*) FROM quarantine LATERAL VIEW explode(errors) AS e GROUP BY 1 ORDER BY 1",
    "SELECT row_number() OVER (PARTITION BY s.split ORDER BY image_id) FROM images JOIN samples AS s USING (image_id)",
)


def set_up() -> Path | None:
    """Fetch Delta's jars and make the archive, where they are not there yet; None: this Java cannot make one.

    Raises:
        SetupError: no Java 17+, or the jars are not to be had.
    """
    spark.check_java()
    spark.delta_jars()
    if archive := class_archive.found():
        return archive
    # Elsewhere, and moved when whole: two may do this at once, and one may be ended half way.
    partial = TemporaryDirectory(prefix="partial-classes-", dir=cache())
    with progress.step("Archiving Spark's classes, once"), progress.hidden(), partial as folder:
        made = Path(folder) / "made.jsa"
        written = _work(Path(folder) / "root", made) == 0 and made.exists()
        return class_archive.keep(made) if written else None


def _work(root: Path, archive: Path) -> int:
    """Ingest, build and ask in a JVM that archives its classes as it ends; its exit code."""
    from features.build import build
    from ingestion.load import ingest_coco
    from lakesight import sql

    settings = _recording(root, archive)
    annotations = shapes.write_coco(root / "data", split="train", num_images=8, seed=1)
    ingest_coco(
        root, settings, images=root / "data" / "train", annotations=annotations, dataset="shapes", split="train"
    )
    warehouse = open_warehouse(root)
    build(warehouse, settings)
    for statement in STATEMENTS:
        sql.query(warehouse, spark.session(warehouse, settings.spark), statement)
    return _end(spark.session(warehouse, settings.spark))


def _recording(root: Path, archive: Path) -> Config:
    """Settings whose session's JVM archives its classes."""
    settings = config.load()
    key = "spark.driver.extraJavaOptions"
    usual = spark.jvm_conf(create_warehouse(root), root / "logs" / "spark.log", settings.spark)[key]
    recording = {key: f'{usual} "-XX:ArchiveClassesAtExit={archive}" {class_archive.QUIET}'}
    return dataclasses.replace(settings, spark=dataclasses.replace(settings.spark, conf=recording))


def _end(session: "SparkSession") -> int:
    """Stop the session and wait for its JVM, which PySpark leaves to end by itself; its exit code."""
    gateway = session.sparkContext._gateway
    session.stop()
    assert gateway is not None
    gateway.shutdown()
    gateway.proc.stdin.close()
    code: int = gateway.proc.wait()
    return code
