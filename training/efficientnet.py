"""EfficientNet-Lite as a backbone for transformers' detectors (Liu 2020). Stands alone: a model's artifact carries it.

Lite: no squeeze-and-excitation, ReLU6, stem of one width. Padding is TensorFlow's `SAME`, as its weights expect.
"""

import math
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel, initialization
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput

VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Factors of width and depth."""
_STEM = 32
_GROUPS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
           (1, 3, 1, 6, 320))  # fmt: skip
"""Of each group of blocks: how many, kernel, stride of the first, expansion, channels."""
_STAGES = ((1,), (2,), (3, 4), (5, 6))
"""Groups of a stage, as ResNets have them: strides 4, 8, 16, 32. Group 0 is a part of the stem."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What pixels in [0, 1] were normalised by (ImageNet's), before they came here."""


@strict
class EfficientNetLiteConfig(BackboneConfigMixin, PreTrainedConfig):  # type: ignore[no-untyped-call]  # theirs
    """Stages `stem`, `stage1` to `stage4`; `imagenet`: training starts from ImageNet's weights."""

    model_type = "efficientnet_lite"

    variant: str = "lite0"
    imagenet: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the variant; name the stages."""
        if self.variant not in VARIANTS:
            raise ValueError(f"variant is {self.variant!r}, expected one of {', '.join(VARIANTS)}")
        self.stage_names = ["stem", *(f"stage{i + 1}" for i in range(len(_STAGES)))]
        self.set_output_features_output_indices(
            out_indices=kwargs.pop("out_indices", None), out_features=kwargs.pop("out_features", None)
        )
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]  # theirs


class SameConv(nn.Conv2d):
    """No bias; zeros around, so that the output has 1 / stride of the input's side, rounded up."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        """Channels in and out."""
        super().__init__(inside, outside, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', ceil(H / stride), ceil(W / stride)]; an odd zero goes right and below."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        down, across = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in input.shape[-2:])
        padded = nn.functional.pad(input, (across // 2, across - across // 2, down // 2, down - down // 2))
        return super().forward(padded)


class Block(nn.Module):
    """An inverted bottleneck: wider by a 1x1 convolution, depthwise, narrow again; a residual where shapes allow."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        """Channels in and out."""
        super().__init__()
        width = inside * expansion
        if expansion > 1:
            self.expand = SameConv(inside, width, 1)
            self.expand_norm = nn.BatchNorm2d(width)
        self.depthwise = SameConv(width, width, kernel, stride, groups=width)
        self.depthwise_norm = nn.BatchNorm2d(width)
        self.project = SameConv(width, outside, 1)
        self.project_norm = nn.BatchNorm2d(outside)
        self._expands, self._residual = expansion > 1, stride == 1 and inside == outside

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        wide = nn.functional.relu6(self.expand_norm(self.expand(features))) if self._expands else features
        wide = nn.functional.relu6(self.depthwise_norm(self.depthwise(wide)))
        narrow: Tensor = self.project_norm(self.project(wide))
        return narrow + features if self._residual else narrow


class Stem(nn.Module):
    """The first convolution and the first group of blocks: stride 2."""

    def __init__(self, blocks: nn.Sequential) -> None:
        """`blocks`: of group 0."""
        super().__init__()
        self.convolution = SameConv(3, _STEM, 3, 2)
        self.norm = nn.BatchNorm2d(_STEM)
        self.blocks = blocks

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W], normalised by ImageNet's mean and deviation -> [B, C, H / 2, W / 2]."""
        # This network knows pixels as (x - 127) / 128. Not folded into the convolution: its zeros around would change.
        mean, std = (pixels.new_tensor(values).view(3, 1, 1) * 255 for values in (_MEAN, _STD))
        known = (pixels * std + mean - 127) / 128
        features: Tensor = self.blocks(nn.functional.relu6(self.norm(self.convolution(known))))
        return features


class EfficientNetLite(BackboneMixin, PreTrainedModel):  # type: ignore[no-untyped-call]  # theirs
    """Feature maps of the stages that `config.out_features` names."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"
    has_attentions = False

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        """Fresh weights."""
        super().__init__(config)
        groups = _groups(*VARIANTS[config.variant])
        self.num_features = [groups[0][1], *(groups[stage[-1]][1] for stage in _STAGES)]
        self.embedder = Stem(groups[0][0])
        stages = (nn.Sequential(*(block for group in stage for block in groups[group][0])) for stage in _STAGES)
        self.stages = nn.ModuleList(stages)
        self.post_init()  # type: ignore[no-untyped-call]  # theirs

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[no-untyped-call]  # theirs
        if isinstance(module, nn.Conv2d):
            initialization.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixel_values: Tensor, **_: Any) -> BackboneOutput:  # type: ignore[override]  # no attentions
        """[B, 3, H, W] -> `feature_maps`, of each stage [B, C, H / stride, W / stride]."""
        features = [self.embedder(pixel_values)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        wanted = zip(self.stage_names, features, strict=True)
        return BackboneOutput(feature_maps=tuple(found for name, found in wanted if name in self.out_features))


def _groups(width: float, depth: float) -> list[tuple[nn.Sequential, int]]:
    """Blocks and channels of every group; first and last keep their depth."""
    made, inside = [], _STEM
    for i, (count, kernel, stride, expansion, channels) in enumerate(_GROUPS):
        number = count if i in (0, len(_GROUPS) - 1) else math.ceil(count * depth)
        outside = _eights(channels * width)
        blocks = [
            Block(inside if j == 0 else outside, outside, kernel, 1 if j else stride, expansion) for j in range(number)
        ]
        made.append((nn.Sequential(*blocks), outside))
        inside = outside
    return made


def _eights(channels: float) -> int:
    """The nearest multiple of 8 that is not 10 % less."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def register() -> None:
    """Make it known to transformers: `model_type: efficientnet_lite`. Twice is as once."""
    AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig, exist_ok=True)
    AutoBackbone.register(EfficientNetLiteConfig, EfficientNetLite, exist_ok=True)
