"""Both sides of a comparison, read from `images`, `annotations`, `categories` and `predictions` (delta-rs)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lakesight import delta
from lakesight.errors import TableError, UserError
from lakesight.warehouse import Warehouse

ALL_SPLITS = "all"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both sides of a comparison; images are numbered 1.. by image_id."""

    image_ids: NDArray[np.int64]  # [I] ascending
    sizes: NDArray[np.int64]  # [I, 2] height, width of the stored images
    categories: list[dict[str, Any]]
    truth: pa.Table
    """Annotations by id (with equal overlaps, COCO's matching takes the last): image (its number), category_id, bbox,
    area, iscrowd, and where `found` has masks segmentation."""
    found: pa.Table
    """Detections of the data set's categories, in the order of images and of the model: image, category_id, score,
    bbox, segmentation."""
    num_failed: int

    @property
    def boxed(self) -> bool:
        """Whether it is about boxes; otherwise about classes of whole images."""
        side = self.found if self.found.num_rows else self.truth
        return side.num_rows == 0 or bool(side["bbox"].null_count < side.num_rows)


def read_comparison(
    warehouse: Warehouse, versions: dict[str, int], model: str, version: str, dataset: str, split: str
) -> Comparison:
    """Read both sides at the given table versions.

    Raises:
        UserError: nothing to compare: unknown split, images not scored, no annotations, other classes.
    """
    images = _images(warehouse, versions["images"], dataset, split)
    image_ids = images["image_id"].to_numpy()
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
    nested = scored["detections"].combine_chunks()
    _refuse_other_classes(nested, categories, dataset)
    found = _found(nested, [c["id"] for c in categories])
    masks = found["segmentation"].null_count < found.num_rows
    return Comparison(
        image_ids=image_ids,
        sizes=np.stack([pc.fill_null(images[side], 0).to_numpy() for side in ("height", "width")], axis=1).astype(
            np.int64
        ),
        categories=categories,
        truth=_truth(warehouse, versions["annotations"], dataset, image_ids, masks=masks),
        found=found,
        num_failed=pc.sum(pc.equal(scored["status"], "error")).as_py() or 0,
    )


def _images(warehouse: Warehouse, version: int, dataset: str, split: str) -> pa.Table:
    """image_id, height, width of the split, by image_id."""
    columns = ["image_id", "split", "height", "width"]
    images = delta.read(warehouse, "images", columns=columns, where=pc.field("dataset") == dataset, version=version)
    wanted = images if split == ALL_SPLITS else images.filter(pc.field("split") == split)
    if wanted.num_rows == 0:
        there = sorted({str(s) for s in images["split"].to_pylist()})
        raise UserError(
            f"data set {dataset!r} has no images of split {split!r}",
            where=str(warehouse.path("images")),
            expected=f"one of {', '.join(there)}, or {ALL_SPLITS}" if there else "images: this data set has none",
            fix="correct --dataset or --split",
        )
    return wanted.sort_by("image_id")


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


def _truth(warehouse: Warehouse, version: int, dataset: str, image_ids: NDArray[np.int64], *, masks: bool) -> pa.Table:
    """`Comparison.truth`; captions, which have no category, are no annotations to compare with."""
    columns = ["annotation_id", "image_id", "category_id", "bbox", "area", "iscrowd", *(["segmentation"] * masks)]
    rows = delta.read(warehouse, "annotations", columns=columns, where=pc.field("dataset") == dataset, version=version)
    rows = rows.filter(pc.field("image_id").isin(image_ids) & pc.field("category_id").is_valid())
    if rows.num_rows == 0:
        raise UserError(
            f"these images of data set {dataset!r} have no annotations to compare with",
            where=str(warehouse.path("annotations")),
            fix="ingest annotations, or evaluate another split",
        )
    rows = rows.sort_by("annotation_id").combine_chunks()
    number = pa.array(np.searchsorted(image_ids, rows["image_id"].to_numpy()) + 1)
    size = pc.multiply(pc.list_element(rows["bbox"], 2), pc.list_element(rows["bbox"], 3))
    known = {"area": pc.coalesce(rows["area"], size), "iscrowd": pc.fill_null(rows["iscrowd"], 0)}
    kept = {name: rows[name] for name in columns[2:]}
    return pa.table({"image": number} | kept | known)


def _found(found: pa.ListArray, category_ids: Sequence[int]) -> pa.Table:
    """[I] lists of detections, one an image -> `Comparison.found`."""
    flat = found.flatten()
    columns = {name: pc.struct_field(flat, name) for name in ("category_id", "score", "bbox", "segmentation")}
    table = pa.table({"image": pc.add(pc.list_parent_indices(found), 1), **columns})
    return table.filter(pc.is_in(table["category_id"], pa.array(category_ids, pa.int64())))


def fingerprint(inputs: Comparison, *subject: str) -> str:
    """Of all that the numbers depend on. Not of table versions: they move when anything else is written."""
    digest = hashlib.sha256(repr((subject, inputs.categories)).encode())
    for array in (inputs.image_ids, inputs.sizes, *_arrays(inputs.truth), *_arrays(inputs.found)):
        digest.update(np.ascontiguousarray(array).tobytes() + b"|")
    return digest.hexdigest()


def _arrays(side: pa.Table) -> Iterator[NDArray[Any]]:
    """All that a table says, column by column."""
    for column in side.itercolumns():
        yield pc.is_null(column).to_numpy()
        if pa.types.is_list(column.type):
            yield column.combine_chunks().flatten().to_numpy()
        elif pa.types.is_string(column.type):
            yield np.frombuffer("\n".join(text or "" for text in column.to_pylist()).encode(), np.uint8)
        else:
            yield pc.fill_null(column, 0).to_numpy()
