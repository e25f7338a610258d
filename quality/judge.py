"""Both sides of a comparison -> its numbers: of boxes, of masks too where a model gave some, or of classes (pure)."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lakesight.errors import UserError
from quality.classification import class_stats
from quality.coco import Stats, Truth, box_stats, mask_stats
from quality.comparison import Comparison


def judge(sides: Comparison) -> list[Stats]:
    """Of boxes and then, where the model gives masks, of masks; or of classes of whole images.

    Raises:
        UserError: there is nothing of that kind to compare with.
    """
    if not sides.boxed:
        return [_classes(sides)]
    truth = sides.truth.filter(pc.is_valid(sides.truth["bbox"]))
    if truth.num_rows == 0:
        raise _nothing("boxes")
    masks = [_masks(sides, truth)] if sides.found["segmentation"].null_count < sides.found.num_rows else []
    return [_boxes(sides, truth), *masks]


def _boxes(sides: Comparison, rows: pa.Table) -> Stats:
    truth = Truth(
        image_id=rows["image"].to_numpy(),
        category_id=rows["category_id"].to_numpy(),
        xywh=_matrix(rows["bbox"]),
        area=rows["area"].to_numpy(),
        iscrowd=rows["iscrowd"].to_numpy().astype(np.int64),
    )
    found = sides.found
    columns = (
        found["image"].to_numpy(),
        _matrix(found["bbox"]),
        *(found[n].to_numpy() for n in ("score", "category_id")),
    )
    return box_stats(_numbers(sides), sides.categories, truth, np.column_stack(columns).astype(np.float64))


def _masks(sides: Comparison, rows: pa.Table) -> Stats:
    images = [
        {"id": number, "height": int(height), "width": int(width)}
        for number, (height, width) in zip(_numbers(sides), sides.sizes, strict=True)
    ]
    there = sides.found.filter(pc.is_valid(sides.found["segmentation"])).drop_columns(["bbox"])
    truth, found = (side.rename_columns({"image": "image_id"}).to_pylist() for side in (rows, there))
    return mask_stats(images, sides.categories, truth, found)


def _classes(sides: Comparison) -> Stats:
    """Over the images of one class; what was found is the best of an image."""
    rows = sides.truth.filter(pc.is_null(sides.truth["bbox"]))
    image, category = rows["image"].to_numpy(), rows["category_id"].to_numpy()
    counts = np.bincount(image, minlength=len(sides.image_ids) + 1)
    single = counts[image] == 1
    if not single.any():
        raise _nothing("images of one class")
    best = np.full(len(counts), NOTHING)
    numbers, first = np.unique(sides.found["image"].to_numpy(), return_index=True)
    best[numbers] = sides.found["category_id"].to_numpy()[first]
    ids = np.array([category["id"] for category in sides.categories], dtype=np.int64)
    return class_stats(category[single], best[image[single]], ids)


NOTHING = -1
"""Stands for the category of an image on which nothing was found."""


def _numbers(sides: Comparison) -> range:
    return range(1, len(sides.image_ids) + 1)


def _matrix(boxes: pa.ChunkedArray) -> NDArray[np.float64]:
    matrix: NDArray[np.float64] = boxes.combine_chunks().flatten().to_numpy().reshape(-1, 4)
    return matrix


def _nothing(what: str) -> UserError:
    return UserError(
        f"there are no {what} to compare with",
        where="annotations",
        expected=f"{what}, which is what the model gives",
        fix="ingest annotations of that kind, or evaluate another data set or split",
    )
