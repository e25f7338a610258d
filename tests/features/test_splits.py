"""Splits: groups stay together, shares are met, nothing moves without a reason."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.splits import choose, deal, deal_stratified, group, leaks

HASHES = [f"{int(h):032x}" for h in np.random.default_rng(0).integers(0, 2**63, 500).astype(object) * 2**65]


def singles(count):
    return group(HASHES[:count], [None] * count, [None] * count, 0)


@pytest.mark.parametrize(
    ("dhashes", "bits", "expected"),
    [
        (["01", "01", "03"], 0, [0, 0, 2]),
        (["01", "01", "03"], None, [0, 1, 2]),
        (["01", "03", "07"], 1, [0, 0, 0]),  # linked by the one between
        (["1000000000000001", "8000000000000001", "02"], 2, [0, 0, 2]),
        (["0", "0", None], 4, [0, 1, 2]),  # flat pictures
        (["ffffffffffffffff", "ffffffffffffffff", None], 0, [0, 1, 2]),
    ],
)
def test_groups_by_dhash(dhashes, bits, expected):
    assert group(HASHES[:3], [None] * 3, dhashes, bits) == expected


def test_groups_by_pixels_and_key():
    assert group(["a", "b", "a", "c"], [None, "x", None, "x"], [None] * 4, 0) == [0, 1, 0, 1]


@given(st.lists(st.integers(1, 2**64 - 2), min_size=1, max_size=12), st.integers(0, 6))
def test_bands_find_what_comparing_all_finds(codes, bits):
    found = group([str(i) for i in range(len(codes))], [None] * len(codes), [f"{c:x}" for c in codes], bits)
    for i, one in enumerate(codes):
        for j, other in enumerate(codes):
            if (one ^ other).bit_count() <= bits:
                assert found[i] == found[j]


def test_alone_an_image_goes_by_its_pixels_and_new_images_move_none():
    before = deal(singles(200), HASHES[:200], (0.2, 0.8))
    assert before == [0 if int(h[:8], 16) / 2**32 < 0.2 else 1 for h in HASHES[:200]]
    assert deal(singles(500), HASHES, (0.2, 0.8))[:200] == before


@pytest.mark.parametrize("stratified", [False, True])
def test_groups_stay_together_and_folds_cover_all(stratified):
    groups = group(HASHES, [i // 5 for i in range(500)], [None] * 500, None)
    labels = [[i % 7] for i in range(500)]
    shares = (0.25,) * 4
    bins = deal_stratified(groups, HASHES, labels, shares) if stratified else deal(groups, HASHES, shares)
    assert all(len(set(bins[i : i + 5])) == 1 for i in range(0, 500, 5))
    assert set(bins) == {0, 1, 2, 3}
    val = [[s == "val" for s in choose(groups, [None] * 500, bins, fold)] for fold in range(4)]
    assert np.sum(val, axis=0).tolist() == [1] * 500


def test_stratified_gives_every_class_its_share():
    rng = np.random.default_rng(1)
    labels = [[0] * int(rng.integers(1, 4)) + [1] * (i % 25 == 0) + [2] * (i % 100 == 0) for i in range(500)]
    bins = deal_stratified(singles(500), HASHES, labels, (0.2, 0.8))
    val = Counter(label for b, classes in zip(bins, labels, strict=True) if b == 0 for label in classes)
    total = Counter(label for classes in labels for label in classes)
    assert [val[1] / total[1], val[2] / total[2]] == [0.2, 0.2]
    assert abs(val[0] / total[0] - 0.2) < 0.02
    assert abs(bins.count(0) - 100) <= 2


def test_stated_splits_win_and_draw_their_group_along():
    groups, stated = [0, 0, 2, 2, 4], ["test", None, "train", "val", None]
    splits = choose(groups, stated, [0] * 5, 0)
    assert splits == ["test", "test", "train", "val", "val"]
    assert leaks(groups, splits) == [2]
