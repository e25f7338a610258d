"""Both sides of a comparison, read from `images`, `annotations`, `categories` and `predictions` (delta-rs)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lakesight import delta
from lakesight.errors import TableError, UserError
from lakesight.warehouse import Warehouse
from quality.coco import Truth

ALL_SPLITS = "all"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both sides of a comparison; images are numbered 1.. by image_id."""

    image_ids: NDArray[np.int64]  # [I] ascending
    categories: list[dict[str, Any]]
    truth: Truth
    detections: NDArray[np.float64]  # [N, 7]: image number, xywh in pixels, score, category_id
    num_failed: int


def read_comparison(
    warehouse: Warehouse, versions: dict[str, int], model: str, version: str, dataset: str, split: str
) -> Comparison:
    """Read both sides at the given table versions.

    Raises:
        UserError: nothing to compare: unknown split, images not scored, no annotations, other classes.
    """
    image_ids = _image_ids(warehouse, versions["images"], dataset, split)
    scored = delta.read(
        warehouse,
        "predictions",
        columns=["image_id", "detections", "status"],
        where=(pc.field("dataset") == dataset)
        & (pc.field("model_name") == model)
        & (pc.field("model_version") == version),
        version=versions["predictions"],
    )
    scored = scored.filter(pc.field("image_id").isin(image_ids)).sort_by("image_id")
    _refuse_unscored(image_ids, scored["image_id"].to_numpy(), f"{model}/{version}", dataset, split)
    categories = _categories(warehouse, versions["categories"], dataset)
    found = scored["detections"].combine_chunks()
    _refuse_other_classes(found, categories, dataset)
    return Comparison(
        image_ids=image_ids,
        categories=categories,
        truth=_truth(warehouse, versions["annotations"], dataset, image_ids),
        detections=_detections(found, [c["id"] for c in categories]),
        num_failed=pc.sum(pc.equal(scored["status"], "error")).as_py() or 0,
    )


def _image_ids(warehouse: Warehouse, version: int, dataset: str, split: str) -> NDArray[np.int64]:
    images = delta.read(
        warehouse, "images", columns=["image_id", "split"], where=pc.field("dataset") == dataset, version=version
    )
    wanted = images if split == ALL_SPLITS else images.filter(pc.field("split") == split)
    if wanted.num_rows == 0:
        there = sorted({str(s) for s in images["split"].to_pylist()})
        raise UserError(
            f"data set {dataset!r} has no images of split {split!r}",
            where=str(warehouse.path("images")),
            expected=f"one of {', '.join(there)}, or {ALL_SPLITS}" if there else "images: this data set has none",
            fix="correct --dataset or --split",
        )
    ids: NDArray[np.int64] = np.sort(wanted["image_id"].to_numpy())
    return ids


def _refuse_unscored(
    image_ids: NDArray[np.int64], scored: NDArray[np.int64], model: str, dataset: str, split: str
) -> None:
    missing = np.setdiff1d(image_ids, scored)
    if missing.size:
        only = "" if split == ALL_SPLITS else f" --split {split}"
        raise UserError(
            f"{missing.size} of {image_ids.size} images have no prediction by {model}",
            where=f"data set {dataset}, split {split}: image_id {', '.join(map(str, missing[:5]))}"
            + (", ..." if missing.size > 5 else ""),
            expected="every image scored: AP over a part would be another number",
            fix=f"run `lakesight predict --model {model} --dataset {dataset}{only}`, or `lakesight import-detections`",
        )
    if len(scored) > len(image_ids):
        raise TableError("an image has two predictions by one model version", where=f"predictions, {model}")


def _categories(warehouse: Warehouse, version: int, dataset: str) -> list[dict[str, Any]]:
    rows = delta.read(
        warehouse, "categories", columns=["category_id", "name"], where=pc.field("dataset") == dataset, version=version
    )
    return [{"id": row["category_id"], "name": row["name"]} for row in rows.sort_by("category_id").to_pylist()]


def _refuse_other_classes(found: pa.ListArray, categories: Sequence[dict[str, Any]], dataset: str) -> None:
    """A model trained on another data set may use the same ids for other classes."""
    known = {c["id"]: c["name"] for c in categories}
    boxes = found.flatten()
    pairs = pa.table({"id": pc.struct_field(boxes, "category_id"), "name": pc.struct_field(boxes, "category_name")})
    for pair in pairs.group_by(["id", "name"]).aggregate([]).sort_by("id").to_pylist():
        name = known.get(pair["id"])
        if name is not None and pair["name"] is not None and name != pair["name"]:
            raise UserError(
                f"the model and data set {dataset!r} do not mean the same classes",
                where=f"category_id {pair['id']}: {pair['name']!r} for the model, {name!r} in the data set",
                fix="evaluate on a data set with the classes of the model",
            )


def _truth(warehouse: Warehouse, version: int, dataset: str, image_ids: NDArray[np.int64]) -> Truth:
    """Annotations of the images, by annotation id: with equal overlaps, COCO's matching takes the last."""
    columns = ["annotation_id", "image_id", "category_id", "bbox", "area", "iscrowd"]
    rows = delta.read(warehouse, "annotations", columns=columns, where=pc.field("dataset") == dataset, version=version)
    rows = rows.filter(pc.field("image_id").isin(image_ids) & pc.field("bbox").is_valid())
    if rows.num_rows == 0:
        raise UserError(
            f"these images of data set {dataset!r} have no annotations to compare with",
            where=str(warehouse.path("annotations")),
            fix="ingest annotations, or evaluate another split",
        )
    rows = rows.sort_by("annotation_id").combine_chunks()
    xywh = _matrix(rows["bbox"].combine_chunks())
    return Truth(
        image_id=np.searchsorted(image_ids, rows["image_id"].to_numpy()) + 1,
        category_id=rows["category_id"].to_numpy(),
        xywh=xywh,
        area=pc.coalesce(rows["area"], pa.array(xywh[:, 2] * xywh[:, 3])).to_numpy(),
        iscrowd=pc.fill_null(rows["iscrowd"], 0).to_numpy().astype(np.int64),
    )


def _detections(found: pa.ListArray, category_ids: Sequence[int]) -> NDArray[np.float64]:
    """[I] lists of detections, one an image -> [N, 7] in the order of images and of the model."""
    boxes = found.flatten()
    columns = [
        pc.list_parent_indices(found).to_numpy() + 1,
        _matrix(pc.struct_field(boxes, "bbox")),
        pc.struct_field(boxes, "score").to_numpy(),
        pc.struct_field(boxes, "category_id").to_numpy(),
    ]
    table = np.column_stack(columns).astype(np.float64)
    kept: NDArray[np.float64] = table[np.isin(table[:, 6], category_ids)]
    return kept


def _matrix(boxes: pa.ListArray) -> NDArray[np.float64]:
    matrix: NDArray[np.float64] = boxes.flatten().to_numpy().reshape(-1, 4)
    return matrix


def fingerprint(inputs: Comparison, *subject: str) -> str:
    """Of all that the numbers depend on. Not of table versions: they move when anything else is written."""
    digest = hashlib.sha256(repr((subject, inputs.categories)).encode())
    truth = inputs.truth
    columns = [truth.image_id, truth.category_id, truth.xywh, truth.area, truth.iscrowd]
    for array in [inputs.image_ids, *columns, inputs.detections]:
        digest.update(np.ascontiguousarray(array).tobytes() + b"|")
    return digest.hexdigest()
