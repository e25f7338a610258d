"""torch glue: which parameters learn, and how fast: the backbone by depth, and the rest."""

import re
from typing import Any

from torch import nn

from lakesight.sections import TrainConfig

_STAGE = re.compile(r"\.(?:stages|layers|layer|blocks)\.(\d+)\.")
_TOP = 10**6
"""Depth of what follows the last stage: norms and projections."""


def depth(name: str, backbone: str) -> int | None:
    """Of a parameter: 0 in the stem, n + 1 in stage n of the backbone; None outside it.

    `backbone`: the name of the backbone's module, `training.architectures.Facts.backbone`.
    """
    _, found, inside = f".{name}".partition(f".{backbone}.")
    if not found:
        return None
    if stage := _STAGE.search(f".{inside}"):
        return int(stage[1]) + 1
    return 0 if "embed" in inside else _TOP


def set_trainable(network: nn.Module, train: TrainConfig, backbone: str) -> None:
    """Undo what transformers freezes unasked, which is fatal from scratch, and freeze what `train` asks.

    It replaces BatchNorm by a frozen one, and in DETR, Conditional, Deformable and Table-Transformer the whole native
    ResNet gets no gradient.
    """
    if not train.freeze_batch_norm:
        _thaw_batch_norm(network)
    for name, parameter in network.named_parameters():
        level = depth(name, backbone)
        frozen = level is not None and (
            train.freeze_backbone == "all" or (train.freeze_backbone == "stem" and level == 0)
        )
        parameter.requires_grad_(not frozen)


def _thaw_batch_norm(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__.endswith("FrozenBatchNorm2d"):
                live = nn.BatchNorm2d(len(child.state_dict()["weight"]))
                live.load_state_dict(child.state_dict(), strict=False)  # a frozen one does not count batches
                setattr(module, name, live)


def parameter_groups(network: nn.Module, train: TrainConfig, backbone: str) -> list[dict[str, Any]]:
    """The optimiser's groups, the rest of the network first, then the backbone from its top to its stem."""
    levels: dict[int | None, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            levels.setdefault(depth(name, backbone), []).append(parameter)
    groups = [{"params": levels.pop(None), "lr": train.lr, "name": "head"}] if None in levels else []
    for below, (level, parameters) in enumerate(sorted(levels.items(), key=lambda pair: -(pair[0] or 0))):
        ratio = train.backbone_lr_ratio * train.layer_decay**below
        groups.append({"params": parameters, "lr": train.lr * ratio, "name": f"backbone-{level}"})
    return groups


def trainable_counts(network: nn.Module, backbone: str) -> dict[str, tuple[int, int]]:
    """Of `backbone` and `head`: parameters that learn, and all."""
    counts = {"backbone": (0, 0), "head": (0, 0)}
    for name, parameter in network.named_parameters():
        part = "head" if depth(name, backbone) is None else "backbone"
        learns, every = counts[part]
        counts[part] = (learns + parameter.numel() * parameter.requires_grad, every + parameter.numel())
    return counts
