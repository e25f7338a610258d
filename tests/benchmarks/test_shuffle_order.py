"""How well an epoch is shuffled: as well as dice would, and the measure tells what is not."""

import numpy as np
import pytest

from benchmarks.shuffle_order import nearness, ours


def test_the_measure_knows_what_is_mixed():
    lying = np.arange(4096)
    assert nearness(lying) < 0.001
    assert nearness(np.random.default_rng(0).permutation(lying)) == pytest.approx(1, abs=0.05)
    by_blocks = np.random.default_rng(0).permutation(64)[:, None] * 64 + np.arange(64)
    assert nearness(by_blocks.ravel()) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_of_an_epoch_were_ingested_anywhere(seed):
    order = ours(4096, seed)
    assert sorted(order) == list(range(4096))
    assert nearness(order) == pytest.approx(1, abs=0.05)


def test_where_an_image_came_says_nothing_of_when_it_is_read():
    first, second = (np.argsort(ours(4096, seed)) for seed in (0, 1))
    for one, other in ((first, np.arange(4096)), (first, second)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
