"""Configurations -> networks: what is refused, what is thawed, what pretrained weights keep."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lakesight import config as configuration
from lakesight.errors import ConfigError
from training.architectures import build_network, facts_of, has_places, network_config, num_queries
from training.classes import Category
from training.detector import Detector
from training.export import export
from training.weights import load_weights

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
CLASSES = [Category(0, 10, "circle"), Category(1, 20, "square"), Category(2, 30, "triangle")]


def load(name):
    return configuration.load(next(path for path in CONFIGS if path.stem == name))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_builds_and_states_its_cost(path):
    settings = configuration.load(path)
    network = build_network(settings.model, settings.train, CLASSES)
    assert network.config.id2label == {0: "circle", 1: "square", 2: "triangle"}
    assert (num_queries(network.config) > 0) == (facts_of(settings.model).task != "classification")
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.config.num_querys=5", "did you mean num_queries"),
        ("model.config.backbone_config.depth=[1]", "did you mean depths"),
        ("model.config.backbone_config.model_type=resnot", "no model_type 'resnot'"),
        ("model.architecture=dfine", "did you mean d_fine"),
        ("model.image_size=100", "to do:    try 96"),
        ("model.image_size=[96, 100]", r"to do:    try \[96, 96\]"),
        ("model.config.num_queries=190", "model.image_size of 128 or more"),
        ("model.config.num_queries=300", "model.image_size of 128 or more"),
        ("model.config.d_model=wide", "refuses this configuration"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_to_do(override, message):
    model = configuration.load(CONFIGS[0].with_name("demo.yaml"), [override]).model
    with pytest.raises(ConfigError, match=message):
        network_config(model, CLASSES)


@pytest.mark.parametrize("size", [96, (96, 64)])
def test_a_vit_is_built_for_the_size_of_its_images(size):
    model = configuration.load(None, ["model.architecture=vit", f"model.image_size={json.dumps(size)}"]).model
    assert network_config(model, CLASSES).image_size == size
    again = replace(model, config={"image_size": [*model.input_size]})  # as YAML says it
    assert network_config(again, CLASSES).image_size == size
    with pytest.raises(ConfigError, match="one size only"):
        network_config(replace(model, config={"image_size": 224}), CLASSES)


@pytest.mark.parametrize("name", ["demo", "detr"])
def test_from_scratch_everything_learns(name):
    settings = load(name)
    network = build_network(settings.model, settings.train, CLASSES)
    assert all(parameter.requires_grad for parameter in network.parameters())
    kinds = {type(module).__name__ for module in network.modules()}
    assert "BatchNorm2d" in kinds
    assert not any("FrozenBatchNorm" in kind for kind in kinds)


def test_a_backbone_can_be_frozen():
    settings = load("detr")
    network = build_network(settings.model, replace(settings.train, freeze_backbone="all"), CLASSES)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen
    assert all("backbone" in name for name in frozen)


@pytest.mark.parametrize("name", ["demo", "detr"])
def test_pretrained_weights_keep_the_rows_of_classes_of_equal_name(name, tmp_path):
    settings = load(name)
    theirs = build_network(settings.model, settings.train, CLASSES)
    export(theirs, tmp_path, settings.model, CLASSES)
    mine = [Category(0, 1, "triangle"), Category(1, 2, "hexagon"), Category(2, 3, "circle"), Category(3, 4, "star")]
    network = build_network(replace(settings.model, pretrained=str(tmp_path)), settings.train, mine)
    head = next(key for key in network.state_dict() if "class_labels_classifier" in key or "class_embed" in key)
    ours, old = network.state_dict()[head], theirs.state_dict()[head]
    assert torch.equal(ours[0], old[2])
    assert torch.equal(ours[2], old[0])
    assert not torch.equal(ours[1], old[1])
    backbone = [key for key in network.state_dict() if "backbone" in key]
    assert all(torch.equal(network.state_dict()[key], theirs.state_dict()[key]) for key in backbone)


def test_weights_that_are_not_there_or_do_not_fit_are_refused(tmp_path):
    settings = load("demo")
    network = build_network(settings.model, settings.train, CLASSES)
    with pytest.raises(ConfigError, match="no weights"):
        load_weights(network, str(tmp_path))


def test_multi_scale_leaves_no_query_without_a_place():
    settings = configuration.replace(load("demo"), {"model.config.num_queries": 100, "train.multi_scale": 0.5})
    assert settings.model.image_size == 96
    network = build_network(settings.model, settings.train, CLASSES)
    assert [has_places(network.config, (side, side)) for side in (64, 96, 128)] == [False, True, True]
    assert [has_places(network.config, size) for size in ((64, 96), (64, 128), (128, 64))] == [True, True, True]
    assert Detector(network, settings.model, settings.train)._sizes == ((96, 96), (128, 128))
