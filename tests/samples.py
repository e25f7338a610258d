"""Fill `samples` and `categories` from generated pictures, without a JVM: what training's own tests learn from."""

import hashlib
import io
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from lakesight import delta, shapes
from lakesight.tables import CATEGORIES, SAMPLES

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fill(warehouse, splits, *, dataset="shapes", size=96, txn=1):
    """`splits`: name -> (seed, number of images); the pictures `lakesight.shapes.write_coco` draws."""
    rows = []
    for split, (seed, num_images) in splits.items():
        first_id = len(rows) + 1
        rows += [sample(seed, i, first_id + i, split, dataset, size) for i in range(num_images)]
    classes = [
        {"dataset": dataset, "category_id": 10 * (i + 1), "name": name, "label": i, "ingested_at": NOW, "run_id": "t"}
        for i, name in enumerate(shapes.CATEGORIES)
    ]
    commit(warehouse, SAMPLES, rows, txn)
    commit(warehouse, CATEGORIES, classes, txn)


def commit(warehouse, table, rows, txn):
    data = pa.Table.from_pylist(rows, schema=table.arrow)
    delta.commit(warehouse, table.name, data, app_id="test", txn=txn)


def sample(seed, i, image_id, split, dataset, size):
    image, drawn = shapes.draw(np.random.default_rng([seed, i]), size)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    annotations = [
        {
            "annotation_id": image_id * 10 + j,
            "category_id": 10 * (shape.label + 1),
            "label": shape.label,
            "bbox": [shape.box[0], shape.box[1], shape.box[2] - shape.box[0], shape.box[3] - shape.box[1]],
            "area": (shape.box[2] - shape.box[0]) * (shape.box[3] - shape.box[1]),
            "iscrowd": 0,
            "segmentation": None,
        }
        for j, shape in enumerate(drawn)
    ]
    return {
        "dataset": dataset,
        "image_id": image_id,
        "file_name": f"{image_id}.jpg",
        "content": buffer.getvalue(),
        "width": size,
        "height": size,
        "exif_orientation": 1,
        "annotations": annotations,
        "num_annotations": len(annotations),
        "split": split,
        "shuffle_key": image_id,
        "fingerprint": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "built_at": NOW,
        "run_id": "t",
    }
