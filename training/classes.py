"""delta-rs glue: the classes of a data set, as models see them."""

from dataclasses import dataclass

import pyarrow.compute as pc

from lakesight import delta
from lakesight.errors import TableError
from lakesight.warehouse import Warehouse


@dataclass(frozen=True)
class Category:
    """A class: `label` is the model's 0..C-1, `category_id` is COCO's."""

    label: int
    category_id: int
    name: str


def read_categories(warehouse: Warehouse, dataset: str, version: int) -> list[Category]:
    """The classes of a data set at a version of `categories`, by label.

    Raises:
        TableError: the data set has no classes, or their labels are not 0..C-1.
    """
    rows = delta.read(
        warehouse,
        "categories",
        columns=["label", "category_id", "name"],
        where=pc.field("dataset") == dataset,
        version=version,
    ).to_pylist()
    found = sorted((Category(**row) for row in rows), key=lambda category: category.label)
    if not found:
        known = sorted(set(delta.read(warehouse, "categories", columns=["dataset"])["dataset"].to_pylist()))
        raise TableError(
            f"data set {dataset!r} has no classes",
            where="categories",
            expected=f"one of the data sets {', '.join(known)}" if known else "a data set that was ingested",
            fix="check --dataset, or ingest it first",
        )
    if [category.label for category in found] != list(range(len(found))):
        raise TableError(
            f"the labels of data set {dataset!r} are not 0 to {len(found) - 1}",
            where=f"categories.label: {[category.label for category in found]}",
            fix="ingest the data set again: labels are numbered there",
        )
    return found
