"""transformers glue: a model's configuration and network from `ModelConfig`, and what its architecture needs."""

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.loss.loss_d_fine import DFineLoss
from transformers.loss.loss_deformable_detr import DeformableDetrImageLoss
from transformers.loss.loss_deimv2 import Deimv2Loss
from transformers.loss.loss_for_object_detection import ImageLoss
from transformers.loss.loss_lw_detr import LwDetrImageLoss
from transformers.loss.loss_rt_detr import RTDetrLoss
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from lakesight.errors import ConfigError
from lakesight.sections import ModelConfig, TrainConfig
from training import efficientnet
from training.classes import Category
from training.groups import set_trainable
from training.imagenet import load_imagenet
from training.pyfunc import auto_class
from training.tasks import Task
from training.weights import load_weights


@dataclass(frozen=True)
class Facts:
    """What the code around a network has to know about its architecture (measured with transformers 5.23)."""

    task: Task = "detection"
    """What it gives of an image: boxes, boxes with masks, or classes of the whole."""
    softmax: bool = False
    """Scores by softmax with a "no object" class; otherwise by sigmoid, classes independent."""
    multiple: int = 1
    """The input's sides must be multiples of this."""
    unused_parameters: bool = False
    """Some parameters get no gradient, which DDP must be told: in batches without a box (no denoising), or in a
    backbone whose last norm or mask token nothing reads (Swin, ConvNeXt V2, DINOv2)."""
    backbone: str = "backbone"
    """Name of the module that has a learning rate of its own and can be frozen."""
    default_backbone: Mapping[str, Any] | None = None
    """Where `model.config` names none and transformers' own default needs a package that is not here (timm)."""
    learns_from_empty: bool = True
    """A batch without any box has a loss: detections where nothing is are punished."""
    criterion: type[nn.Module] | None = None
    """What its loss is computed by, from queries and the boxes they are matched with; None: no class weights."""
    means: tuple[str, ...] = ()
    """Parts of the loss that are means over queries; all others are divided by the number of boxes."""
    one_size: bool = False
    """Its position embeddings are of one input size, which its configuration must know."""
    counts_all_boxes: bool = False
    """Its loss itself divides by the boxes of all workers."""


_RESNET = {"model_type": "resnet", "out_features": ["stage4"]}
_PYRAMID = {"model_type": "resnet", "out_features": ["stage2", "stage3", "stage4"]}
_STAGES = {"model_type": "resnet", "out_features": ["stage1", "stage2", "stage3", "stage4"]}
_RT_DETR_LINE = Facts(multiple=32, unused_parameters=True, criterion=RTDetrLoss)
_DETR_LINE = Facts(unused_parameters=True, default_backbone=_RESNET, criterion=DeformableDetrImageLoss)
ARCHITECTURES: dict[str, Facts] = {
    "d_fine": replace(_RT_DETR_LINE, criterion=DFineLoss, means=("loss_ddf",)),
    "deimv2": replace(_RT_DETR_LINE, backbone="conv_encoder", criterion=Deimv2Loss, means=("loss_ddf",)),
    "rt_detr": _RT_DETR_LINE,
    "rt_detr_v2": _RT_DETR_LINE,
    "detr": replace(_DETR_LINE, softmax=True, criterion=ImageLoss, means=("loss_ce",)),
    "table-transformer": replace(_DETR_LINE, softmax=True, criterion=ImageLoss, means=("loss_ce",)),
    "conditional_detr": _DETR_LINE,
    "dab-detr": _DETR_LINE,
    "deformable_detr": Facts(unused_parameters=True, default_backbone=_PYRAMID, criterion=DeformableDetrImageLoss),
    "lw_detr": Facts(unused_parameters=True, learns_from_empty=False, criterion=LwDetrImageLoss, counts_all_boxes=True),
    "yolos": Facts(softmax=True, backbone="vit", criterion=ImageLoss, means=("loss_ce",)),
    "mask2former": Facts(
        task="segmentation",
        softmax=True,
        unused_parameters=True,
        backbone="pixel_level_module.encoder",
        default_backbone=_STAGES,
    ),
    "resnet": Facts(task="classification", softmax=True, backbone="resnet"),
    "convnextv2": Facts(task="classification", softmax=True, backbone="convnextv2"),
    "vit": Facts(task="classification", softmax=True, backbone="vit", one_size=True),
}


def network_config(model: ModelConfig, categories: Sequence[Category]) -> PreTrainedConfig:
    """The transformers configuration of a model for these classes.

    Raises:
        ConfigError: an unknown architecture or key, a value that does not fit, an input size that does not.
    """
    efficientnet.register()
    facts = facts_of(model)
    if any(side % facts.multiple for side in model.input_size):
        near = [round(side / facts.multiple) * facts.multiple or facts.multiple for side in model.input_size]
        raise ConfigError(
            f"image_size {model.image_size} does not suit {model.architecture}",
            where="model.image_size",
            expected=f"a multiple of {facts.multiple}",
            fix=f"try {near[0] if isinstance(model.image_size, int) else near}",
        )
    _refuse_unknown(model.config, model.architecture, "model.config.")
    given: dict[str, Any] = {"backbone_config": dict(facts.default_backbone)} if facts.default_backbone else {}
    given |= model.config | _size(model, facts)
    names = {category.label: category.name for category in categories}
    try:
        config = CONFIG_MAPPING[model.architecture](
            **given, id2label=names, label2id={name: label for label, name in names.items()}
        )
    except Exception as error:  # transformers' validation raises classes of its own, of several families
        raise ConfigError(f"{model.architecture} refuses this configuration: {error}", where="model.config") from error
    _refuse_small(model, config)
    return config


def _refuse_small(model: ModelConfig, config: PreTrainedConfig) -> None:
    if has_places(config, model.input_size):
        return
    larger = range(min(model.input_size), 10_000, facts_of(model).multiple)
    side = next(side for side in larger if has_places(config, (side, side)))
    raise ConfigError(
        f"{model.architecture} has {num_queries(config)} queries, and such images fewer places for them",
        where=f"model.image_size={model.image_size}, model.config.num_queries={num_queries(config)}",
        expected="no more queries than places",
        fix=f"model.image_size of {side} or more, or fewer model.config.num_queries; configs/demo.yaml is a start",
    )


def has_places(config: PreTrainedConfig, size: tuple[int, int]) -> bool:
    """Whether images of a height and width have a place for each query.

    The RT-DETR line starts its queries at the best places of its feature maps; others do not ask for any.
    """
    strides = getattr(config, "feat_strides", None)
    places = (math.prod(side // stride for side in size) for stride in strides or ())
    return not strides or sum(places) >= num_queries(config)


def _size(model: ModelConfig, facts: Facts) -> dict[str, Any]:
    """What the configuration has to know of the input's size."""
    if not facts.one_size:
        return {}
    if model.config.get("image_size", model.image_size) not in (model.image_size, [*model.input_size]):
        raise ConfigError(
            f"{model.architecture} takes images of one size only, and two are given",
            where=f"model.image_size={model.image_size}, model.config.image_size={model.config['image_size']}",
            fix="leave model.config.image_size out",
        )
    return {"image_size": model.image_size}


def facts_of(model: ModelConfig) -> Facts:
    """What the table says of the model's architecture.

    Raises:
        ConfigError: it is not in the table.
    """
    if model.architecture not in ARCHITECTURES:
        close = difflib.get_close_matches(model.architecture, ARCHITECTURES, n=1)
        raise ConfigError(
            f"unknown architecture {model.architecture!r}",
            where="model.architecture",
            expected=f"one of {', '.join(ARCHITECTURES)}",
            fix=f"did you mean {close[0]}?" if close else "",
        )
    return ARCHITECTURES[model.architecture]


def _refuse_unknown(values: Mapping[str, Any], model_type: str, prefix: str) -> None:
    """Any key is taken, and ignored where unknown: a misspelt `num_querys` would train in silence."""
    if model_type not in CONFIG_MAPPING:
        raise ConfigError(f"transformers knows no model_type {model_type!r}", where=f"{prefix}model_type")
    kind = CONFIG_MAPPING[model_type]
    known = {field.name for field in dataclasses.fields(kind)} | set(kind.attribute_map)
    if prefix.endswith("backbone_config."):
        known |= {"model_type", "out_features", "out_indices"}
    for key, value in values.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"{model_type} has no setting {key!r}",
                where=f"{prefix}{key}",
                fix=f"did you mean {close[0]}?" if close else "remove it",
            )
        if key == "backbone_config" and isinstance(value, Mapping):
            _refuse_unknown(value, str(value.get("model_type")), f"{prefix}{key}.")


def num_queries(config: PreTrainedConfig) -> int:
    """Boxes the network can give an image; further ground truth is dropped by the loss."""
    return int(getattr(config, "num_queries", getattr(config, "num_detection_tokens", 0)))


def build_network(model: ModelConfig, train: TrainConfig, categories: Sequence[Category]) -> PreTrainedModel:
    """A model with fresh weights, or with those of `model.pretrained`; trainable as `train` asks.

    A backbone of type `efficientnet_lite` has ImageNet's weights, if `model.pretrained` gives no others.

    Raises:
        ConfigError: see `network_config`; or `model.pretrained` does not hold such a network, or ImageNet's weights
            are not installed.
    """
    config = network_config(model, categories)
    try:
        network: PreTrainedModel = auto_class(ARCHITECTURES[model.architecture].task).from_config(config)
    except (ValueError, ImportError, KeyError, TypeError) as error:
        raise ConfigError(f"{model.architecture} cannot be built: {error}", where="model.config") from error
    if model.pretrained:
        load_weights(network, model.pretrained, ARCHITECTURES[model.architecture].task)
    else:
        load_imagenet(network)
    set_trainable(network, train, ARCHITECTURES[model.architecture].backbone)
    if train.gradient_checkpointing:
        _checkpoint_gradients(network, model.architecture)
    network.train()
    return network


def _checkpoint_gradients(network: PreTrainedModel, architecture: str) -> None:
    if not network.supports_gradient_checkpointing:
        raise ConfigError(
            f"{architecture} cannot recompute activations", where="train.gradient_checkpointing", fix="set it to false"
        )
    network.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]  # theirs
