"""A run from its row. The run that it makes is in the warehouse all tests share: this file comes after the others."""

import pytest

from lakesight.sections import RayConfig
from training.reproduce import reproduce


@pytest.mark.slow
def test_a_run_is_reproduced_from_its_row(trained):
    report = reproduce(trained.warehouse, trained.report.run_id, RayConfig())
    assert report.equal
    assert {"val_AP", "train_loss"} <= set(report.metrics)
    assert report.surroundings == []
    assert report.again != trained.report.run_id
