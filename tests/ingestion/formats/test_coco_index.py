"""What a file names, on disk: where the records of its images lie, and which images a piece's annotations are on."""

import json

import msgspec
import pyarrow as pa
import pytest

from ingestion.formats.coco_index import CocoIndex
from ingestion.formats.coco_parts import LISTED
from ingestion.formats.windows import members
from lakesight.errors import SetupError
from lakesight.tables import LONG

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
NUMBERS, TEXTS = frozenset[str](), frozenset({"id", "image_id"})


def read(records: list[str], size: int, *named: int | str, texts: frozenset[str] = NUMBERS) -> CocoIndex:
    """Of a file with one annotation each on the images `named`, a piece each."""
    data = ('{"images": [' + " ,\n".join(records) + "]}").encode()
    found = CocoIndex(data)
    for piece in members(data, {"images": LISTED}, "f.json", size):
        found.list_images(piece)
    for number, image in enumerate(named):
        found.name_images(number, [(image, False), (image, False)])
    found.settle(texts, texts)
    return found


@pytest.mark.parametrize("size", [40, 999, 2**20])
@pytest.mark.parametrize("records", [PLAIN, ODD, PLAIN[:60] + ODD + PLAIN[60:]], ids=["plain", "odd", "both"])
def test_each_record_is_as_it_is_written(records, size):
    with read(records, size) as found:
        standard = [record.replace("NaN", '"NaN"').encode() for record in records]
        assert list(found.listed()) == list(found.others()) == standard


@pytest.mark.parametrize("size", [40, 999, 2**20])
def test_images_are_found_by_their_ids(size):
    ids = [json.loads(record)["id"] for record in PLAIN]
    with read(PLAIN[:60] + ODD + PLAIN[60:], size, *ids, -5, 2**70, 3, 1010, -(2**63), 2**80) as found:
        for piece, record in enumerate(PLAIN):
            assert record.encode() in found.images(piece, piece)
        again = [msgspec.json.decode(one).get("file_name") for one in found.images(len(ids), len(ids) + 2)]
        assert again == ["a", None, None, "again"]
        assert found.images(len(ids) + 3, 10**6) == []
        assert sorted(found.images(0, 10**6)) == sorted(set(found.listed()) - set(found.others()))
        assert found.orphans(2) == (3, [str(-(2**63)), "1010"])
        left = [msgspec.json.decode(one) for one in found.others()]
        assert left == [
            {"id": "cam-1", "file_name": "b"},
            {"file_name": "c"},
            {"id": True},
            {"id": 2000, "x": "NaN"},
            7,
        ]


def test_texts_are_found_by_the_numbers_that_they_stand_for():
    with read([*ODD, '{"id": "77"}'], 2**20, "cam-1", 77, "cam-2", "NaN", texts=TEXTS) as found:
        assert found.images(0, 0) == [b'{"id": "cam-1", "file_name": "b"}']
        assert found.images(1, 1) == [b'{"id": "77"}']
        assert found.orphans(9) == (1, ["cam-2"])
    with read([*ODD, '{"id": "77"}'], 2**20, "cam-1", 77, "77", 3) as found:
        assert found.images(0, 9) == [ODD[0].encode()]
        assert found.orphans(9) == (1, ["77"])


def test_ids_that_were_seen_before_are_told():
    with read([], 99) as found:
        assert found.seen_before(pa.chunked_array([[3, None, 2**62]], LONG)).to_pylist() == []
        assert found.seen_before(pa.chunked_array([[2**62, -1], [3, 3]], LONG)).to_pylist() == [3, 2**62]
        assert found.seen_before(pa.chunked_array([], LONG)).to_pylist() == []
        assert found.seen_before(pa.chunked_array([[-1]], LONG)).to_pylist() == [-1]


def name_many():
    with CocoIndex(b"") as index:
        index._db.execute("PRAGMA max_page_count = 9")  # as if there were no room for more
        index.name_images(0, ((image, False) for image in range(100_000)))


def test_a_full_disk_is_told():
    with pytest.raises(SetupError, match=r"^what .* cannot be kept: database or disk is full\n[^$]*TMPDIR"):
        name_many()


def test_a_file_without_images_has_none():
    with read([], 99, 1) as found:
        assert (list(found.listed()), found.images(0, 9), found.orphans(3)) == ([], [], (1, ["1"]))
