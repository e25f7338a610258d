"""COCO JSON -> records."""

import json

import msgspec
import pytest

from ingestion.formats import coco
from ingestion.formats.json_records import text, value
from ingestion.records import ANNOTATION_RECORDS, CATEGORY_RECORDS
from lakesight.errors import FormatError
from lakesight.tables import ANNOTATIONS, CATEGORIES

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 4, "height": 3}
BOX = {"id": 7, "image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 0, "segmentation": []}
CATEGORY = {"id": 2, "name": "cat"}


def parse(images=(IMAGE,), annotations=(BOX,), categories=(CATEGORY,), **further):
    file = {"images": list(images), "annotations": list(annotations), "categories": list(categories)} | further
    return coco.parse(json.dumps(file).encode(), "f.json")


def test_records_cover_the_tables():
    ours = {"dataset", "ingested_at", "run_id", "label"}
    assert set(ANNOTATION_RECORDS.names) >= set(ANNOTATIONS.arrow.names) - ours
    assert set(CATEGORY_RECORDS.names) >= set(CATEGORIES.arrow.names) - ours
    for table, schema in ((ANNOTATIONS, ANNOTATION_RECORDS), (CATEGORIES, CATEGORY_RECORDS)):
        for name in set(table.arrow.names) & set(schema.names):
            assert schema.field(name).type == table.arrow.field(name).type


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["instances_train2017", "instances_val2017", "person_keypoints_val2017"])
def test_annotations_are_the_same_data(data, name):
    path = data / "coco/permissive/annotations" / f"{name}.json"
    records = coco.parse(path.read_bytes(), name).annotations
    for row, expected in zip(records.to_pylist(), json.loads(path.read_text())["annotations"], strict=True):
        assert row["refused_by"] is None
        back = {"id": row["annotation_id"], "segmentation": json.loads(row["segmentation"])}
        back |= {key: row[key] for key in expected if key not in back}
        assert back == expected


@pytest.mark.realdata
def test_real_files_without_info_and_with_rle(data):
    train = coco.parse((data / "coco/permissive/annotations/instances_train2017.json").read_bytes(), "")
    val = coco.parse((data / "coco/permissive/annotations/instances_val2017.json").read_bytes(), "")
    crowds = [r for t in (train, val) for r in t.annotations.to_pylist() if r["iscrowd"]]
    assert len(crowds) == 16
    assert all(set(json.loads(r["segmentation"])) == {"counts", "size"} for r in crowds)
    (fruits,) = (data / "coco/fruits_nuts").rglob("*.json")
    assert "info" not in json.loads(fruits.read_text())
    assert coco.parse(fruits.read_bytes(), "").annotations.num_rows == 165


def test_further_keys_are_kept():
    found = parse(
        images=[IMAGE | {"camera": "gate", "license": 4, "note": "4", "gps": {"lat": 1.5}, "date_captured": "soon"}],
        annotations=[BOX | {"occluded": True, "score": None, "tags": ["a", "b"], "who": "me"}],
    )
    (image,), (box,) = found.images.to_pylist(), found.annotations.to_pylist()
    assert dict(image["metadata"]) == {
        "camera": "gate",
        "license": "4",
        "note": '"4"',
        "gps": '{"lat":1.5}',
        "date_captured": "soon",
    }
    assert image["captured_at"] is None
    assert dict(box["attributes"]) == {"occluded": "true", "score": "null", "tags": '["a","b"]', "who": "me"}


@pytest.mark.parametrize(
    "stated", ["gate", "4", "null", "", '"', "[1]", "NaN", "1e400", "é\n", 4, 4.5, None, True, [1], {"a": "b"}]
)
def test_texts_come_back(stated):
    assert msgspec.json.decode(value(text(json.dumps(stated).encode()))) == stated


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (BOX | {"id": "7"}, "`int`, got `str`"),
        (BOX | {"id": 2**63}, "<= 9223372036854775807"),
        (BOX | {"id": 1.5}, "`int`, got `float`"),
        (BOX | {"bbox": [0, float("nan"), 1, 1]}, "`float`, got `str` - at `$.bbox[1]`"),
        (BOX | {"bbox": "0 0 1 1"}, "`array | null`, got `str`"),
        (BOX | {"area": float("inf")}, "got `str` - at `$.area`"),
        ({k: v for k, v in BOX.items() if k != "image_id"}, "missing required field `image_id`"),
        ([1, 2], "`object`, got `array`"),
        (None, "`object`, got `null`"),
    ],
    ids=["string id", "huge id", "float id", "nan", "string box", "inf", "no image", "array", "null"],
)
def test_a_bad_record_costs_itself(record, why):
    rows = parse(annotations=[BOX, record, BOX | {"id": 8}]).annotations.to_pylist()
    good, bad = [r for r in rows if not r["refused_by"]], [r for r in rows if r["refused_by"]]
    assert [r["annotation_id"] for r in good] == [7, 8]
    assert [r["ordinal"] for r in good] == [0, 2]
    assert (bad[0]["refused_by"], bad[0]["ordinal"]) == ("annotation_record_valid", 1)
    assert why in bad[0]["refused_because"]


def test_bad_images_and_categories_cost_themselves():
    found = parse(images=[IMAGE, {"id": 2}], categories=[CATEGORY, {"id": 3, "name": 5}])
    assert [r["refused_by"] for r in found.images.to_pylist()] == [None, "image_record_valid"]
    assert [r["refused_by"] for r in found.categories.to_pylist()] == [None, "category_record_valid"]
    assert json.loads(found.images.to_pylist()[1]["record"]) == {"id": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xd8\xff\xe0", "not JSON"),
        (b'{"images": [', "not JSON"),
        (b'{"images": [], "categories": []}', "missing required field `annotations`"),
        (b'{"annotations": [], "categories": []}', "missing required field `images`"),
        (b'{"images": {}, "annotations": [], "categories": []}', "`array`, got `object` - at `$.images`"),
        (b'{"images": [], "annotations": 3, "categories": []}', "`array`, got `int` - at `$.annotations`"),
        (b'[{"image_id": 1, "score": 0.5}]', "import-detections"),
        (b'{"images": [], "annotations": [], "categories": []}', "lists no images"),
        (b'{"images": [{"id": "x"}], "annotations": [], "categories": []}', "no record of `images`"),
        (b'{"images": [{"x":"\xff"}], "annotations": [], "categories": []}', "no record of `images`"),
    ],
)
def test_a_file_that_is_no_coco_is_refused(text, message):
    with pytest.raises(FormatError, match=r"f\.json") as caught:
        coco.parse(text, "f.json")
    assert message in str(caught.value)


def test_byte_order_mark_and_no_annotations():
    text = b"\xef\xbb\xbf" + json.dumps({"images": [IMAGE], "annotations": [], "categories": []}).encode()
    found = coco.parse(text, "f.json")
    assert (found.images.num_rows, found.annotations.num_rows, found.categories.num_rows) == (1, 0, 0)
