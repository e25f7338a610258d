"""Parts of a COCO file: what is decoded in one go says the same as a look at each record."""

import json
from collections import Counter

import pytest

from ingestion.formats.coco_annotations import flavours
from ingestion.formats.coco_parts import BOXED, flavours_in, parts, survey
from ingestion.formats.windows import RAWS, members

BOX = [1, 2, 3, 4]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{"id": 1, "bbox": BOX}, {"id": 2, "bbox": BOX, "segmentation": {"counts": "", "size": [1, 1]}}],
        [{"bbox": BOX, "segments_info": None}],
        [{"bbox": BOX, "segments_info": []}],
        [{"bbox": None}, {"bbox": BOX}],
        [{"caption": "a cat"}, {"bbox": BOX}],
        [{"bbox": [1, 2, 3]}, 7],
    ],
    ids=["none", "boxes", "null segments", "panoptic", "no box", "mixed", "odd records"],
)
def test_flavours_of_a_list_are_those_of_its_records(records):
    records = [record | {"image_id": 1} if isinstance(record, dict) else record for record in records]
    data = json.dumps({"annotations": records}).encode()
    found = sum(map(flavours_in, members(data, {"annotations": BOXED}, "f.json")), Counter())
    assert found == flavours(RAWS.decode(json.dumps(records).encode()))


@pytest.mark.parametrize(
    ("annotations", "named"),
    [
        ([{"id": 1, "image_id": 2}, {"id": 2, "image_id": 1}, {"id": 3, "image_id": 2}], [1, 2]),
        ([{"id": None, "image_id": 1}], [1]),
        ([{"id": 1.0, "image_id": 2.0}, {"id": 2, "image_id": 2**53 + 1}], [2, 2**53 + 1]),
        ([{"id": 1, "image_id": True}, {"id": 2, "image_id": "1"}, 7, {"id": "3", "image_id": 1}], []),
        ([{"id": 1, "image_id": 1.5}, {"id": 2, "image_id": 2}], [2]),
    ],
    ids=["plain", "no id", "floats and large ids", "no ids", "a fraction"],
)
def test_parts_have_the_images_their_annotations_are_on(annotations, named):
    ids = [1, 2, 3, 2**53 + 1]
    file = {"images": [{"id": i, "file_name": f"{i}.jpg"} for i in ids], "annotations": annotations, "categories": []}
    data = json.dumps(file).encode()
    with survey(data, "f.json", 2**20, allow_orphans=False) as rest:
        *before, last = (part.images["image_id"].to_pylist() for part, _ in parts(data, rest, "f.json", 2**20))
    assert list(dict.fromkeys(image for images in before for image in images)) == named
    assert last == [i for i in ids if i not in named]


@pytest.mark.parametrize("size", [100, 2**20])
def test_parts_have_what_is_nested_too_deeply_as_refused_records(size):
    deep = '{"id": 1, "image_id": 1, "file_name": "a", "name": "c", "x": ' + "[" * 5000 + "]" * 5000 + "}"
    lists = [f'"{name}": [{deep}, {deep.replace("1", "2")}]' for name in ("images", "annotations", "categories")]
    data = ("{" + ", ".join(lists) + "}").encode()
    with survey(data, "f.json", size, allow_orphans=False) as rest:
        found = [part for part, _ in parts(data, rest, "f.json", size)]
    assert sum(part.annotations.num_rows for part in found) == sum(part.images.num_rows for part in found) == 2
    for table in (getattr(part, name) for part in found for name in ("images", "annotations", "categories")):
        assert set(table["refused_because"].to_pylist()) <= {"it is nested more than 200 deep"}


@pytest.mark.parametrize("annotations", [[], [{"id": 1, "image_id": 3}]], ids=["none", "one"])
def test_images_without_annotations_come_in_parts_too(annotations):
    listed = [{"id": i, "file_name": f"{i}.jpg"} for i in range(90)]
    data = json.dumps({"images": listed, "annotations": annotations, "categories": []}).encode()
    with survey(data, "f.json", 400, allow_orphans=False) as rest:
        found = [part.images for part, _ in parts(data, rest, "f.json", 400)]
    assert len(found) > 6
    assert max(sum(map(len, images["record"].to_pylist())) for images in found) <= 400
    assert sorted(i for images in found for i in images["image_id"].to_pylist()) == list(range(90))


def test_a_file_without_anything_has_one_part():
    data = b'{"images": [], "categories": []}'
    with survey(data, "f.json", 400, allow_orphans=False) as rest:
        assert [(part.images.num_rows, done) for part, done in parts(data, rest, "f.json", 400)] == [(0, len(data))]
