"""delta-rs glue: the images of a data set that are to be exported, with all that the tables say of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.text_ids import TEXT_ID
from ingestion.identity import annotation_id
from lakesight import delta
from lakesight.errors import UserError
from lakesight.tables import IMAGES
from lakesight.warehouse import Warehouse

READ = ("images", "annotations", "categories", "sources")
"""Tables that an export reads, each at one version."""
SLACK = 16
"""Places that are looked at beyond an image's annotations: some may have been refused."""
NARROW = tuple(name for name in IMAGES.arrow.names if name != "content")


Row = dict[str, Any]
File = tuple[str, Iterable[bytes]]
"""A path inside the exported folder, and its bytes in pieces."""


@dataclass(frozen=True)
class Selection:
    """Rows of one data set: images without bytes by `image_id`, their annotations by `annotation_id`."""

    images: pa.Table
    annotations: pa.Table
    categories: pa.Table
    """All of the data set, by `category_id`."""
    sources: pa.Table
    """Those that the images may come from, in the order of their ingestion."""

    def splits(self) -> "dict[str | None, Selection]":
        """The selection by the images' split; NULL last."""
        names = sorted(set(self.images["split"].to_pylist()), key=lambda name: (name is None, name))
        return {name: self._of(name) for name in names}

    def _of(self, split: str | None) -> "Selection":
        mine = pc.is_null(self.images["split"]) if split is None else pc.equal(self.images["split"], split)
        images = self.images.filter(mine)
        fits = pc.or_kleene(pc.is_null(self.sources["split"]), pc.equal(self.sources["split"], split or ""))
        return replace(
            self, images=images, annotations=_on(self.annotations, images), sources=self.sources.filter(fits)
        )


def select(
    warehouse: Warehouse, dataset: str, versions: Mapping[str, int], image_ids: Sequence[int] | None
) -> Selection:
    """The data set at `versions`; `image_ids` None: all its images.

    Raises:
        UserError: nothing is left.
    """
    where = pc.field("dataset") == dataset

    def rows(name: str, columns: Sequence[str] | None = None) -> pa.Table:
        return delta.read(warehouse, name, columns=columns, where=where, version=versions[name])

    images = rows("images", NARROW)
    if image_ids is not None:
        images = images.filter(pc.is_in(images["image_id"], value_set=pa.array(image_ids, pa.int64())))
    if images.num_rows == 0:
        raise UserError(
            "there is no image to export",
            where=f"data set {dataset!r}, images at version {versions['images']}",
            expected="at least one image that the selection names",
            fix="check --dataset, --where, --sql and --at",
        )
    return Selection(
        images=images.sort_by("image_id"),
        annotations=_on(rows("annotations"), images).sort_by("annotation_id"),
        categories=rows("categories").sort_by("category_id"),
        sources=rows("sources").sort_by([("ingested_at", "ascending"), ("source_uri", "ascending")]),
    )


def _on(annotations: pa.Table, images: pa.Table) -> pa.Table:
    return annotations.filter(pc.is_in(annotations["image_id"], value_set=images["image_id"].combine_chunks()))


def rows_of(table: pa.Table, batch: int = 8192) -> Iterator[Row]:
    """The rows as dicts, maps as dicts, some thousand at a time."""
    for part in table.to_batches(max_chunksize=batch):
        yield from part.to_pylist(maps_as_pydicts="strict")


def written_ids(rows: pa.Table) -> dict[int, str]:
    """Rows of `images` or `categories` -> the ids that are texts in their file, by the number that stands for each."""
    id_, further = ("image_id", "metadata") if "image_id" in rows.column_names else ("category_id", "attributes")
    found = pa.table([rows[id_], pc.map_lookup(rows[further], TEXT_ID, "first")], ["id", "text"]).drop_null()
    return {row["id"]: row["text"] for row in found.to_pylist()}


def as_line(name: str) -> bytes:
    """A name as a line of a list.

    Raises:
        UserError: read again, the line would be another name.
    """
    if name.strip() != name or len(name.splitlines()) > 1:
        raise UserError(
            f"a list of images has a line each, and {name!r} is none: it has a line break, or blanks at its ends",
            expected="file names without",
            fix="leave the image out with --where, or export as COCO",
        )
    return f"{name}\n".encode()


def in_file_order(file_name: str, rows: list[Row]) -> list[Row]:
    """The annotations of an image as the file had them, of formats whose ids are a hash of the place in it.

    So an export that is ingested again gives them the same ids. Rows whose id says no place come last, by id.
    """
    places = {annotation_id(file_name, place): place for place in range(1, 2 * len(rows) + SLACK)}
    last = len(places) + 1
    return sorted(rows, key=lambda row: (places.get(row["annotation_id"], last), row["annotation_id"]))
