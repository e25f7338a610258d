import pytest

from ingestion.identity import annotation_id, category_ids, image_id


def test_ids_are_stable_and_fit_json():
    # Written down: an id that changed with a release would double every image that was ingested before.
    assert image_id("a.jpg") == 1418029965777532
    assert annotation_id("a.jpg", 1) == 932733953925808
    names = [f"{folder}/é {number}\n.jpg" for folder in "ab" for number in range(2_000)]
    ids = {image_id(name) for name in names} | {annotation_id(name, 1) for name in names}
    assert len(ids) == 2 * len(names)
    assert all(0 <= one < 2**53 for one in ids)


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        pytest.param(["b", "a", "b"], {}, {"a": 1, "b": 2}, id="sorted"),
        pytest.param(["a", "c", "b"], {"c": 7}, {"c": 7, "a": 8, "b": 9}, id="known keep theirs"),
        pytest.param(["a"], {"z": 0}, {"z": 0, "a": 1}, id="from zero"),
        pytest.param([], {}, {}, id="none"),
        pytest.param(["a"], {"z": 2**63 - 2}, {"z": 2**63 - 2, "a": 2**63 - 1}, id="the last number"),
        pytest.param(
            ["a", "b"], {"y": 1, "z": 2**63 - 2}, {"y": 1, "z": 2**63 - 2, "a": 2, "b": 3}, id="no larger one"
        ),
    ],
)
def test_category_ids(names, known, expected):
    assert category_ids(names, known) == expected
