"""The numbers of a model version's predictions on a data set -> `evaluations` (delta-rs). `lakesight evaluate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from lakesight import delta
from lakesight.errors import UserError
from lakesight.tables import EVALUATIONS
from lakesight.warehouse import Warehouse
from quality.coco import Stats
from quality.comparison import ALL_SPLITS, fingerprint, read_comparison
from quality.judge import judge


@dataclass(frozen=True, kw_only=True)
class EvaluateReport:
    """What was compared, and the numbers."""

    run_id: str
    model_name: str
    model_version: str
    dataset: str
    split: str
    num_images: int
    num_failed: int
    """Images the model could not score; they count as images without detections."""
    num_annotations: int
    num_detections: int
    stats: Stats
    """Of boxes, or of classes of whole images."""
    mask_stats: Stats | None
    """Where the model gives masks."""
    category_names: dict[int, str]
    reused: bool
    """The same comparison is in `evaluations` already: no row was added."""


def evaluate(
    warehouse: Warehouse, *, model_name: str, model_version: str | None, dataset: str, split: str | None
) -> EvaluateReport:
    """Compare predictions with annotations and record the numbers, over all classes and for each.

    `model_version` None: the one that scored this data set last; `split` None: all images. The same comparison twice
    adds no row.

    Raises:
        UserError: nothing to compare: unknown split or model, images not scored, no annotations, other classes.
    """
    split = split or ALL_SPLITS
    versions = delta.versions(warehouse, "images", "annotations", "categories", "predictions")
    version = model_version or latest_version(warehouse, model_name, dataset, versions["predictions"])
    inputs = read_comparison(warehouse, versions, model_name, version, dataset, split)
    stats = judge(inputs)
    run_id = f"evaluate-{fingerprint(inputs, model_name, version, dataset, split)[:16]}"
    subject = {"run_id": run_id, "model_name": model_name, "model_version": version, "dataset": dataset, "split": split}
    rows = _rows(stats, subject, versions)
    added = delta.commit(warehouse, "evaluations", rows, app_id=run_id, txn=1)
    return EvaluateReport(
        **subject,
        num_images=len(inputs.image_ids),
        num_failed=inputs.num_failed,
        num_annotations=inputs.truth.num_rows,
        num_detections=inputs.found.num_rows,
        stats=stats[0],
        mask_stats=stats[1] if len(stats) > 1 else None,
        category_names={c["id"]: c["name"] for c in inputs.categories},
        reused=not added,
    )


def latest_version(warehouse: Warehouse, model: str, dataset: str, version: int) -> str:
    """The version of a model that scored a data set last; `version` is that of `predictions`.

    Raises:
        UserError: the model has scored none of its images.
    """
    scored = delta.read(
        warehouse,
        "predictions",
        columns=["model_name", "model_version", "predicted_at"],
        where=pc.field("dataset") == dataset,
        version=version,
    )
    mine = scored.filter(pc.field("model_name") == model)
    if mine.num_rows == 0:
        there = sorted(set(scored["model_name"].to_pylist()))
        raise UserError(
            f"model {model!r} has scored no image of data set {dataset!r}",
            where=str(warehouse.path("predictions")),
            expected=f"one of {', '.join(there)}" if there else "predictions",
            fix=f"run `lakesight predict --model {model} --dataset {dataset}`, or `lakesight import-detections`",
        )
    latest: str = mine.sort_by("predicted_at")["model_version"][-1].as_py()
    return latest


def _rows(stats: Sequence[Stats], subject: dict[str, str], versions: dict[str, int]) -> pa.Table:
    shared = {
        **subject,
        "table_version": versions["annotations"],
        "predictions_version": versions["predictions"],
        "evaluated_at": datetime.now(UTC),
    }
    rows = [
        {
            **shared,
            "iou_type": of.iou_type,
            "metric": m.metric,
            "iou": m.iou,
            "area_range": m.area_range,
            "max_detections": m.max_detections,
            "category_id": m.category_id,
            "value": m.value,
        }
        for of in stats
        for m in of.metrics
    ]
    return pa.Table.from_pylist(rows, schema=EVALUATIONS.arrow)
