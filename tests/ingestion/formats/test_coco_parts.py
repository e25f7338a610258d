"""Parts of a COCO file: what is decoded in one go says the same as a look at each record."""

import json

import msgspec
import pytest

from ingestion.formats.coco_annotations import flavours, flavours_in
from ingestion.formats.coco_parts import parts, survey

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
    text = json.dumps(records).encode()
    assert flavours_in(text) == flavours(msgspec.json.decode(text, type=list[msgspec.Raw]))


@pytest.mark.parametrize(
    ("annotations", "named"),
    [
        ([{"id": 1, "image_id": 2}, {"id": 2, "image_id": 1}, {"id": 3, "image_id": 2}], [2, 1]),
        ([{"id": None, "image_id": 1}], [1]),
        ([{"id": 1.0, "image_id": 2.0}, {"id": 2, "image_id": 2**53 + 1}], [2, 2**53 + 1]),
        ([{"id": 1, "image_id": True}, {"id": 2, "image_id": "1"}, 7, {"id": "3", "image_id": 1}], []),
        ([{"id": 1, "image_id": 1.5}, {"id": 2, "image_id": 2}], [2]),
    ],
    ids=["plain", "no id", "floats and large ids", "no ids", "a fraction"],
)
def test_parts_have_the_images_their_annotations_are_on(annotations, named):
    ids = [1, 2, 3, 2**53 + 1]
    file = {"images": [{"id": i} for i in ids], "annotations": annotations, "categories": []}
    data = json.dumps(file).encode()
    rest = survey(data, "f.json", 2**20, allow_orphans=False)
    *before, last = (json.loads(part)["images"] for part, _ in parts(data, rest, "f.json", 2**20))
    assert list(dict.fromkeys(image["id"] for images in before for image in images)) == named
    assert [image["id"] for image in last] == [i for i in ids if i not in named]
