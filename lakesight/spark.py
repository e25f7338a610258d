"""Spark glue: one function that gives a session - local, remote (Connect) or Databricks'."""

import gc
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lakesight import class_archive, machine, malloc
from lakesight.delta import ROWS_PER_GROUP
from lakesight.errors import SetupError
from lakesight.logs import stderr_to
from lakesight.sections import SparkConfig
from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DELTA_VERSION = "4.4.0"
"""Keep in step with the `spark` extra in pyproject.toml."""
JARS = ("delta-spark_4.2_2.13", "delta-storage")
MIN_JAVA = 17
ROOT_KEY = "spark.lakesight.root"
"""Session conf: the root whose tables and views the catalog knows by name."""

IMAGE_LAYOUT = {
    "parquet.block.row.count.limit": str(ROWS_PER_GROUP),
    "parquet.column.statistics.enabled#content": "false",
    "parquet.enable.dictionary#content": "false",
    "spark.sql.parquet.compression.codec": "uncompressed",
}
"""Session conf for writes of tables with image bytes: Delta ignores these as write options.

Table properties would do it too, but delta-rs refuses a table that has them.
"""


def session(warehouse: Warehouse, config: SparkConfig) -> "SparkSession":
    """The Spark session for a warehouse; the running one if there is one.

    Raises:
        SetupError: no Java 17+, or the Delta jars are neither cached nor to be had; no server at `spark.remote`, or
            one over another root.
    """
    from pyspark.sql import SparkSession

    if on_databricks():
        return SparkSession.builder.getOrCreate()
    _quiet_errors()
    if config.remote:
        from lakesight.connect import remote_session

        return remote_session(warehouse, config.remote)
    if active := SparkSession.getActiveSession():
        return active
    return _local(warehouse, config)


def _quiet_errors() -> None:
    """What PySpark logs of each error it raises goes where all records go, and not to the screen beside our message."""
    from pyspark.logger import PySparkLogger

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # Not by propagation: PySpark turns that off with every error.
        PySparkLogger.getLogger(name).handlers[:] = logging.getLogger().handlers or [logging.NullHandler()]


def on_databricks() -> bool:
    """Whether this process runs on a Databricks cluster."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def _local(warehouse: Warehouse, config: SparkConfig) -> "SparkSession":
    from pyspark.sql import SparkSession

    check_java()
    log = warehouse.state("logs", "spark.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ["PYSPARK_PYTHON"] = sys.executable  # workers may pick another Python and crash
    for key, value in malloc.ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    builder = SparkSession.builder.master(config.master).appName("lakesight")
    for key, value in jvm_conf(warehouse, log, config).items():
        builder = builder.config(key, value)
    with stderr_to(log), _nothing_freed():
        return builder.getOrCreate()


@contextmanager
def _nothing_freed() -> Iterator[None]:
    """What the child frees that PySpark forks, and that runs Python until it becomes the JVM, is none of its business.

    That child replaces the handler of Ctrl-C, and Ray Train leaves one that holds an actor: freed there, it tells Ray
    so, through the connection of this process, whose next call of Ray would never be answered.
    """
    held, collecting = signal.getsignal(signal.SIGINT), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        del held
        if collecting:
            gc.enable()


def jvm_conf(warehouse: Warehouse, log: Path, config: SparkConfig) -> dict[str, str]:
    """All that a JVM of ours is started with; what it has to say goes to `log`."""
    cores = str(os.cpu_count() or 2)
    log4j = Path(__file__).with_name("log4j2.properties")
    # The quick compiler alone gets 48 MB for its code: a long session fills that, and is interpreted from then on.
    code = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
    # Spark and Delta load 20,000 classes: metaspace at its default size would be collected five times on the way.
    java = f"-XX:+UseSerialGC {code} -XX:MetaspaceSize=256m {class_archive.options()}"
    java += f" -Dlog4j2.configurationFile={log4j} -Dlakesight.log={log}"
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.extraClassPath": os.pathsep.join(str(jar) for jar in delta_jars()),
        "spark.driver.extraJavaOptions": java,
        "spark.driver.memory": config.driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.sources.default": "delta",
        # Where Hive's layout has them: a table made by name is found by its path, too.
        "spark.sql.warehouse.dir": str(warehouse.root / "warehouse"),
        "spark.sql.shuffle.partitions": cores,
        "spark.default.parallelism": cores,
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": cores,
        # The default of 50 makes every operation on a small table slow.
        "spark.databricks.delta.snapshotPartitions": "1",
        # Image bytes pass through Arrow: keep a batch some tens of MB.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "256",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    } | config.conf


def check_java() -> int:
    """The major version of the Java that Spark will use.

    Raises:
        SetupError: none, or one older than 17.
    """
    java = machine.java()
    fix = "install a JDK 17 or newer (Debian, Ubuntu: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    expected = f"Java {MIN_JAVA} or newer"
    if java is None or not os.access(java, os.X_OK):
        raise SetupError("Spark needs Java, and there is none", where=java or "PATH", expected=expected, fix=fix)
    banner = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', banner)
    major = int(found.group(1)) if found else 0
    if major < MIN_JAVA:
        raise SetupError(f"Spark needs a newer Java than {major}", where=java, expected=expected, fix=fix)
    return major


def delta_jars() -> list[Path]:
    """The two Delta jars, fetched once from Maven Central by the Ivy that pyspark bundles.

    Raises:
        SetupError: they are not cached and could not be fetched.
    """
    cache = machine.cache() / f"delta-{DELTA_VERSION}"
    jars = [cache / f"{name}-{DELTA_VERSION}.jar" for name in JARS]
    for name, jar in zip(JARS, jars, strict=True):
        if not jar.exists():
            _fetch(name, cache)
    return jars


def _fetch(name: str, cache: Path) -> None:
    import pyspark

    check_java()
    cache.mkdir(parents=True, exist_ok=True)
    ivy = next(Path(pyspark.__file__).parent.glob("jars/ivy-*.jar"))
    command = ["java", "-cp", str(ivy), "org.apache.ivy.Main", "-warn", "-cache", str(cache / "ivy"), "-notransitive"]
    command += ["-dependency", "io.delta", name, DELTA_VERSION, "-confs", "default"]
    # Retrieve into a folder of our own and rename: two first starts at once must not read half a jar.
    partial = cache / f"partial-{os.getpid()}"
    command += ["-retrieve", f"{partial}/[artifact]-[revision].[ext]"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    fetched = partial / f"{name}-{DELTA_VERSION}.jar"
    if not fetched.exists():
        tail = (result.stdout + result.stderr).strip()[-400:]
        raise SetupError(
            f"the jar io.delta:{name}:{DELTA_VERSION} could not be fetched from Maven Central",
            where=tail,
            expected="network access once; later starts work without",
            fix=f"connect once and run again, or copy the jar to {cache}",
        )
    fetched.replace(cache / fetched.name)


@contextmanager
def conf(spark: "SparkSession", settings: dict[str, str]) -> Iterator[None]:
    """Session conf for the length of a block."""
    before = {key: spark.conf.get(key, None) for key in settings}
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)


def quote(text: str) -> str:
    """A Spark SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def table_sql(path: Path) -> str:
    """A Delta table by its path, as Spark SQL names it."""
    return "delta.`" + str(path).replace("`", "``") + "`"
