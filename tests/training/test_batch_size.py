"""`train.batch_size: auto`: as many images as memory has room for, the same when the run goes on."""

import json
import re
from pathlib import Path

import pytest
import torch

from lakesight import config as configuration
from lakesight import delta
from lakesight.errors import ConfigError, SetupError
from training import batch_size, fit, tracking
from training.batch_size import largest
from training.classes import Category
from training.tune import search_space

CLASSES = [Category(i, i + 1, name) for i, name in enumerate(("circle", "square", "triangle"))]
MIB = 2**20


@pytest.fixture(scope="module")
def auto(quick_config):
    return configuration.replace(quick_config, {"train.batch_size": "auto", "train.val_pictures": 0})


def found(config, **limits):
    return largest(config, CLASSES, **({"most_boxes": 6, "most_images": 1000, "room": 2**60} | limits))


def resident():
    (kib,) = re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kib) * 1024


def test_it_is_a_power_of_two_that_the_data_set_and_memory_have_room_for(auto, monkeypatch):
    torch.set_num_threads(1)
    assert found(auto, most_images=5) == 4
    wide = configuration.replace(auto, {"model.image_size": 128, "train.multi_scale": 0.5})
    assert found(wide, room=resident() + 200 * MIB, most_images=16) < 16
    monkeypatch.setattr(batch_size, "MOST", 2)
    assert found(auto) == 2


def test_where_not_one_image_fits_it_says_so(auto):
    with pytest.raises(ConfigError, match=r"one image does not fit into the 0\.0 GiB"):
        found(auto, room=10 * MIB)


def test_only_train_takes_auto(auto):
    with pytest.raises(ConfigError, match=r"train\.batch_size is auto"):
        search_space(auto)
    assert search_space(configuration.replace(auto, {"tune.space": {"train.batch_size": {"choice": [2, 4]}}}))


@pytest.mark.slow
def test_a_run_records_what_was_found_and_goes_on_with_it(shapes_warehouse, auto, ray_cluster, monkeypatch):
    warehouse, seen = shapes_warehouse(), []

    def stop(warehouse, config, *_):
        seen.append(config.train.images)
        raise SetupError("the disk is full")

    monkeypatch.setattr(fit, "_ray_train", stop)
    with pytest.raises(SetupError):
        fit.train(warehouse, auto, dataset="shapes")
    assert seen == [16]  # of 24 images
    monkeypatch.setattr(batch_size, "_found", None)  # it is not looked for again
    with pytest.raises(SetupError):
        fit.train(warehouse, auto, dataset="shapes")
    assert seen == [16, 16]
    (row,) = delta.read(warehouse, "training_runs").to_pylist()
    assert json.loads(row["config"])["train"]["batch_size"] == 16
    run = tracking.connect(warehouse).get_run(row["mlflow_run_id"])
    assert run.data.params["train.batch_size"] == "16"
