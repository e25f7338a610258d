"""Spark glue: one update of the pipeline by a server of ours: `lakesight pipeline`.

The engine wants a specification with absolute places beside its sources: both are laid out under the root, as they
are run. Its own log is `logs/pipeline.log`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from lakesight import spark
from lakesight.config import Config
from lakesight.errors import SetupError, UserError
from lakesight.progress import step
from lakesight.warehouse import Warehouse

HERE = Path(__file__).parent
SPEC = "spark-pipeline.yml"
SCHEMA = "lakesight_pipeline"
TABLES = ("image_files", "images", "annotations", "categories", "quarantine")
"""What a run is reported by."""


def run(warehouse: Warehouse, config: Config, *, source: Path, dataset: str, full_refresh: bool) -> dict[str, int]:
    """Bring the pipeline's tables up to date with the files under `source`; rows by table.

    Raises:
        UserError: there is no such folder, or no server is named.
        SetupError: the server does not answer or is over another root; or the update failed.
    """
    if not source.is_dir():
        raise UserError("the source is no folder", where=str(source), expected="a folder of COCO files and images")
    if config.spark.remote is None:
        raise UserError(
            "a pipeline is run by a server",
            expected="its address in spark.remote",
            fix="start `lakesight server`, and add --set spark.remote=sc://127.0.0.1:15002",
        )
    session = spark.session(warehouse, config.spark)
    session.sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    spec = lay_out(warehouse, source.resolve(), dataset)
    with step("Updating the pipeline"):
        _update(warehouse, config.spark.remote, spec, full_refresh)
    return {name: session.table(f"{SCHEMA}.{name}").count() for name in TABLES}


def lay_out(warehouse: Warehouse, source: Path, dataset: str) -> Path:
    """The specification with its sources, under the root; its path."""
    folder = warehouse.state("pipeline")
    folder.mkdir(exist_ok=True)
    shutil.rmtree(folder / "transformations", ignore_errors=True)
    shutil.copytree(HERE / "transformations", folder / "transformations", ignore=shutil.ignore_patterns("__pycache__"))
    spec = yaml.safe_load((HERE / SPEC).read_text())
    spec["storage"] = (folder / "storage").as_uri()
    spec["configuration"] = {"lakesight.source": str(source), "lakesight.dataset": dataset}
    (folder / SPEC).write_text(yaml.safe_dump(spec, sort_keys=False))
    return folder / SPEC


def _update(warehouse: Warehouse, remote: str, spec: Path, full_refresh: bool) -> None:
    log = warehouse.state("logs", "pipeline.log")
    # What `spark-pipelines run` starts, without the JVM that it starts for that.
    command = [sys.executable, "-m", "pyspark.pipelines.cli", "run", "--spec", str(spec)]
    ours = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as out:
        start = out.tell()
        done = subprocess.run(
            [*command, *["--full-refresh-all"] * full_refresh],
            env=os.environ | {"SPARK_REMOTE": remote, "PYTHONPATH": ours},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=False,
        )
    if done.returncode:
        said = log.read_bytes()[start:].decode(errors="replace")
        raise SetupError("the update of the pipeline failed", where=f"{log}: {said.strip()[-600:]}", fix="see the log")
