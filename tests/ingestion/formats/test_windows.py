"""Windows of a JSON file: every record once, wherever the cuts fall."""

import json
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formats import shallow as shallow_json
from ingestion.formats.shallow import TOO_DEEP
from ingestion.formats.windows import RAWS, members, piece_at
from lakesight.errors import FormatError

DECODERS = {"images": RAWS, "annotations": RAWS}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('a},{[]\\"ü ', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab}{,", max_size=3), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(st.text("ab},", max_size=3), VALUES, max_size=4), max_size=12)


def read(text, window):
    found = {}
    data = text.encode()
    for piece in members(data, DECODERS, "here", window):
        key, value = piece.key, json.loads(piece.text)
        found[key] = found.get(key, []) + value if key in DECODERS and isinstance(value, list) else value
        if piece.records is not None:
            assert [json.loads(bytes(raw)) for raw in piece.records] == value
            assert piece_at(data, piece._replace(text=b"", records=None), RAWS).text == piece.text
    return found


@given(RECORDS, RECORDS, VALUES, st.integers(1, 80), st.sampled_from([None, 1]), st.booleans())
def test_all_records_whatever_the_window(images, annotations, info, window, indent, ascii):
    data = {"info": info, "images": images, "x": 1, "annotations": annotations}
    assert read(json.dumps(data, indent=indent, ensure_ascii=ascii), window) == data


def test_windows_are_bounded():
    text = json.dumps({"annotations": [{"id": i, "name": "n" * 50} for i in range(1000)]})
    parts = [piece.text for piece in members(text.encode(), DECODERS, "here", 4000)]
    assert len(parts) > 15
    assert max(map(len, parts)) < 4100


@pytest.mark.parametrize("window", [10, 60, 10_000])
def test_constants_that_json_has_not_are_strings(window):
    text = '{"info": NaN, "images": [{"id": 1}, {"id": NaN, "s": "say NaN"}, {"id": -Infinity}], "annotations": []}'
    assert read(text, window) == {
        "info": "NaN",
        "images": [{"id": 1}, {"id": "NaN", "s": "say NaN"}, {"id": "-Infinity"}],
        "annotations": [],
    }


@pytest.mark.parametrize("window", [10, 60, 10_000])
def test_what_is_no_text_stays_in_its_record(window):
    text = (
        rb'{"inf\ud800o": "\ud800", "images": [{"id": 1}, {"id": "\udc00"}, {"id": "\ud83d\ude00"}], "b": "' + b'\xff"}'
    )
    found = [piece for piece in members(text, DECODERS, "here", window) if piece.key == "images"]
    raws = [bytes(raw) for piece in found for raw in piece.records]
    assert raws == [b'{"id": 1}', b'{"id": "\xff\\\\udc00"}', rb'{"id": "\ud83d\ude00"}']


@pytest.mark.parametrize("behind", [b"", b" ", b" " * 9])
def test_half_a_character_at_the_very_end_stays_in_its_record(behind):
    text = rb'{"images": [{"id": 1}, {"id": "\ud800"}%b]}' % behind
    raws = [bytes(raw) for piece in members(text, DECODERS, "here") for raw in piece.records]
    assert raws == [b'{"id": 1}', b'{"id": "\xff\\\\ud800"}']


@pytest.mark.parametrize("window", [10, 60, 3000, 30_000])
@pytest.mark.parametrize("close", ["]", ", {}, {}]"])
def test_what_is_nested_too_deeply_stays_in_its_record(window, close):
    deep = "[" * 2000 + close * 2000
    images = f'[{{"id": 1}}, 7, {{"id": {deep}}}, "}}", {{"id": NaN, "x": {deep}}} , 8]'
    text = f'{{"images": {images}, "annotations": [{{"id": 2}}]}}'.encode()
    pieces = [*members(text, DECODERS, "here", window)]
    assert [piece_at(text, p._replace(text=b"", records=None), RAWS) for p in pieces] == pieces
    images = [bytes(raw) for piece in pieces if piece.key == "images" for raw in piece.records]
    assert [raw[:9] for raw in images] == [b'{"id": 1}', b"7", b'{"id": [[', b'"}"', b'{"id": "N', b"8"]
    assert [TOO_DEEP in raw for raw in images] == [False, False, True, False, True, False]
    assert [bytes(raw) for piece in pieces if piece.key == "annotations" for raw in piece.records] == [b'{"id": 2}']


@pytest.mark.parametrize("left", ["", "]}]}", ']}, {"id": 1}], "annotations": []}'])
def test_what_is_nested_too_deeply_and_not_closed_is_refused(left):
    with pytest.raises(FormatError, match="not JSON from byte 12 on"):
        read('{"images": [{"id": ' + "[" * 2000 + "]" * 1990 + left, 100)


@given(RECORDS, st.integers(1, 4))
def test_shallow_is_the_list_without_what_is_deeper(records, deepest):
    def cut(value, depth=0):
        if isinstance(value, dict | list) and depth >= deepest:
            return json.loads(TOO_DEEP.decode("latin-1"))
        if isinstance(value, dict):
            return {key: cut(one, depth + 1) for key, one in value.items()}
        return [cut(one, depth + 1) for one in value] if isinstance(value, list) else value

    text = json.dumps(records)[1:]
    with patch.object(shallow_json, "DEEPEST", deepest):
        found = shallow_json.shallow(text.encode() + b" , 7")
    assert (found.end, found.ended) == (len(text) - 1, True)
    assert json.loads("[" + found.text.decode("latin-1") + "]") == [cut(record) for record in records]


@pytest.mark.parametrize(
    "text",
    [
        "{1: 2}",
        "",
        "[]",
        "{",
        '{"a"',
        '{"images": [',
        '{"images": [{"id": 1}',
        '{"images": [{"id": 1}}',
        '{"images": [{"id" 1}, {}]}',
        "{'images': []}",
        '{"images": [],}',
        '{"images": [] "x": 1}',
        '{"images": [{},]}',
        '{"images": []} {}',
    ],
)
def test_what_is_no_json_is_refused(text):
    with pytest.raises(FormatError, match="not JSON"):
        read(text, 8)


def test_a_byte_order_mark_is_skipped():
    (piece,) = members(b'\xef\xbb\xbf {"a": 1} ', {}, "here")
    assert (piece.key, piece.text) == ("a", b"1")


class _Number(msgspec.Struct):
    n: int


@pytest.mark.parametrize("window", [12, 40, 10_000])
def test_records_of_another_kind_are_left_to_a_closer_look(window):
    numbers = [{"n": i} for i in range(8)]
    data = json.dumps({"images": [*numbers[:4], {"n": "x"}, *numbers[4:]], "x": [{"n": 1}, {}]}).encode()
    pieces = [p for p in members(data, {"images": msgspec.json.Decoder(list[_Number])}, "here", window) if p.key != "x"]
    assert [r for p in pieces for r in json.loads(p.text)] == json.loads(data)["images"]
    assert [p.records is None for p in pieces] == [b'"x"' in p.text for p in pieces]
    typed = [record.n for p in pieces for record in p.records or ()]
    assert typed == [r["n"] for p in pieces for r in json.loads(p.text) if b'"x"' not in p.text]
