"""Where the records of a file's images lie: each is found by its id, as it is written."""

import json

import msgspec
import pytest

from ingestion.formats.coco_images import ImageRecords
from ingestion.formats.coco_parts import LISTED
from ingestion.formats.windows import members

PLAIN = [f'{{"id": {i * 7919 % 1009}, "file_name": "é {i}.jpg"}}' for i in range(500)]
ODD = [
    '{"id": 3.0, "file_name": "a"}',
    '{"id": "cam-1", "file_name": "b"}',
    '{"file_name": "c"}',
    '{"id": true}',
    f'{{"id": {2**70}}}',
    '{"id": -5}',
    '{"id": -5, "file_name": "again"}',
    '{"id": 2000, "x": NaN}',
    "7",
]


def read(records: list[str], size: int) -> ImageRecords:
    data = ('{"images": [' + " ,\n".join(records) + "]}").encode()
    found = ImageRecords(data)
    for piece in members(data, {"images": LISTED}, "f.json", size):
        found.add(piece)
    return found


@pytest.mark.parametrize("size", [40, 999, 2**20])
@pytest.mark.parametrize("records", [PLAIN, ODD, PLAIN[:60] + ODD + PLAIN[60:]], ids=["plain", "odd", "both"])
def test_each_record_is_as_it_is_written(records, size):
    found = read(records, size)
    standard = [record.replace("NaN", '"NaN"').encode() for record in records]
    assert list(found.json(range(len(found)))) == standard


@pytest.mark.parametrize("size", [40, 999, 2**20])
def test_rows_are_found_by_their_ids(size):
    found = read(PLAIN[:60] + ODD + PLAIN[60:], size)
    for record in PLAIN:
        (one,) = found.json(found.rows([json.loads(record)["id"]]).tolist())
        assert one == record.encode()
    again = [msgspec.json.decode(one).get("file_name") for one in found.json(found.rows([-5, 2**70, 3]).tolist())]
    assert sorted(again, key=str) == [None, None, "a", "again"]
    assert found.rows([1010, -(2**63), 2**80]).tolist() == []
    assert found.missing([0, 2**70, -5, 1010, 2**80]) == {1010, 2**80}


def test_texts_are_found_by_the_numbers_that_they_stand_for():
    found = read([*ODD, '{"id": "none"}'], 2**20)
    assert found.missing([41, 1]) == {41, 1}
    found.settle({"cam-1": 41}.get)
    assert [json.loads(one)["file_name"] for one in found.json(found.rows([41]).tolist())] == ["b"]
    assert found.missing([41, 1]) == {1}


def test_a_file_without_images_has_no_rows():
    assert (len(read([], 99)), read([], 99).rows([1]).tolist()) == (0, [])
