"""Parts of a COCO file: what is decoded in one go says the same as a look at each record."""

import json
import random
from collections import Counter
from contextlib import suppress

import pytest

from ingestion.formats.coco import parse
from ingestion.formats.coco_annotations import flavours
from ingestion.formats.coco_parts import BOXED, flavours_in, parts, survey
from ingestion.formats.windows import RAWS, members
from lakesight.errors import FormatError

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


IDS = {
    "numbers": [*range(-2, 12)],
    "texts": ["cam-1", "cam-2", "7", "0007", "é"],
    "anything": [3, 4.0, "t", "5", None, True, 2**70, -(2**63), 2**63 - 1, 1.5, [1], {}],
}


def random_file(rng):
    """A file with ids of one kind, or of all, on either side; some records have none."""
    of_images, of_annotations = rng.choice([*IDS.values()]), rng.choice([*IDS.values()])

    def stated(ids):
        return {"id": rng.choice(ids)} if rng.random() < 0.9 else {}

    images = [stated(of_images) | {"file_name": f"{i}.jpg"} for i in range(rng.randint(1, 14))]
    annotations = [
        stated(of_annotations) | {"image_id": rng.choice(of_images), "category_id": 1, "bbox": rng.choice([BOX, None])}
        for _ in range(rng.randint(1, 30))
    ]
    lists = [("images", images), ("annotations", annotations), ("categories", [{"id": 1, "name": "c"}])]
    return json.dumps(dict(rng.sample(lists, 3))).encode()


def rows(table):
    found = table.drop_columns("ordinal").to_pylist()
    return Counter(json.dumps(row, default=str, sort_keys=True) for row in found)


def in_one(whole):
    return rows(whole.annotations), set(rows(whole.images))


def in_parts(data, size):
    """As `in_one`; each annotation comes with its image."""
    with survey(data, "f.json", size, allow_orphans=True) as rest:
        found = [part for part, _ in parts(data, rest, "f.json", size)]
    listed = {id_ for part in found for id_ in part.images["image_id"].to_pylist()}
    for part in found:
        assert set(part.annotations["image_id"].to_pylist()) & listed <= {None, *part.images["image_id"].to_pylist()}
    annotations = sum((rows(part.annotations) for part in found), Counter())
    return annotations, set().union(*(rows(part.images) for part in found))


@pytest.mark.parametrize("seed", range(50))
def test_parts_have_what_the_file_has(seed):
    rng = random.Random(seed)
    data, size = random_file(rng), rng.choice([60, 150, 400])
    expected = None
    with suppress(FormatError):  # none of its records can be read, which may be so of a part
        expected = in_one(parse(data, "f.json"))
    assert expected is None or in_parts(data, size) == expected


def test_a_piece_without_ids_says_nothing_of_what_ids_are():
    boxes = [{"image_id": 1, "bbox": BOX, "category_id": 1}, {"id": "a", "image_id": 1, "bbox": BOX, "category_id": 1}]
    file = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": boxes, "categories": [{"id": 1, "name": "c"}]}
    data = json.dumps(file).encode()
    assert in_parts(data, 60) == in_one(parse(data, "f.json"))
