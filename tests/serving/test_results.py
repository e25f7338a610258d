"""Predictions -> COCO results -> predictions."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask

from ingestion.load import ingest_coco
from lakesight import delta
from lakesight.config import Config
from lakesight.errors import UserError
from serving.importing import import_detections
from serving.results import export_results
from serving.rows import nest, prediction_rows


@pytest.fixture
def imported(warehouse, shapes_coco, fill, tmp_path):
    fill(warehouse, shapes_coco / "instances_val.json", dataset="shapes", split="val")
    boxes = json.loads((shapes_coco / "instances_val.json").read_text())["annotations"]
    results = [
        {key: box[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1 / (3 + n)}
        for n, box in enumerate(boxes)
    ]
    pixels = np.zeros((96, 96), np.uint8, order="F")
    pixels[3:9, 4:8] = 1
    results[1]["segmentation"] = {"counts": mask.encode(pixels)["counts"].decode(), "size": [96, 96]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    for version in ("1", "2"):
        import_detections(
            warehouse, results=tmp_path / "results.json", model="other", version=version, dataset="shapes"
        )
    return warehouse, results


def test_detections_come_back(imported, tmp_path):
    warehouse, results = imported
    to = tmp_path / "out" / "back.json"
    report = export_results(warehouse, model="other", dataset="shapes", to=to)
    assert (report.model_version, report.num_images, report.num_detections) == ("2", 8, len(results))
    assert json.loads(to.read_text()) == sorted(results, key=lambda found: found["image_id"])
    import_detections(warehouse, results=to, model="again", version="1", dataset="shapes")
    rows = delta.read(warehouse, "predictions").to_pylist()
    found = {(r["model_name"], r["model_version"], r["image_id"]): r["detections"] for r in rows}
    assert all(found["again", "1", image] == found["other", "1", image] for _, _, image in found)


def test_ids_that_are_texts_in_their_file_are_so_in_results(warehouse, spark, shapes_coco, tmp_path):
    path = shapes_coco / "instances_val.json"
    file = json.loads(path.read_text())
    for records in ("images", "annotations", "categories"):
        for record in file[records]:
            record |= {key: f"u-{record[key]}" for key in ("id", "image_id", "category_id") if key in record}
    (tmp_path / "texts.json").write_text(json.dumps(file))
    named = {"annotations": tmp_path / "texts.json", "dataset": "shapes", "split": "val"}
    ingest_coco(warehouse.root, Config(), images=shapes_coco / "val", **named)
    keys = ("image_id", "category_id", "bbox")
    results = [{key: box[key] for key in keys} | {"score": 0.5} for box in file["annotations"]]
    (tmp_path / "results.json").write_text(json.dumps(results))
    import_detections(warehouse, results=tmp_path / "results.json", model="m", version="1", dataset="shapes")
    export_results(warehouse, model="m", dataset="shapes", to=tmp_path / "back.json")
    back = json.loads((tmp_path / "back.json").read_text())
    assert sorted(map(str, back)) == sorted(map(str, results))


def test_what_is_asked_wrongly(imported, tmp_path):
    warehouse, _ = imported
    to = tmp_path / "back.json"
    for model, split, message in (
        ("nobody", None, "has scored no image"), ("other/9", None, "scored none"), ("other", "train", "scored none"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            export_results(warehouse, model=model, dataset="shapes", to=to, split=split)
    assert not to.exists()
    export_results(warehouse, model="other/1", dataset="shapes", to=to)
    with pytest.raises(UserError, match="--force"):
        export_results(warehouse, model="other/1", dataset="shapes", to=to)
    export_results(warehouse, model="other/1", dataset="shapes", to=to, force=True)


def test_classes_of_images_are_no_coco_results(warehouse, shapes_coco, fill, tmp_path):
    fill(warehouse, shapes_coco / "instances_val.json", dataset="shapes", split="val")
    found = nest([1], None, scores=[0.9], labels=[0], category_ids=[1], category_names=["circle"])
    scored = pa.table({"image_id": [1001], "detections": found, "status": ["ok"], "error": [""], "latency_ms": [1.0]})
    shared = {"dataset": "shapes", "model_name": "classes", "model_version": "1", "source_table": "images"}
    rows = prediction_rows(scored, **shared, source_version=0, run_id="test")
    delta.commit(warehouse, "predictions", rows, app_id="test", txn=1)
    with pytest.raises(UserError, match="cannot say classes of whole images"):
        export_results(warehouse, model="classes", dataset="shapes", to=tmp_path / "back.json")
