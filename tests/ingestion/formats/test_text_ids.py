"""COCO files whose ids are texts."""

import json

import pytest

from ingestion.formats.coco import parse
from ingestion.formats.coco_parts import parts, survey
from ingestion.formats.text_ids import TEXT_ID, number

UUID = "5998cfa4-23d2-11e8-a6a3-ec086b02610b"


def coco(written, key=None):
    """A file whose ids are `written(number)`; only those under `key`, if one is named."""

    def ids(name, **of):
        return {k: written(i) if key in (None, (name, k)) else i for k, i in of.items()}

    return {
        "images": [ids("images", id=i) | {"file_name": f"{i}.jpg", "width": 4, "height": 3} for i in (1, 2, 3)],
        "annotations": [
            ids("annotations", id=i + 10, image_id=i, category_id=5) | {"bbox": [0, 0, 1, 1], "iscrowd": 0}
            for i in (2, 1, 2)
        ],
        "categories": [ids("categories", id=5) | {"name": "cat"}],
    }


def tables(records):
    columns = {
        "images": ["image_id", "metadata", "refused_because"],
        "annotations": ["annotation_id", "image_id", "category_id", "attributes", "refused_because"],
        "categories": ["category_id", "attributes", "refused_because"],
    }
    return {name: getattr(records, name).select(some).to_pylist() for name, some in columns.items()}


WRITTEN = {"plain": str, "padded": lambda i: f"{i:012d}", "uuid": lambda i: f"{UUID}{i}", "negative": lambda i: f"-{i}"}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("size", [100, 2**20])
def test_texts_are_ids_where_all_are_texts(written, size):
    file = coco(written)
    data = json.dumps(file).encode()
    whole = tables(parse(data, "f.json"))
    known = {number(written(i)) for i in (1, 2, 3)}
    assert {row["image_id"] for row in whole["images"]} == known
    assert {row["image_id"] for row in whole["annotations"]} == {number(written(i)) for i in (1, 2)}
    assert [dict(row["attributes"])[TEXT_ID] for row in whole["annotations"]] == [a["id"] for a in file["annotations"]]
    with survey(data, "f.json", size, allow_orphans=False) as rest:
        found = [tables(part) for part, _ in parts(data, rest, "f.json", size)]
    for name in ("images", "annotations"):
        rows = {str(row) for part in found for row in part[name]}
        assert rows == set(map(str, whole[name]))
    assert found[0]["categories"] == whole["categories"]


KEYS = [("images", "id"), ("annotations", "id"), ("annotations", "image_id"), ("annotations", "category_id"),
        ("categories", "id")]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=".".join)
def test_numbers_in_quotes_meet_numbers(key):
    data = json.dumps(coco(str, key)).encode()
    plain = tables(parse(json.dumps(coco(int)).encode(), "f.json"))
    found = tables(parse(data, "f.json"))
    with survey(data, "f.json", 2**20, allow_orphans=False) as rest:
        in_parts = [tables(part) for part, _ in parts(data, rest, "f.json", 2**20)]
    for records in ([found], in_parts):
        for name, id_ in (("images", "image_id"), ("annotations", "annotation_id"), ("categories", "category_id")):
            rows = [row for part in records for row in part[name]]
            assert {row[id_] for row in rows} == {row[id_] for row in plain[name]}
            assert {row["refused_because"] for row in rows} == {None}


@pytest.mark.parametrize("size", [100, 2**20])
@pytest.mark.parametrize("text", ["1", UUID])
def test_beside_numbers_a_text_is_a_wrong_record(text, size):
    file = coco(int)
    file["images"].append(file["images"][0] | {"id": text})
    file["annotations"] += [file["annotations"][0] | {"id": text}, file["annotations"][0] | {"id": 9, "image_id": text}]
    data = json.dumps(file).encode()
    with survey(data, "f.json", size, allow_orphans=False) as rest:
        in_parts = [part for part, _ in parts(data, rest, "f.json", size)]
    for found in ([parse(data, "f.json")], in_parts):
        refused = [why for part in found for why in part.images["refused_because"].to_pylist() if why]
        assert refused == ["Expected `int`, got `str` - at `$.id`"]
        refused = [why for part in found for why in part.annotations["refused_because"].to_pylist() if why]
        assert len(refused) == 2


def test_annotations_follow_their_images():
    file = coco(str)
    file["annotations"][0]["image_id"] = 2  # as in files that were put together from two
    assert tables(parse(json.dumps(file).encode(), "f.json"))["annotations"][0]["image_id"] == 2


@pytest.mark.parametrize(
    ("text", "id_"),
    [("7", 7), ("0007", 7), ("-3", -3), (str(2**63 - 1), 2**63 - 1), ("", None), ("NaN", None), ("-Infinity", None)],
)
def test_digits_are_their_number(text, id_):
    assert number(text) == id_


@pytest.mark.parametrize("text", [UUID, str(2**63), "7.0", "٣", "1 ", "9" * 40])
def test_any_other_text_has_an_id_of_its_own(text):
    assert 0 <= number(text) < 2**52
    assert number(text) == number(text)
    assert number(text) != number(text + "x")
