"""The learning rate over a run, parameter groups, input sides, early stopping: all pure."""

import pytest
import torch
from torch import nn

from lakesight.sections import TrainConfig
from training.groups import depth, parameter_groups, set_trainable, trainable_counts
from training.scales import draw_size, sizes
from training.schedule import lr_factor
from training.stopping import Progress


def factors(**settings):
    train = TrainConfig(steps=100, warmup_steps=10, min_lr_ratio=0.02, **settings)
    return [lr_factor(step, train) for step in range(101)]


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_it_warms_up_and_then_only_falls(schedule):
    found = factors(schedule=schedule)
    assert found[0] == pytest.approx(0.1)
    assert max(found) == pytest.approx(found[9], rel=0.05)
    assert found[9:] == sorted(found[9:], reverse=True)


def test_cosine_ends_at_the_wanted_ratio():
    assert factors()[100] == pytest.approx(0.02)


def test_steps_are_cut_where_asked():
    found = factors(schedule="step", drop_at=(0.5, 0.8), drop_factor=0.1)
    assert [found[at] for at in (49, 50, 79, 80)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_one_cycle_rises_and_falls():
    found = factors(schedule="one_cycle")
    assert found.index(max(found)) == 30
    assert max(found) == pytest.approx(1)
    assert found[0] == pytest.approx(0.04)
    assert found[100] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("model.backbone.model.embedder.embedder.convolution.weight", 0),
        ("model.backbone.model.encoder.stages.0.layers.1.layer.0.convolution.weight", 1),
        ("backbone.encoder.layer.5.attention.query.weight", 6),
        ("model.backbone.model.norm.weight", 10**6),
        ("model.encoder.layers.0.self_attn.q_proj.weight", None),
        ("model.backbones.weight", None),
    ],
)
def test_the_depth_of_a_parameter_is_in_its_name(name, level):
    assert depth(name, "backbone") == level


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        stages = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.backbone = nn.ModuleDict({"embedder": nn.Linear(2, 2), "stages": stages})
        self.head = nn.Linear(2, 2)


def test_the_backbone_learns_slower_the_deeper_it_is():
    train = TrainConfig(lr=1.0, backbone_lr_ratio=0.1, layer_decay=0.5)
    groups = parameter_groups(Toy(), train, "backbone")
    found = {group["name"]: group["lr"] for group in groups}
    assert found == pytest.approx({"head": 1, "backbone-2": 0.1, "backbone-1": 0.05, "backbone-0": 0.025})
    assert sum(len(group["params"]) for group in groups) == 8


@pytest.mark.parametrize(("freeze", "learning"), [("none", 18), ("stem", 12), ("all", 0)])
def test_what_is_frozen_is_counted(freeze, learning):
    network = Toy()
    set_trainable(network, TrainConfig(freeze_backbone=freeze), "backbone")
    assert trainable_counts(network, "backbone") == {"backbone": (learning, 18), "head": (6, 6)}
    assert all(
        parameter.requires_grad
        for group in parameter_groups(network, TrainConfig(), "backbone")
        for parameter in group["params"]
    )


@pytest.mark.parametrize(
    ("size", "spread", "multiple", "expected"),
    [
        ((96, 96), 0.4, 32, ((64, 64), (96, 96), (128, 128))),
        ((96, 96), 0.0, 32, ((96, 96),)),
        ((100, 100), 0.1, 1, ((96, 96), (100, 100), (104, 104))),
        ((96, 160), 0.4, 32, ((64, 96), (96, 160), (128, 224))),
        ((160, 96), 0.4, 32, ((96, 64), (160, 96), (224, 128))),
        ((16, 640), 0.5, 1, ((8, 320), (16, 640), (24, 960))),
    ],
)
def test_sizes_are_multiples_around_the_image_size_and_of_its_shape(size, spread, multiple, expected):
    assert sizes(size, spread, multiple) == expected


def test_every_step_draws_its_size_alone():
    choices = ((64, 64), (96, 96), (128, 128))
    drawn = [draw_size(choices, 0, step) for step in range(50)]
    assert set(drawn) == set(choices)
    assert drawn == [draw_size(choices, 0, step) for step in range(50)]


def test_only_enough_more_is_better():
    progress = Progress()
    for ap, best, waited in [(0.0, 0.0, 0), (0.1, 0.1, 0), (0.105, 0.1, 1), (0.09, 0.1, 2), (0.11, 0.11, 0)]:
        progress = progress.after(ap, 0.01)
        assert progress == Progress(best, waited)


def test_a_young_average_follows_fast_and_an_old_one_slowly():
    from training.ema import Average

    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, decay=0.5, accumulate=2)
    module = type("Module", (), {"network": network})
    average.on_train_batch_end(None, module, None, None, 1)  # the first is a copy
    nn.init.ones_(network.weight)
    average.on_train_batch_end(None, module, None, None, 2)  # in the middle of a step: nothing
    assert average.network.weight.item() == 0
    average.on_train_batch_end(None, module, None, None, 3)
    assert average.network.weight.item() == pytest.approx(1 - 2 / 11)
    for batch_idx in range(5, 40, 2):
        average.on_train_batch_end(None, module, None, None, batch_idx)
    again = Average(nn.Linear(1, 1, bias=False), decay=0.5, accumulate=2)
    again.load_state_dict(average.state_dict())
    assert torch.equal(again.network.weight, average.network.weight)
