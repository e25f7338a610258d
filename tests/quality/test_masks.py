"""Segmentations -> rings, area, size."""

import json

import pyarrow as pa
import pytest

from quality.masks import mask_facts, ring_area

SQUARE = [0, 0, 4, 0, 4, 4, 0, 4]


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([SQUARE], (1, True, 16.0, None, None, None)),
        ([SQUARE[::-1], [0, 0, 2, 0, 0, 1]], (2, True, 17.0, None, None, None)),
        ([SQUARE, [0, 0, 1, 1]], (2, False, 16.0, None, None, None)),
        ([SQUARE[:-1]], (1, False, 0.0, None, None, None)),
        ([], (0, True, 0.0, None, None, None)),
        ([SQUARE, [0, 0, 1, 1, 2, 2]], (2, False, 16.0, None, None, None)),
        ({"counts": [3, 2, 10], "size": [3, 5]}, (None, None, None, 3, 5, 15)),
        ({"counts": "32:", "size": [3, 5]}, (None, None, None, 3, 5, 15)),
        ({"counts": [3, -2, 14], "size": [3, 5]}, (None, None, None, 3, 5, -1)),
        ({"counts": "o" * 99, "size": [3, 5]}, (None, None, None, 3, 5, -1)),
        ({"counts": [1, 2], "size": [3]}, (None,) * 6),
        ("text", (None,) * 6),
        (None, (None,) * 6),
    ],
)
def test_facts(segmentation, expected):
    (found,) = mask_facts(pa.array([None if segmentation is None else json.dumps(segmentation)])).to_pylist()
    assert tuple(found.values()) == expected


def test_what_is_nested_too_deeply_is_no_segmentation():
    (found,) = mask_facts(pa.array(['{"x": ' + "[" * 5000 + "]" * 5000 + "}"])).to_pylist()
    assert set(found.values()) == {None}


def test_area_of_a_ring_does_not_depend_on_where_it_starts():
    ring = [1.5, 0, 7, 2, 5, 6, 0, 3]
    areas = {round(ring_area(ring[2 * i :] + ring[: 2 * i]), 9) for i in range(4)}
    assert areas == {22.75}
