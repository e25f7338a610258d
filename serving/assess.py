"""COCO's numbers for a model on a data set: score what it has not scored, then compare. `lakesight evaluate`."""

import pyarrow.compute as pc

from lakesight import delta
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.warehouse import Warehouse
from quality.comparison import ALL_SPLITS
from quality.evaluate import EvaluateReport, evaluate
from serving.predict import predict
from training.register import finished_run

IMAGES = "images"
"""`predictions.source_table` of what `lakesight predict` scored; imported rows name their file."""


def assess(
    warehouse: Warehouse, config: Config, *, model: str | None, dataset: str, split: str | None
) -> EvaluateReport:
    """Judge a model: imported detections as they are, any other model after scoring the images it has not seen.

    `model` None: the latest training run. `split` None: `val` if the data set has it, for imported detections the
    split they cover; `all`: every image.

    Raises:
        UserError: no such model, or nothing to compare it with.
    """
    model = model or finished_run(warehouse)["run_id"]
    name, _, version = model.partition("/")
    covered = _imported_splits(warehouse, name, dataset)
    split = split or _default_split(covered or _splits(warehouse, dataset))
    wanted = None if split == ALL_SPLITS else split
    if covered:
        return evaluate(warehouse, model_name=name, model_version=version or None, dataset=dataset, split=wanted)
    scored = predict(warehouse, config, model=model, dataset=dataset, split=wanted)
    return evaluate(
        warehouse,
        model_name=scored.model_name,
        model_version=scored.model_version,
        dataset=dataset,
        split=wanted,
    )


def _imported_splits(warehouse: Warehouse, name: str, dataset: str) -> set[str | None]:
    """The splits that detections imported under this name cover; empty if there are none."""
    mine = (pc.field("model_name") == name) & (pc.field("dataset") == dataset) & (pc.field("source_table") != IMAGES)
    images = delta.read(warehouse, "predictions", columns=["image_id"], where=mine)["image_id"]
    covers = (pc.field("dataset") == dataset) & pc.field("image_id").isin(images.combine_chunks())
    return set(delta.read(warehouse, "images", columns=["split"], where=covers)["split"].to_pylist())


def _splits(warehouse: Warehouse, dataset: str) -> set[str | None]:
    rows = delta.read(warehouse, "images", columns=["split"], where=pc.field("dataset") == dataset)
    return set(rows["split"].to_pylist())


def _default_split(splits: set[str | None]) -> str:
    if len(splits) == 1:
        return next(iter(splits)) or ALL_SPLITS
    if "val" in splits:
        return "val"
    raise UserError(
        "which split?",
        expected=f"one of {', '.join(sorted(filter(None, splits)))}, or {ALL_SPLITS}",
        fix="add --split NAME",
    )
