"""Rows of `predictions` from what a model or a results file says (pure, Arrow and NumPy)."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from lakesight.tables import BOX, DETECTION, PREDICTIONS


def nest(
    counts: ArrayLike,
    xywh: ArrayLike | None,
    *,
    scores: ArrayLike,
    labels: ArrayLike,
    category_ids: ArrayLike,
    category_names: Sequence[str | None],
    segmentations: Sequence[str | None] | None = None,
) -> pa.ListArray:
    """[N] detections in columns -> [I] lists of them, `counts[i]` for image i, in the order given.

    `xywh`: [N, 4], pixels of the stored image; None: classes of whole images. `segmentations`: COCO JSON, if any.
    """
    columns = {
        "label": pa.array(np.asarray(labels, dtype=np.int32)),
        "category_id": pa.array(np.asarray(category_ids, dtype=np.int64)),
        "category_name": pa.array(category_names, pa.string()),
        "score": pa.array(np.asarray(scores, dtype=np.float64)),
        "bbox": _boxes(xywh, len(category_names)),
        "segmentation": pa.array(segmentations or [None] * len(category_names), pa.string()),
    }
    flat = pa.StructArray.from_arrays([columns[field.name] for field in DETECTION], fields=list(DETECTION))
    offsets = np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=pa.list_(DETECTION))


def _boxes(xywh: ArrayLike | None, num: int) -> pa.Array:
    if xywh is None:
        return pa.nulls(num, BOX)
    boxes = np.asarray(xywh, dtype=np.float64).reshape(-1, 4)
    corners = pa.array(np.arange(0, boxes.size + 1, 4), pa.int32())
    return pa.ListArray.from_arrays(corners, pa.array(boxes.reshape(-1)), type=BOX)


def prediction_rows(
    scored: pa.Table,
    *,
    dataset: str,
    model_name: str,
    model_version: str,
    source_table: str,
    source_version: int | None,
    run_id: str,
) -> pa.Table:
    """`scored` (image_id, detections, status, error, latency_ms) with the columns that all its rows share."""
    shared = {
        "dataset": dataset,
        "model_name": model_name,
        "model_version": model_version,
        "source_table": source_table,
        "source_version": source_version,
        "predicted_at": datetime.now(UTC),
        "run_id": run_id,
    }
    schema = PREDICTIONS.arrow
    columns = [
        pa.repeat(pa.scalar(shared[field.name], field.type), scored.num_rows)
        if field.name in shared
        else scored[field.name].cast(field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def fence(model_name: str, model_version: str, dataset: str) -> str:
    """The Delta application whose transactions number the commits for one model version on one data set.

    Whoever writes reads the last number before looking at what is scored, and commits with the next: a commit in
    between makes the number stale, and the writer looks again instead of scoring an image twice.
    """
    return f"predictions/{model_name}/{model_version}/{dataset}"
