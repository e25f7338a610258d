"""Spark glue: one update of the pipeline by a server of ours: `lakesight pipeline`.

The engine wants a specification with absolute places beside its sources: both are laid out under the root, as they
are run. Its own log is `logs/pipeline.log`.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from ingestion.formats.files import require_folder
from ingestion.formats.looks_like import advice
from ingestion.formats.read_voc import EXPECTED
from ingestion.formats.voc import FirstPixel
from ingestion.formats.voc_splits import read_splits, set_files
from ingestion.source import require_names
from ingestion.watched import Format
from lakesight import spark
from lakesight.config import Config
from lakesight.errors import SetupError, UserError
from lakesight.progress import step
from lakesight.warehouse import Warehouse
from pipelines.yolo import read_data

HERE = Path(__file__).parent
SPEC = "spark-pipeline.yml"
STORAGE = "storage"
NAME = re.compile(r"\w+", re.ASCII)
LOOK_EVERY_S = 5
"""Whether the server is still there."""
TABLES = ("image_files", "images", "annotations", "categories", "quarantine")
"""What a run is reported by."""


@dataclass(frozen=True)
class Pipeline:
    """A folder of files, and the schema of the tables that are kept up to date with it."""

    source: Path
    dataset: str
    format: Format = "coco"
    first_pixel: FirstPixel = 1
    """What corners of VOC boxes count from."""
    schema: str = "lakesight_pipeline"

    @property
    def configuration(self) -> dict[str, str]:
        """What the sources of the pipeline read: `pipelines/arrivals.py`."""
        stated = {"source": self.source.resolve(), "dataset": self.dataset, "format": self.format}
        return {f"lakesight.{name}": str(value) for name, value in stated.items()} | {
            "lakesight.first_pixel": str(self.first_pixel)
        }


def run(warehouse: Warehouse, config: Config, pipeline: Pipeline, *, full_refresh: bool) -> dict[str, int]:
    """Bring the pipeline's tables up to date with the files under its source; rows by table.

    Raises:
        UserError: the folder is not as its format says, the schema is another pipeline's, or no server is named.
        SetupError: the server does not answer or is over another root; or the update failed.
    """
    _validate(pipeline)
    if config.spark.remote is None:
        raise UserError(
            "a pipeline is run by a server",
            expected="its address in spark.remote",
            fix="start `lakesight server`, and add --set spark.remote=sc://127.0.0.1:15002",
        )
    session = spark.session(warehouse, config.spark)
    spec = lay_out(warehouse, pipeline)
    session.sql(f"CREATE SCHEMA IF NOT EXISTS `{pipeline.schema}`")
    with step("Updating the pipeline"):
        _update(warehouse, config.spark.remote, spec, full_refresh)
    return {table: session.table(f"{pipeline.schema}.{table}").count() for table in TABLES}


def _validate(pipeline: Pipeline) -> None:
    folder = pipeline.source
    require_names(pipeline.dataset, None)
    if not NAME.fullmatch(pipeline.schema):
        what, expected = "this is no name of a schema", "letters, digits and _"
        raise UserError(what, where=pipeline.schema, expected=expected, fix="choose another --schema")
    require_folder(folder, f"a folder of {pipeline.format.upper()} files and images", "check --source")
    if pipeline.format == "yolo":
        read_data(folder)
    if pipeline.format == "voc":
        for part in ("Annotations", "JPEGImages"):
            require_folder(folder / part, EXPECTED, advice(folder, "voc") or "check --source")
        read_splits(set_files(folder, ()))


def lay_out(warehouse: Warehouse, pipeline: Pipeline) -> Path:
    """The specification with its sources, under the root; its path.

    Raises:
        UserError: the schema is another pipeline's.
    """
    folder = warehouse.state("pipeline", pipeline.schema)
    if (folder / STORAGE).exists():  # what it was told is of no weight before it has read a file
        _refuse_another(pipeline, yaml.safe_load((folder / SPEC).read_text())["configuration"])
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "transformations", ignore_errors=True)
    shutil.copytree(HERE / "transformations", folder / "transformations", ignore=shutil.ignore_patterns("__pycache__"))
    spec = yaml.safe_load((HERE / SPEC).read_text()) | {"database": pipeline.schema}
    spec |= {"storage": (folder / STORAGE).as_uri(), "configuration": pipeline.configuration}
    (folder / SPEC).write_text(yaml.safe_dump(spec, sort_keys=False))
    return folder / SPEC


def _refuse_another(pipeline: Pipeline, before: dict[str, str]) -> None:
    """What has been read cannot be read as something else: the streams would keep the rows of both."""
    for key, value in pipeline.configuration.items():
        if before[key] != value:
            name = key.removeprefix("lakesight.")
            raise UserError(
                f"the schema is another pipeline's: its {name} is {before[key]}, not {value}",
                where=pipeline.schema,
                expected="a schema a pipeline",
                fix="name another one with --schema",
            )


def _update(warehouse: Warehouse, remote: str, spec: Path, full_refresh: bool) -> None:
    log = warehouse.state("logs", "pipeline.log")
    # What `spark-pipelines run` starts, without the JVM that it starts for that.
    command = [sys.executable, "-m", "pyspark.pipelines.cli", "run", "--spec", str(spec)]
    ours = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as out:
        start = out.tell()
        process = subprocess.Popen(
            [*command, *["--full-refresh-all"] * full_refresh],
            env=os.environ | {"SPARK_REMOTE": remote, "PYTHONPATH": ours},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        code = _wait(process, remote)
    if code:
        said = log.read_bytes()[start:].decode(errors="replace")
        raise SetupError("the update of the pipeline failed", where=f"{log}: {said.strip()[-600:]}", fix="see the log")


def _wait(process: "subprocess.Popen[bytes]", remote: str) -> int:
    """Its exit code; it has a session of its own, and would try for ten minutes to reach a server that is gone."""
    from lakesight.connect import ServerGone

    server = ServerGone(remote)
    try:
        while process.poll() is None:
            server.look()
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_EVERY_S)
        return process.returncode
    finally:
        process.kill()
        process.wait()
