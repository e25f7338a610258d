"""What an export costs: it is made at every validation."""

from pathlib import Path

import torch

from lakesight import config as configuration
from training.architectures import build_network
from training.classes import Category
from training.export import export

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def test_weights_are_listed_a_few_times_and_not_once_a_weight(monkeypatch, tmp_path):
    config = configuration.load(DEMO)
    classes = [Category(0, 1, "circle")]
    network = build_network(config.model, config.train, classes)
    list_weights, lists = torch.nn.Module.state_dict, []

    def counted(module, *args, **kwargs):
        if not kwargs.get("prefix"):  # of a whole network
            lists.append(type(module))
        return list_weights(module, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "state_dict", counted)
    export(network, tmp_path, config.model, classes)
    assert 2 <= len(lists) < 10
