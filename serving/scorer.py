"""Ray glue: the actor that holds a model and scores batches of images."""

import time
from collections.abc import Sequence
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa

from features.reference import GONE
from lakesight.malloc import keep_memory
from lakesight.opencv import one_thread
from serving.rows import nest


class Scorer:
    """Loads an MLflow pyfunc once; called with batches of (image_id, content)."""

    def __init__(self, uri: str, tracking_uri: str) -> None:
        """`uri`: of the model, in the MLflow that `tracking_uri` names."""
        keep_memory()
        one_thread()
        mlflow.set_tracking_uri(tracking_uri)
        self._model = mlflow.pyfunc.load_model(uri)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """(image_id, content) -> (image_id, detections, status, error, latency_ms), row by row."""
        contents = batch["content"].to_pylist()
        images = pd.DataFrame({"image": [content or b"" for content in contents]})
        started = time.perf_counter()
        found = pd.DataFrame(self._model.predict(images))
        latency_ms = (time.perf_counter() - started) * 1000 / len(images)
        said = found.get("error", [None] * len(images))
        errors = [GONE if content is None else _text(error) for content, error in zip(contents, said, strict=True)]
        return pa.table(
            {
                "image_id": batch["image_id"],
                "detections": _nest(found),
                "status": pa.array(["ok" if error is None else "error" for error in errors]),
                "error": pa.array(errors, pa.string()),
                "latency_ms": pa.array(np.full(len(images), latency_ms)),
            }
        )


def _text(error: Any) -> str | None:
    """Models say None, NaN (pandas' idea of None) or nothing where an image was good."""
    return error if isinstance(error, str) and error else None


def _nest(found: pd.DataFrame) -> pa.ListArray:
    """A model of classes gives no boxes, one of boxes no masks."""
    scores, boxes = _flat(found["scores"]), _flat(found["boxes"])
    masks = _flat(found["masks"]) if "masks" in found else ()
    return nest(
        [len(scores) for scores in found["scores"]],
        boxes if boxes or not scores else None,
        scores=scores,
        labels=_flat(found["labels"]),
        category_ids=_flat(found["category_ids"]),
        category_names=_flat(found["category_names"]),
        segmentations=masks or None,
    )


def _flat(column: "pd.Series[Any]") -> Sequence[Any]:
    return [value for values in column for value in values]
