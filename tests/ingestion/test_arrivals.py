"""What a file that has come may belong to."""

import json
from pathlib import Path

import pytest

from ingestion.arrivals import touches
from ingestion.formats.coco import parse
from ingestion.source import Source


@pytest.mark.parametrize("stated", ["cam/a.jpg", "a.jpg", "cam\\a.jpg", "C:\\in\\cam\\a.jpg"])
def test_a_file_of_the_name_of_an_image_touches_its_source(stated):
    file = {"images": [{"id": 1, "file_name": stated}], "annotations": [], "categories": []}
    records = parse(json.dumps(file).encode(), "f.json")
    source = Source(path=Path("/w/f.json"), format="coco", images=Path("/w"), dataset="d", split=None, records=records)
    assert touches(source, ["/w/x.jpg", "/w/cam/a.jpg"])
    assert not touches(source, ["/w/x.jpg", "/w/cam/b.jpg", "/w/ca.jpg"])
