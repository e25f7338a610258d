"""Columns that somebody has added to every table: each stage works as before, and leaves them alone."""

import pytest
from deltalake import Field
from deltalake.schema import ArrayType, PrimitiveType, StructType

from features.build import build
from ingestion.export.export import Request, export
from ingestion.load import ingest_coco
from lakesight import delta, sql
from lakesight.config import replace
from lakesight.tables import TABLES
from lakesight.warehouse import create_warehouse
from quality.check import check
from serving.assess import assess
from serving.monitor import monitor
from serving.predict import predict
from training.fit import train
from training.register import promote, register
from training.tune import tune

TEXT = PrimitiveType("string")
NAMES = (
    "owner", "split", "label", "position", "found", "copies", "annotations", "chosen_split", "dhash", "id_taken",
    "near_distance", "twin_of", "mask", "brightness", "max_score", "slice_0",
)  # fmt: skip
"""Some are names that queries of ours use themselves."""
NESTED = (Field("tags", ArrayType(TEXT, True)), Field("notes", StructType([Field("by", TEXT)])))
WRITTEN = {
    "samples", "quality_results", "training_runs", "tune_trials", "predictions", "evaluations",
    "predictions_profile_metrics", "predictions_drift_metrics", "vision_drift_metrics",
}  # fmt: skip
SLICES = ["CASE WHEN image_id % 2 = 0 THEN 'even' ELSE 'odd' END"]


@pytest.fixture(scope="module")
def added(tmp_path_factory, shapes_coco, quick_config, spark):
    """A warehouse with the 32 pictures of `shapes_coco`, and more columns in each table than the contract has."""
    root = tmp_path_factory.mktemp("added") / "root"
    for split in ("train", "val"):
        file = shapes_coco / f"instances_{split}.json"
        ingest_coco(root, quick_config, images=shapes_coco / split, annotations=file, dataset="shapes", split=split)
    warehouse = create_warehouse(root)
    for table in TABLES.values():
        texts = [Field(name, TEXT) for name in NAMES if name not in table.arrow.names]
        delta.open_table(warehouse, table.name).alter.add_columns([*texts, *NESTED])
        delta.open_table(warehouse, table.name).update({field.name: "'me'" for field in texts})
    return warehouse


@pytest.mark.slow
def test_every_stage_works_beside_columns_of_others(added, quick_config, spark, ray_cluster, tmp_path):
    space = {"train.lr": {"choice": [1e-3, 1e-4]}}
    trials = {"tune.trials": 1, "tune.max_concurrent": 1, "tune.grace_steps": 5, "tune.space": space}
    check(added, quick_config)
    build(added, quick_config)
    trained = train(added, quick_config, dataset="shapes")
    tune(added, replace(quick_config, trials), dataset="shapes")
    assess(added, quick_config, model=trained.run_id, dataset="shapes", split="val")
    model = register(added, run_id=trained.run_id).name
    promote(added, name=model)
    predict(added, quick_config, model=f"{model}@champion", dataset="shapes")
    watched = replace(quick_config, {"monitor.slices": SLICES, "monitor.min_images": 2})
    monitor(added, watched, model=model, dataset="shapes", baseline_dataset="shapes", baseline_split="val")
    export(added, quick_config, "coco", Request(dataset="shapes", to=tmp_path / "exported"))
    assert {name for name in WRITTEN if not delta.count(added, name)} == set()
    for name in sql.views():
        sql.query(added, spark, f"SELECT * FROM {name}")


@pytest.mark.slow
def test_ingest_keeps_what_others_have_written(added, shapes_coco, quick_config, spark):
    images, file = shapes_coco / "train", shapes_coco / "instances_train.json"
    ingest_coco(added.root, quick_config, images=images, annotations=file, dataset="shapes", split="val", force=True)
    for name in ("images", "annotations", "categories", "image_properties"):
        assert set(delta.open_table(added, name).to_pyarrow_table(columns=["owner"])["owner"].to_pylist()) == {"me"}
    assert set(delta.read(added, "images", columns=["split"])["split"].to_pylist()) == {"val"}, "rows were updated"
