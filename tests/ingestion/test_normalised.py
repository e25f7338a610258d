import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formats.yolo import parse_line
from ingestion.normalised import to_pixels
from ingestion.records import ANNOTATION_RECORDS
from lakesight.tables import INT

SIZED = ANNOTATION_RECORDS.append(pa.field("image_width", INT)).append(pa.field("image_height", INT))


def pixels(width, height, **columns):
    row = {"image_width": width, "image_height": height, "normalised": True, **columns}
    return to_pixels(pa.Table.from_pylist([row], schema=SIZED)).to_pylist()[0]


def test_everything_is_scaled():
    row = pixels(
        200, 100, bbox=[0.1, 0.2, 0.3, 0.4], area=0.12, segmentation="[[0.1,0.2,0.3,0.4]]", keypoints=[0.5, 0.5, 2.0]
    )
    assert row["bbox"] == pytest.approx([20, 20, 60, 40])
    assert row["area"] == pytest.approx(2400)
    assert json.loads(row["segmentation"])[0] == pytest.approx([20, 20, 60, 40])
    assert row["keypoints"] == [100, 50, 2]


def test_what_is_scaled_is_not_scaled_again():
    """As where it is refused, and replayed; beside a row whose image is not known, which waits."""
    rows = [
        {"normalised": True, "bbox": [0.1, 0.2, 0.3, 0.4], "image_width": width, "image_height": width}
        for width in (10, None)
    ]
    once = to_pixels(pa.Table.from_pylist([*rows, {"bbox": [1.0, 1.0, 2.0, 2.0]}], schema=SIZED))
    assert once["normalised"].to_pylist() == [False, True, None]
    assert to_pixels(once).equals(once)


def test_run_lengths_stay():
    rle = '{"counts": [0, 2], "size": [1, 2]}'
    assert pixels(200, 100, bbox=[0.1, 0.2, 0.3, 0.4], area=0.5, segmentation=rle)["segmentation"] == rle


@pytest.mark.parametrize("row", [{"width": None, "height": None}, {"width": 10, "height": 10, "normalised": None}])
def test_what_has_no_size_or_is_in_pixels_stays(row):
    assert pixels(**row, bbox=[0.1, 0.2, 0.3, 0.4])["bbox"] == [0.1, 0.2, 0.3, 0.4]


@given(
    st.tuples(*[st.floats(0.001, 1)] * 4), st.integers(1, 20_000), st.integers(1, 20_000)
)  # fmt: skip
def test_there_and_back(values, width, height):
    found = parse_line("0 " + " ".join(map(repr, values)), None)
    x, y, w, h = pixels(width, height, bbox=found.bbox)["bbox"]
    back = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
    assert back == pytest.approx(values, rel=1e-9)
