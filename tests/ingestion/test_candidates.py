"""The context of records: ids taken, pixels twice, images and categories known."""

import pyarrow as pa
import pytest

from ingestion.candidates import FACTS, HELD_ANNOTATION, HELD_IMAGE, annotation_candidates, image_candidates
from ingestion.read_images import DECODED
from ingestion.records import ANNOTATION_RECORDS, IMAGE_RECORDS, TEXTS
from ingestion.rows import labelled

RECORDS = pa.schema([*IMAGE_RECORDS, ("source_uri", pa.string())])
HELD = pa.schema(
    [
        (
            n,
            pa.int64()
            if n == "image_id"
            else pa.int32()
            if n in ("width", "height", "exif_orientation", "num_frames")
            else pa.string(),
        )
        for n in HELD_IMAGE
    ]
)


def images(*files, held=()):
    """`files` and `held` are (image_id, place, pixels)."""
    records = [{"ordinal": i, "image_id": id_, "source_uri": place} for i, (id_, place, _) in enumerate(files)]
    decoded = [
        {
            "ordinal": i,
            "sha256": f"bytes of {pixels}",
            "pixel_hash": pixels,
            "undecodable": None if pixels else "broken",
        }
        for i, (_, _, pixels) in enumerate(files)
    ]
    rows = [{"image_id": i, "source_uri": u, "sha256": f"bytes of {p}", "pixel_hash": p} for i, u, p in held]
    table = image_candidates(
        pa.Table.from_pylist(records, schema=RECORDS),
        pa.Table.from_pylist(decoded, schema=DECODED),
        pa.Table.from_pylist(rows, schema=HELD),
    )
    return list(zip(table["id_taken"].to_pylist(), table["duplicate_of"].to_pylist(), strict=True))


FREE = (False, None)


@pytest.mark.parametrize(
    ("files", "held", "expected"),
    [
        ([(1, "a", "x"), (2, "b", "y")], [], [FREE, FREE]),
        ([(1, "a", "x"), (1, "b", "y")], [], [FREE, (True, None)]),
        ([(5, "a", "x"), (2, "b", "x"), (9, "c", "x")], [], [(False, 2), FREE, (False, 2)]),
        ([(5, "a", "x"), (2, "b", "x")], [(5, "a", "x")], [FREE, (False, 5)]),
        ([(1, "b", "x")], [(9, "z", "x")], [(False, 9)]),
        ([(1, "a", "new")], [(1, "a", "x")], [FREE]),
        ([(1, "other", "y")], [(1, "a", "x")], [(True, None)]),
        ([(1, "moved", "x")], [(1, "a", "x")], [FREE]),
        ([(1, "a", "new"), (2, "b", "x")], [(1, "a", "x")], [FREE, FREE]),
        ([(1, "a", None), (2, "b", "x")], [(1, "a", "x")], [FREE, (False, 1)]),
        ([(None, "a", "x"), (None, "b", "y"), (1, "c", None)], [], [FREE, FREE, FREE]),
    ],
    ids=[
        "different",
        "id twice",
        "lowest id keeps pixels",
        "held keeps pixels",
        "held, not in this file",
        "same place: an update",
        "other place and bytes: taken",
        "folder moved",
        "pixels given up by an update",
        "a broken file gives up nothing",
        "unreadable records",
    ],
)
def test_images(files, held, expected):
    assert images(*files, held=held) == expected


def test_held_bytes_bring_their_facts():
    records = pa.Table.from_pylist([{"ordinal": 0, "image_id": 1, "source_uri": "a"}], schema=RECORDS)
    decoded = pa.Table.from_pylist([{"ordinal": 0, "sha256": "s", "size_bytes": 9}], schema=DECODED)
    facts = {
        "pixel_hash": "p",
        "format": "PNG",
        "mode": "L",
        "width": 3,
        "height": 2,
        "exif_orientation": 1,
        "num_frames": 1,
    }
    held = pa.Table.from_pylist([{"image_id": 1, "source_uri": "a", "sha256": "s", **facts}], schema=HELD)
    (row,) = image_candidates(records, decoded, held).to_pylist()
    assert {name: row[name] for name in FACTS} == facts
    assert row["refused_by"] is None


def test_annotations():
    rows = [
        {"ordinal": 0, "annotation_id": 1, "image_id": 10, "category_id": 3},
        {"ordinal": 1, "annotation_id": 1, "image_id": 10, "category_id": 3},
        {"ordinal": 2, "annotation_id": 2, "image_id": 11, "category_id": 4},
        {"ordinal": 3, "annotation_id": 5, "image_id": 10, "category_id": None},
        {"ordinal": 4, "refused_by": "annotation_record_valid"},
    ]
    known = {"image_id": [10], "width": [8], "height": [6]}
    held = {"annotation_id": [1, 5], "image_id": [10, 99]}
    table = annotation_candidates(
        pa.Table.from_pylist(rows, schema=ANNOTATION_RECORDS),
        pa.table(known),
        pa.table({"category_id": [3]}),
        pa.table(held).select(HELD_ANNOTATION),
    )
    assert table["id_taken"].to_pylist() == [False, True, False, True, False]
    assert table["image_known"].to_pylist() == [True, True, False, True, True]
    assert table["category_known"].to_pylist() == [True, True, False, False, True]
    assert table["image_width"].to_pylist() == [8, 8, None, 8, None]


def test_labels_are_contiguous_over_all_files():
    def categories(*ids):
        rows = [{"category_id": i, "name": f"c{i}"} for i in ids]
        names = ["category_id", "name", "supercategory", "keypoints", "skeleton", "attributes"]
        types = [pa.int64(), pa.string(), pa.string(), pa.list_(pa.string()), pa.string(), TEXTS]
        return pa.Table.from_pylist(rows, schema=pa.schema(list(zip(names, types, strict=True))))

    table = labelled(categories(4, 2), categories(9, 2, 1))
    assert table.select(["category_id", "label"]).to_pydict() == {"category_id": [1, 2, 4, 9], "label": [0, 1, 2, 3]}
