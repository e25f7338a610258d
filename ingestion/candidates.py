"""Parsed records + decoded files + what the tables hold -> candidate rows with the context the rules speak of (pure).

What the rules mean by an id that is *taken*:

* the first record of a file with an id has it; later ones are refused;
* an image whose id the data set holds is an update if it is the same file (same place or same bytes), else refused;
* an annotation whose id the data set holds is an update if it is on the same image, else refused.

So a file may be corrected and ingested again, and two files of one data set cannot overwrite each other's records.
Of images with the same bytes the one the data set holds stays, else the one with the lowest id.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.normalised import to_pixels
from lakesight.tables import LONG

FACTS = ("pixel_hash", "format", "mode", "width", "height", "exif_orientation", "num_frames")
"""What decoding says of an image and the table keeps: for bytes that are held already it comes from there."""
HELD_IMAGE = ("image_id", "source_uri", "sha256", *FACTS)
NO_IDS = pa.array([], LONG)
HELD_ANNOTATION = ("annotation_id", "image_id")


def category_candidates(records: pa.Table, taken: pa.Array = NO_IDS) -> pa.Table:
    """`CATEGORY_RECORDS` + `id_taken`; `taken` are category ids that earlier records have."""
    return records.append_column(
        "id_taken", pc.or_(repeats(records["category_id"]), _among(records["category_id"], taken))
    )


def image_candidates(records: pa.Table, decoded: pa.Table, held: pa.Table, taken: pa.Array = NO_IDS) -> pa.Table:
    """Image records + decoded facts + `id_taken`, `duplicate_of`.

    `decoded` are `DECODED` rows without bytes, any order; `held` are the data set's rows, columns `HELD_IMAGE`;
    `taken` are image ids that earlier records have.
    """
    file = look_up(records["ordinal"], decoded, "ordinal")
    own = look_up(records["image_id"], held, "image_id")
    columns = {name: pc.coalesce(file[name], own[name]) for name in FACTS}
    columns |= {"sha256": file["sha256"], "size_bytes": file["size_bytes"]}
    other_bytes = pc.not_equal(own["sha256"], file["sha256"])  # NULL where there is no row or no file
    other_file = pc.and_(other_bytes, pc.not_equal(own["source_uri"], records["source_uri"]))
    before = pc.or_(repeats(records["image_id"]), _among(records["image_id"], taken))
    columns["id_taken"] = pc.or_(before, pc.fill_null(other_file, False))
    found = pc.case_when(
        pc.make_struct(pc.is_valid(file["unreadable"]), pc.is_valid(file["undecodable"])),
        pa.scalar("image_file_exists"),
        pa.scalar("image_decodes"),
    )
    columns["refused_by"] = pc.coalesce(records["refused_by"], found)
    columns["refused_because"] = pc.coalesce(records["refused_because"], file["unreadable"], file["undecodable"])
    same_file = pc.fill_null(pc.equal(own["sha256"], columns["sha256"]), False)
    table = _with(records, columns)
    return table.append_column("duplicate_of", _duplicate_of(table, same_file, held))


def annotation_candidates(
    records: pa.Table, images: pa.Table, categories: pa.Table, held: pa.Table, taken: pa.Array = NO_IDS
) -> pa.Table:
    """`ANNOTATION_RECORDS` + `id_taken`, `image_known`, `category_known`, `image_width`, `image_height`.

    Boxes come out in pixels. `images` and `categories` are what was accepted of the same file; `held` has columns
    `HELD_ANNOTATION`; `taken` are annotation ids that earlier records have.
    """
    image = look_up(records["image_id"], images, "image_id")
    category = look_up(records["category_id"], categories, "category_id")
    own = look_up(records["annotation_id"], held, "annotation_id")
    before = _among(records["annotation_id"], taken)
    elsewhere = pc.not_equal(own["image_id"], records["image_id"])  # NULL where there is no such row
    untyped = pc.is_null(records["annotation_id"])  # refused for that alone
    classless = pc.and_(pc.fill_null(records["image_level"], False), pc.is_null(records["category_id"]))  # a caption
    columns = {
        "id_taken": pc.or_(pc.or_(repeats(records["annotation_id"]), before), pc.fill_null(elsewhere, False)),
        "image_known": pc.or_(untyped, pc.is_valid(image["image_id"])),
        "category_known": pc.or_(pc.or_(untyped, classless), pc.is_valid(category["category_id"])),
        "image_width": image["width"],
        "image_height": image["height"],
    }
    return to_pixels(_with(records, columns))


def look_up(keys: pa.ChunkedArray, table: pa.Table, column: str) -> pa.Table:
    """For each key the row of `table` with it in `column`, or a row of NULLs."""
    values = table[column].combine_chunks()
    return table.take(pc.index_in(keys, value_set=values, skip_nulls=True))


def _among(ids: pa.ChunkedArray, taken: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(ids, value_set=taken, skip_nulls=True)


def _with(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
    return table


def repeats(ids: pa.ChunkedArray) -> pa.Array:
    """Whether an id was there before, in file order; NULL ids never were."""
    values = ids.combine_chunks()
    valid = np.flatnonzero(pc.is_valid(values).to_numpy(zero_copy_only=False))
    _, first = np.unique(values.take(pa.array(valid)).to_numpy(zero_copy_only=False), return_index=True)
    repeats = np.zeros(len(values), dtype=bool)
    repeats[valid] = True
    repeats[valid[first]] = False
    return pa.array(repeats)


def _duplicate_of(images: pa.Table, same_file: pa.Array, held: pa.Table) -> pa.Array:
    """The image_id that keeps a row's bytes, if it is another one."""
    fit = pc.and_(pc.is_null(images["refused_by"]), pc.invert(images["id_taken"]))
    rows = images.select(["sha256", "image_id"]).append_column("held", same_file).filter(fit)
    others = held.filter(pc.invert(pc.is_in(held["image_id"], value_set=rows["image_id"].combine_chunks())))
    others = others.select(["sha256", "image_id"]).append_column("held", pa.array([True] * others.num_rows))
    everyone = pa.concat_tables([rows, others.cast(rows.schema)])
    ranked = everyone.sort_by([("held", "descending"), ("image_id", "ascending")])
    keeper = look_up(images["sha256"], ranked, "sha256")["image_id"]
    copies = pc.and_(pc.invert(images["id_taken"]), pc.not_equal(keeper, images["image_id"]))
    return pc.if_else(pc.fill_null(copies, False), keeper, pa.scalar(None, LONG))
