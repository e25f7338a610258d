"""How much of a training step of the demo is waiting for its batch: the whole path, on Ray, validations left out."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.frame import Result, counted
from lakesight import config as configuration
from lakesight import delta, shapes
from lakesight.tables import CATEGORIES, SAMPLES
from lakesight.warehouse import Warehouse, create_warehouse
from training import tracking
from training.fit import train

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
SIZE = 96
PERCENT = 2.0


def run(steps: int = 60, num_images: int = 400) -> Iterator[Result]:
    """`configs/demo.yaml`, fewer steps."""
    with tempfile.TemporaryDirectory() as scratch:
        warehouse = generate(Path(scratch), num_images)
        settings = configuration.load(DEMO, [f"train.steps={steps}", f"train.val_every={steps}"])
        report = train(warehouse, settings, dataset="bench")
        found = tracking.connect(warehouse).get_run(report.mlflow_run_id).data.metrics
    yield counted(
        "training_step",
        f"waiting for batches, share of {steps} steps",
        ours=max(100 * found["data_wait_share"], 0.01),
        peer=PERCENT,
        peer_name="the bound",
        goal=1.0,
        unit="%",
        note="by the clock; the first batch is left out",
    )


def generate(root: Path, num_images: int) -> Warehouse:
    """`samples` and `categories` of drawn shapes, a fifth of the images in `val`."""
    warehouse = create_warehouse(root)
    delta.create_tables(warehouse)
    for table, rows in {
        SAMPLES: [_sample(image_id, "train" if image_id % 5 else "val") for image_id in range(num_images)],
        CATEGORIES: [
            dict.fromkeys(CATEGORIES.arrow.names)
            | {"dataset": "bench", "run_id": "bench", "category_id": label, "label": label, "name": name}
            for label, name in enumerate(shapes.CATEGORIES)
        ],
    }.items():
        delta.commit(warehouse, table.name, pa.Table.from_pylist(rows, table.arrow), app_id="bench", txn=1)
    return warehouse


def _sample(image_id: int, split: str) -> dict[str, Any]:
    image, drawn = shapes.draw(np.random.default_rng([0, image_id]), SIZE)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    boxes = [(left, top, right - left, bottom - top) for left, top, right, bottom in (shape.box for shape in drawn)]
    annotations = [
        {"annotation_id": number, "category_id": shape.label, "label": shape.label, "iscrowd": 0}
        | {"bbox": list(box), "area": box[2] * box[3]}
        for number, (shape, box) in enumerate(zip(drawn, boxes, strict=True))
    ]
    return dict.fromkeys(SAMPLES.arrow.names) | {
        "dataset": "bench",
        "run_id": "bench",
        "image_id": image_id,
        "split": split,
        "width": SIZE,
        "height": SIZE,
        "content": file.getvalue(),
        "annotations": annotations,
        "num_annotations": len(annotations),
    }
