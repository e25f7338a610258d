"""COCO AP: from our tables with `quality`, and from JSON files with pycocotools. The numbers must be the same."""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.frame import Result, side_by_side
from lakesight import delta
from lakesight.tables import TABLES
from lakesight.warehouse import Warehouse, create_warehouse
from quality.comparison import read_comparison
from quality.judge import judge
from serving.importing import import_detections

GOAL = 15.0
NUM_CLASSES = 80
DETECTIONS_AN_IMAGE = 40
Case = tuple[dict[str, Any], list[dict[str, Any]]]


def run(num_images: int = 1_000, repeats: int = 5) -> Iterator[Result]:
    """`num_images` generated images with 7 boxes and 40 detections each, 80 classes, 1 % crowd, many ties of score."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        truth, results = generate(num_images)
        (folder / "truth.json").write_text(json.dumps(truth))
        (folder / "results.json").write_text(json.dumps(results))
        warehouse = fill(folder, truth)
        assert ours(warehouse) == pycocotools(folder), "AP from the tables is not pycocotools'"
        yield side_by_side(
            "evaluation",
            f"COCO AP of {len(results):,} boxes on {num_images:,} images, reading included",
            ours=lambda: ours(warehouse),
            peer=lambda: pycocotools(folder),
            peer_name="pycocotools",
            goal=GOAL,
            repeats=repeats,
            note="12 numbers equal to the last bit",
        )


def generate(num_images: int, seed: int = 0) -> Case:
    """Ground truth and results whose boxes scatter around it."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in range(1, num_images + 1):
        boxes, classes = _boxes(rng, int(rng.integers(1, 15)))
        for box, category_id in zip(boxes, classes, strict=True):
            record = {"id": len(annotations) + 1, "image_id": image_id, "category_id": int(category_id)}
            crowd = int(rng.random() < 0.01)
            annotations.append(record | {"bbox": box.tolist(), "area": float(box[2] * box[3]), "iscrowd": crowd})
        results += _results(rng, image_id, boxes, classes)
    images = [{"id": i, "width": 640, "height": 480, "file_name": f"{i}.jpg"} for i in range(1, num_images + 1)]
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, NUM_CLASSES + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _boxes(rng: np.random.Generator, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    sides = rng.lognormal(3.8, 0.9, (count, 2)).clip(2, 300)
    return np.hstack([rng.uniform(0, 400, (count, 2)), sides]), rng.integers(1, NUM_CLASSES + 1, count)


def _results(
    rng: np.random.Generator, image_id: int, boxes: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]
) -> Iterator[dict[str, Any]]:
    near = rng.integers(0, len(boxes), DETECTIONS_AN_IMAGE)
    scatter = rng.normal(0, 0.15, (DETECTIONS_AN_IMAGE, 4)) * boxes[near][:, [2, 3, 2, 3]]
    found = boxes[near] + scatter
    found[:, 2:] = found[:, 2:].clip(1)
    named = np.where(rng.random(len(near)) < 0.7, classes[near], rng.integers(1, NUM_CLASSES + 1, len(near)))
    for box, category_id in zip(found.tolist(), named.tolist(), strict=True):
        score = round(float(rng.random()), 3)
        yield {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}


def fill(folder: Path, truth: dict[str, Any]) -> Warehouse:
    """The case as tables under `folder`."""
    warehouse = create_warehouse(folder / "root")
    delta.create_tables(warehouse)
    shared = {"dataset": "bench", "run_id": "bench"}
    rows = {
        "images": [shared | {"image_id": i["id"], "split": "val"} for i in truth["images"]],
        "annotations": [
            shared | {"annotation_id": a["id"], **{k: v for k, v in a.items() if k != "id"}}
            for a in truth["annotations"]
        ],
        "categories": [
            shared | {"category_id": c["id"], "name": c["name"], "label": label}
            for label, c in enumerate(truth["categories"])
        ],
    }
    for name, records in rows.items():
        delta.commit(warehouse, name, pa.Table.from_pylist(records, TABLES[name].arrow), app_id="bench", txn=1)
    import_detections(
        warehouse, results=folder / "results.json", model="bench", version="1", dataset="bench", split="val"
    )
    return warehouse


def ours(warehouse: Warehouse) -> list[float | None]:
    """What `lakesight evaluate` computes, from the tables to the numbers."""
    versions = delta.versions(warehouse, "images", "annotations", "categories", "predictions")
    sides = read_comparison(warehouse, versions, "bench", "1", "bench", "val")
    return [metric.value for metric in judge(sides)[0].overall]


def pycocotools(folder: Path) -> list[float | None]:
    """The same with the reference implementation, from JSON files to the numbers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [None if value == -1 else float(value) for value in evaluation.stats]
