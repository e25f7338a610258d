"""The whole path on a generated COCO data set: the verbs a user would run, then what SQL says about it.

Reads nothing but what it generated; writes every table of the contract. `lakesight demo`, or `make demo`.
"""

import shutil
import time
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from lakesight import cluster, delta, progress, shapes, spark
from lakesight import config as configuration
from lakesight import sql as queries
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.tables import TABLES
from lakesight.warehouse import Warehouse, open_warehouse

CONFIG = Path(__file__).parents[1] / "configs" / "demo.yaml"
DATASET, NEW = "shapes", "shapes_new"
NUM_IMAGES = {"train": 800, "val": 200, "new": 200}

QUARANTINE = """
SELECT table_name, e.rule, count(*) AS records, first(e.message) AS reason
FROM quarantine LATERAL VIEW explode(errors) AS e GROUP BY 1, 2 ORDER BY 1, 2"""
ACCURACY = """
SELECT model_name, split, metric, iou, round(value, 3) AS value
FROM evaluations
WHERE category_id IS NULL AND area_range = 'all' AND max_detections = 100 AND metric = 'AP'
ORDER BY evaluated_at, iou DESC"""
DRIFT = """
SELECT slice_value AS camera, scope, metric, round(effect, 2) AS effect, p_value, is_drift
FROM vision_drift_metrics
WHERE slice_key IS NOT NULL AND metric IN ('brightness', 'contrast', 'sharpness', 'num_detections', 'max_score')
ORDER BY camera, scope, metric"""
QUESTIONS = {
    "What did the model find, and how sure was it?": """
SELECT category_name, count(*) AS boxes, round(avg(score), 3) AS mean_score
FROM detections WHERE dataset = 'shapes_new' AND score >= 0.5
GROUP BY category_name ORDER BY boxes DESC""",
    "How sure is it, camera by camera?": """
SELECT i.metadata['camera'] AS camera, count(*) AS boxes, round(avg(d.score), 3) AS mean_score
FROM detections d JOIN images i USING (dataset, image_id)
WHERE d.dataset = 'shapes_new' AND d.score >= 0.5 GROUP BY camera ORDER BY camera""",
    "On which new images did it find nothing?": """
SELECT i.metadata['camera'] AS camera, count(*) AS images
FROM predictions p JOIN images i USING (dataset, image_id)
WHERE p.dataset = 'shapes_new' AND NOT exists(p.detections, d -> d.score >= 0.5)
GROUP BY camera ORDER BY camera""",
}


def run(root: Path, file: Path | None, overrides: list[str], *, force: bool) -> None:
    """Run every verb on generated data under `root` and print what came of it."""
    started = time.monotonic()
    settings = configuration.load(file or CONFIG, overrides)
    generate(root / "data")
    warehouse = _run_verbs(root, settings, force=force)
    _print_summary(warehouse, settings, time.monotonic() - started)


def generate(folder: Path) -> None:
    """Write the demo's images and COCO files, once; a folder that is there is whole.

    Raises:
        UserError: the folder cannot be written.
    """
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        with progress.step(f"generate {sum(NUM_IMAGES.values()):,} images"):
            train = shapes.write_coco(partial, split="train", num_images=NUM_IMAGES["train"], seed=1)
            shapes.plant_defects(train)
            shapes.write_coco(partial, split="val", num_images=NUM_IMAGES["val"], seed=2, first_id=10_001)
            shapes.write_coco(
                partial, split="new", num_images=NUM_IMAGES["new"], seed=3, first_id=20_001, night_camera=True
            )
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"the demo's images cannot be written: {error.strerror}", where=str(folder)) from error


def _run_verbs(root: Path, settings: Config, *, force: bool) -> Warehouse:
    """What a user would type, one call a verb, in one process."""
    from features.build import build
    from ingestion.load import ingest_coco
    from quality.check import check
    from serving.assess import assess
    from serving.monitor import monitor
    from serving.predict import predict
    from training.fit import train
    from training.register import promote, register

    for dataset, split in ((DATASET, "train"), (DATASET, "val"), (NEW, "new")):
        images, file = root / "data" / split, root / "data" / f"instances_{split}.json"
        ingest_coco(root, settings, images=images, annotations=file, dataset=dataset, split=split)
    warehouse = open_warehouse(root)
    check(warehouse, settings)
    build(warehouse, settings, dataset=DATASET)
    with cluster.connected(settings.ray):  # one for three verbs
        trained = train(warehouse, settings, dataset=DATASET, force=force)
        assess(warehouse, settings, model=trained.run_id, dataset=DATASET, split="val")
        version = register(warehouse, run_id=trained.run_id)
        promote(warehouse, name=version.name, version=version.version)
        champion = f"{version.name}@champion"
        predict(warehouse, settings, model=champion, dataset=NEW)
    monitor(warehouse, settings, model=champion, dataset=NEW, baseline_dataset=DATASET, baseline_split="val")
    return warehouse


def _print_summary(warehouse: Warehouse, settings: Config, seconds: float) -> None:
    console = Console(highlight=False)
    session = spark.session(warehouse, settings.spark)

    def ask(statement: str) -> pa.Table:
        return queries.query(warehouse, session, statement)

    sections = [
        ("Rows per table", _rows_per_table(warehouse)),
        ("Quarantine by reason (the defects that were planted)", ask(QUARANTINE)),
        ("Accuracy on val (COCO)", ask(ACCURACY)),
        ("Drift of the new images against val: yard was darkened, gate was not", ask(DRIFT)),
    ]
    for title, table in sections:
        _print_section(console, title, table)
    for question, statement in QUESTIONS.items():
        _print_section(console, f"SQL: {question}", ask(statement), statement.strip())
    _print_farewell(console, warehouse, seconds)


def _rows_per_table(warehouse: Warehouse) -> pa.Table:
    names = list(TABLES)
    return pa.table({"table": names, "rows": [delta.count(warehouse, name) for name in names]})


def _print_section(console: Console, title: str, table: pa.Table, statement: str = "") -> None:
    console.print(f"\n[bold cyan]{title}[/]")
    if statement:
        console.print(f"[dim]{statement}[/]", soft_wrap=True)
    console.print(queries.to_grid(table))


def _print_farewell(console: Console, warehouse: Warehouse, seconds: float) -> None:
    docs = warehouse.state("data_docs")
    console.print(f"\n[bold]Done in {seconds:.0f} s.[/] Tables: {warehouse.root}/warehouse", soft_wrap=True)
    console.print(
        f"Quality report: {docs}/index.html   Log: {warehouse.state('logs', 'lakesight.log')}", soft_wrap=True
    )
    console.print("Next:")
    console.print(f'  lakesight sql --root {warehouse.root.name} "SELECT * FROM model_leaderboard"', soft_wrap=True)
    console.print(
        "  lakesight ingest coco --images DIR --annotations FILE --dataset NAME --split train", soft_wrap=True
    )
