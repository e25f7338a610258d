"""The benchmark of waiting for batches: its data are what the demo learns from."""

from benchmarks import training_step
from lakesight import config, delta
from training import inputs


def test_its_tables_can_be_trained_on(tmp_path):
    warehouse = training_step.generate(tmp_path, 20)
    versions = delta.versions(warehouse, *inputs.TABLES)
    found = inputs.read_inputs(warehouse, config.load(training_step.DEMO), "bench", versions)
    assert (found.train.num_rows, found.val.num_rows) == (16, 4)
    assert [category.name for category in found.categories] == ["circle", "square", "triangle"]
    assert min(found.train.num_boxes) >= 1
