"""Whose row makes way for a file of the same bytes."""

import pyarrow as pa
import pytest

from ingestion.moved import moved_away
from ingestion.records import SCHEMAS, Records, records_table
from ingestion.source import Source


@pytest.mark.parametrize(
    ("change", "ids"),
    [
        ({}, [1]),
        ({"replaces": False}, []),
        ({"there": ["in/old.jpg"]}, []),
        ({"stated": [1, 2]}, []),
        ({"place": "elsewhere/old.jpg"}, []),
        ({"place": "in 2/old.jpg"}, []),
        ({"arrived": ["c", None]}, []),
    ],
    ids=["moved", "states not all", "a copy", "still named", "another folder", "alike folder", "other bytes"],
)
def test_rows_that_make_way(tmp_path, change, ids):
    case = {"replaces": True, "there": [], "stated": [2], "place": "in/old.jpg", "arrived": ["a", None]} | change
    (tmp_path / "in").mkdir()
    for name in case["there"]:
        (tmp_path / name).touch()
    images = records_table(SCHEMAS["images"], [{"image_id": number} for number in case["stated"]])
    source = Source(
        path=tmp_path, format="folders", images=tmp_path / "in", dataset="d", split=None, replaces=case["replaces"],
        records=Records(images, *(SCHEMAS[name].empty_table() for name in ("annotations", "categories"))),
    )  # fmt: skip
    held = pa.table({"image_id": [1, 2], "source_uri": [str(tmp_path / case["place"]), "x"], "sha256": ["a", "b"]})
    assert moved_away(source, held, pa.table({"sha256": case["arrived"]}))["image_id"].to_pylist() == ids
