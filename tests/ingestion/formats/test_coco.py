"""COCO JSON -> records."""

import json

import msgspec
import pytest

from ingestion.formats import coco
from ingestion.formats.coco_parts import parts, survey
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
        (BOX | {"id": 1.0, "image_id": 1.5}, "`int`, got `float` - at `$.image_id`"),
        (BOX | {"id": True}, "`int`, got `bool`"),
        (BOX | {"bbox": [0, float("nan"), 1, 1]}, "`float`, got `str` - at `$.bbox[1]`"),
        (BOX | {"bbox": "0 0 1 1"}, "`array | null`, got `str`"),
        (BOX | {"area": float("inf")}, "got `str` - at `$.area`"),
        ({k: v for k, v in BOX.items() if k != "image_id"}, "missing required field `image_id`"),
        ([1, 2], "`object`, got `array`"),
        (None, "`object`, got `null`"),
    ],
    ids=[
        "string id",
        "huge id",
        "float id",
        "one of two floats",
        "bool id",
        "nan",
        "string box",
        "inf",
        "no image",
        "array",
        "null",
    ],
)
def test_a_bad_record_costs_itself(record, why):
    rows = parse(annotations=[BOX, record, BOX | {"id": 8}]).annotations.to_pylist()
    good, bad = [r for r in rows if not r["refused_by"]], [r for r in rows if r["refused_by"]]
    assert [r["annotation_id"] for r in good] == [7, 8]
    assert [r["ordinal"] for r in good] == [0, 2]
    assert (bad[0]["refused_by"], bad[0]["ordinal"]) == ("annotation_record_valid", 1)
    assert why in bad[0]["refused_because"]


@pytest.mark.parametrize(("stated", "crowd"), [(None, 0), (False, 0), (True, 1), (0.0, 0), (1.0, 1), (2, 2)])
@pytest.mark.parametrize("further", [{}, {"score": 1}], ids=["COCO's keys", "more"])
def test_a_crowd_is_a_number(stated, crowd, further):
    (box,) = parse(annotations=[BOX | {"iscrowd": stated} | further]).annotations.to_pylist()
    assert (box["iscrowd"], box["refused_by"]) == (crowd, None)


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
        (b'{"images": [], "annotations": [], "x": ' + b"[" * 99999, "not JSON from byte 39"),
        (b'{"images": [], "annotations": []}', "missing required field `categories`"),
        (b'{"images": [], "categories": []}', "lists no images"),
        (b"\x1f\x8b\x08\x00", "packed by gzip"),
        (b"PK\x03\x04", "packed by zip"),
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


@pytest.mark.parametrize("stated", [{"annotations": []}, {}], ids=["none", "as COCO's lists to be tested on"])
def test_byte_order_mark_and_no_annotations(stated):
    text = b"\xef\xbb\xbf" + json.dumps({"images": [IMAGE], "categories": []} | stated).encode()
    found = coco.parse(text, "f.json")
    assert (found.images.num_rows, found.annotations.num_rows, found.categories.num_rows) == (1, 0, 0)


CAPTION = {"id": 7, "image_id": 1, "caption": "a cat"}
SEGMENT = {"id": 65537, "category_id": 2, "area": 4, "bbox": [0, 0, 2, 2], "iscrowd": 0}
PANOPTIC = {"image_id": 1, "file_name": "a.png", "segments_info": [SEGMENT, SEGMENT | {"id": 3}]}
LABEL = {"id": 7, "image_id": 1, "category_id": 2}


@pytest.mark.parametrize(
    ("annotations", "flavour"),
    [
        ([], "instances"),
        ([BOX], "instances"),
        ([BOX | {"keypoints": [1, 2, 2], "num_keypoints": 1}], "instances"),
        ([BOX | {"caption": "of a box"}], "instances"),
        ([BOX, LABEL | {"id": 8}], "instances"),
        ([CAPTION], "captions"),
        ([CAPTION | {"category_id": 0}, None], "captions"),
        ([PANOPTIC], "panoptic"),
        ([LABEL], "labels"),
        ([LABEL | {"score": 1}], "labels"),
    ],
)
def test_the_flavour_is_in_the_annotations(annotations, flavour):
    assert parse(annotations=annotations).flavour == flavour


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("record", "key"),
    [(BOX, "bbox"), (CAPTION, "caption"), (PANOPTIC, "segments_info")],
    ids=["box", "caption", "panoptic"],
)
def test_a_record_without_the_key_of_its_flavour_costs_itself(record, key, place):
    bare = {name: value for name, value in CAPTION.items() if name != "caption"}
    records = [record | {"id": 8}, record | {"id": 9}]
    records.insert(place, bare)
    found = parse(annotations=records)
    assert found.flavour == parse(annotations=[record]).flavour
    refused = [row["refused_because"] for row in found.annotations.to_pylist() if row["refused_by"]]
    if key == "bbox":  # the rules refuse it: a crowd's mask may do without
        assert refused == []
    else:
        assert len(refused) == 1
        assert "missing required field" in refused[0]


@pytest.mark.parametrize("others", [[CAPTION], [PANOPTIC]])
def test_mixed_flavours_are_refused(others):
    with pytest.raises(FormatError, match="mixes flavours") as caught:
        parse(annotations=[BOX, BOX, *others])
    assert "2 of instances, 1 of" in str(caught.value)


def test_a_caption_has_no_box_and_an_id_of_its_own():
    (row,) = parse(annotations=[CAPTION | {"category_id": 0}], categories=[]).annotations.to_pylist()
    assert (row["annotation_id"], row["category_id"], row["bbox"], row["image_level"]) == (-8, None, None, True)
    assert dict(row["attributes"]) == {"caption": "a cat", "category_id": "0"}
    no_categories = {"images": [IMAGE], "annotations": [CAPTION]}
    assert coco.parse(json.dumps(no_categories).encode(), "f.json").categories.num_rows == 0


def test_a_label_is_about_the_whole_image():
    (row,) = parse(annotations=[LABEL]).annotations.to_pylist()
    assert (row["annotation_id"], row["category_id"], row["image_level"]) == (7, 2, True)


def test_segments_are_rows():
    other = PANOPTIC | {"image_id": 9, "note": [1]}
    bad = PANOPTIC | {"segments_info": [SEGMENT | {"id": "x"}, SEGMENT | {"id": 5, "who": "me"}]}
    found = parse(annotations=[PANOPTIC, other, bad, {"image_id": 1, "segments_info": []}]).annotations
    good = [row for row in found.to_pylist() if row["refused_by"] is None]
    assert [dict(row["attributes"])["segment_id"] for row in good] == ["65537", "3", "65537", "3", "5"]
    assert len({row["annotation_id"] for row in good}) == 5
    assert all(row["annotation_id"] >= 0 for row in good)
    assert json.loads(dict(good[2]["attributes"])["panoptic"]) == {"file_name": "a.png", "note": [1]}
    assert dict(good[4]["attributes"])["who"] == "me"
    reasons = [row["refused_because"] for row in found.to_pylist() if row["refused_by"]]
    assert len(reasons) == 2
    assert {"`file_name`" in why for why in reasons} == {True, False}
    assert len(set(found["ordinal"].to_pylist())) == 7
    again = parse(annotations=[other, PANOPTIC]).annotations["annotation_id"].to_pylist()
    assert set(again) <= {row["annotation_id"] for row in good}  # whatever else is in the file


@pytest.mark.parametrize("number", [7, 2**53 + 1, -5, 0, 2**63 - 1, -(2**63)])
def test_ids_are_exact_however_they_are_written(number):
    for written in (str(number), f"{number}.0", f"{number}.000"):
        box = json.dumps(BOX | {"id": 0}).replace('"id": 0', f'"id": {written}')
        text = f'{{"images": [{json.dumps(IMAGE)}], "annotations": [{box}], "categories": [{json.dumps(CATEGORY)}]}}'
        assert coco.parse(text.encode(), "f.json").annotations["annotation_id"].to_pylist() == [number]


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_not_costs_its_record(written):
    box = json.dumps(BOX | {"id": 8, "area": 0}).replace('"area": 0', f'"area": {written}')
    text = f'{{"images": [{json.dumps(IMAGE)}], "annotations": [{json.dumps(BOX)}, {box}], "categories": []}}'
    rows = coco.parse(text.encode(), "f.json").annotations.to_pylist()
    assert [row["refused_by"] for row in rows] == [None, "annotation_record_valid"]


HALVES = [rb'"\ud800"', rb'"x\uDC00\ud83d"', rb'"\\\ud800"', b'"a\xffb"', b'"\xed\xa0\x80"']


@pytest.mark.parametrize("written", HALVES)
@pytest.mark.parametrize("key", ["segmentation", "who"])
def test_what_is_no_text_costs_its_record(written, key):
    box, other = (json.dumps(BOX | {"id": number}).encode() for number in (8, 9))
    image, category = json.dumps(IMAGE).encode(), json.dumps(CATEGORY).encode()
    other = other[:-1] + b', "' + key.encode() + b'": ' + written + b"}"
    text = b'{"images": [%s], "annotations": [%s, %s], "categories": [%s]}' % (image, box, other, category)
    rows = coco.parse(text, "f.json").annotations.to_pylist()
    assert [row["refused_by"] for row in rows] == [None, "annotation_record_valid"]
    assert "no text (UTF-8)" in rows[1]["refused_because"]
    last = written.strip(b'"').rsplit(b"\\", 1)[-1].decode(errors="replace")
    assert last in rows[1]["record"]


@pytest.mark.parametrize("depth", [199, 200, *range(900, 1000, 9), 5000])
@pytest.mark.parametrize("key", ["segmentation", "who"])
def test_a_record_that_is_nested_too_deeply_costs_itself(key, depth):
    others = [json.dumps(BOX | {"id": number, "who": "me"}) for number in (8, 9)]
    deep = json.dumps(BOX | {key: None}).replace("null", "[" * depth + "]" * depth)
    boxes = ", ".join([others[0], deep, others[1]])
    text = f'{{"images": [{json.dumps(IMAGE)}], "annotations": [{boxes}], "categories": [{json.dumps(CATEGORY)}]}}'
    rows = coco.parse(text.encode(), "f.json").annotations.to_pylist()
    why = [row["refused_because"] for row in sorted(rows, key=lambda row: row["ordinal"])]
    assert why == [None, "it is nested more than 200 deep" if depth > 199 else None, None]
    assert all('"image_id": 1' in row["record"] for row in rows if row["refused_because"])


@pytest.mark.parametrize("depth", [200, 201, 900, *range(960, 1000, 3), 99_999])
def test_what_is_nested_too_deeply_beside_the_lists_is_left_out(depth):
    deep = "[" * depth + "]" * depth
    lists = (
        f'"images": [{json.dumps(IMAGE)}], "annotations": [{json.dumps(BOX)}], "categories": [{json.dumps(CATEGORY)}]'
    )
    data = f'{{"info": {{"a": "]", "b": {deep[1:-1]}, "c": 1}}, {lists}, "y": {deep}}}'.encode()
    with survey(data, "f.json", 99, allow_orphans=False) as rest:
        in_parts = [part for part, _ in parts(data, rest, "f.json", 99)]
    for found in (coco.parse(data, "f.json"), *in_parts):
        assert (found.images.num_rows, found.annotations.num_rows) == (1, 1)
        assert json.loads(found.info["info"])["c"] == 1
        assert json.loads(found.info["y"])[0]
        kept = ["`info`", "`y`"] if depth > 200 else []
        assert [note.split(" ")[0] for note in found.notes] == kept


def test_a_key_that_is_no_text_costs_its_record():
    box = json.dumps(BOX).encode()
    text = b'{"images": [%s], "annotations": [%s, %s], "categories": []}' % (
        json.dumps(IMAGE).encode(), box, box.replace(b'"area"', b'"ar\xffea"').replace(b'"id": 7', b'"id": 8'),
    )  # fmt: skip
    rows = coco.parse(text, "f.json").annotations.to_pylist()
    assert [row["refused_by"] for row in rows] == [None, "annotation_record_valid"]


@pytest.mark.parametrize("written", [rb'"\ud83d\ude00"', rb'"\\ud800"', rb'"\u00e9"'])
def test_what_is_text_stays(written):
    image = json.dumps(IMAGE).encode()[:-1] + b', "who": ' + written + b"}"
    text = b'{"images": [%s], "annotations": [], "categories": [], "x": NaN, "y": "\xff"}' % image
    found = coco.parse(text, "f.json")
    assert dict(found.images["metadata"][0].as_py())["who"] == json.loads(written)
    assert found.info == {"x": "NaN", "y": "\ufffd"} or found.info["x"] == '"NaN"'


@pytest.mark.parametrize(
    "written", ["[]", "null", '{"counts": [0, 12], "size": [3, 4]}', '{"counts":"0;NaN","size":[3,4]}']
)
def test_segmentation_stays_as_it_is_written(written):
    box = json.dumps(BOX | {"segmentation": 0}).replace('"segmentation": 0', f'"segmentation": {written}')
    text = f'{{"images": [{json.dumps(IMAGE)}], "annotations": [{box}], "categories": []}}'
    found = coco.parse(text.encode(), "f.json").annotations["segmentation"].to_pylist()
    assert found == [None if written == "null" else written]


def test_of_a_key_that_is_there_twice_the_last_counts():
    box = json.dumps(BOX)[:-1] + ', "id": 9, "who": "me", "who": "you"}'
    text = f'{{"images": [{json.dumps(IMAGE)}], "annotations": [{box}], "categories": []}}'
    (row,) = coco.parse(text.encode(), "f.json").annotations.to_pylist()
    assert (row["annotation_id"], dict(row["attributes"])) == (9, {"who": "you"})
