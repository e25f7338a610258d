"""transformers glue: a detector's configuration and network from `ModelConfig`, and what its architecture needs."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModelForObjectDetection, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from lakesight.config import ModelConfig, TrainConfig
from lakesight.errors import ConfigError
from training.classes import Category


@dataclass(frozen=True)
class Facts:
    """What the code around a network has to know about its architecture (measured with transformers 5.23)."""

    softmax: bool = False
    """Scores by softmax with a "no object" class; otherwise by sigmoid, classes independent."""
    multiple: int = 1
    """The input's side must be a multiple of this."""
    unused_parameters: bool = False
    """Some parameters get no gradient in some batches (no box: no denoising), which DDP must be told."""


_RT_DETR_LINE = Facts(multiple=32, unused_parameters=True)
ARCHITECTURES: dict[str, Facts] = {
    "d_fine": _RT_DETR_LINE,
    "deimv2": _RT_DETR_LINE,
    "rt_detr": _RT_DETR_LINE,
    "rt_detr_v2": _RT_DETR_LINE,
    "detr": Facts(softmax=True),
    "table-transformer": Facts(softmax=True),
    "yolos": Facts(softmax=True),
    "conditional_detr": Facts(),
    "dab-detr": Facts(),
    "deformable_detr": Facts(unused_parameters=True),
}


def network_config(model: ModelConfig, categories: Sequence[Category]) -> PreTrainedConfig:
    """The transformers configuration of a detector for these classes.

    Raises:
        ConfigError: an unknown architecture or key, a value that does not fit, an input size that does not.
    """
    facts = _facts(model)
    if model.image_size % facts.multiple:
        raise ConfigError(
            f"image_size {model.image_size} does not suit {model.architecture}",
            where="model.image_size",
            expected=f"a multiple of {facts.multiple}",
            fix=f"try {round(model.image_size / facts.multiple) * facts.multiple or facts.multiple}",
        )
    _refuse_unknown(model.config, model.architecture, "model.config.")
    names = {category.label: category.name for category in categories}
    try:
        return CONFIG_MAPPING[model.architecture](
            **model.config, id2label=names, label2id={name: label for label, name in names.items()}
        )
    except Exception as error:  # transformers' validation raises classes of its own, of several families
        raise ConfigError(f"{model.architecture} refuses this configuration: {error}", where="model.config") from error


def _facts(model: ModelConfig) -> Facts:
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
    """A detector with fresh weights, or with those of `model.pretrained`; trainable as `train` asks.

    Raises:
        ConfigError: see `network_config`; or `model.pretrained` does not hold such a network.
    """
    config = network_config(model, categories)
    try:
        network: PreTrainedModel = AutoModelForObjectDetection.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    except (ValueError, ImportError, KeyError, TypeError) as error:
        raise ConfigError(f"{model.architecture} cannot be built: {error}", where="model.config") from error
    if model.pretrained:
        load_weights(network, Path(model.pretrained))
    _set_trainable(network, train)
    network.train()
    return network


def load_weights(network: PreTrainedModel, folder: Path) -> None:
    """Copy weights of equal name and shape; class heads keep the rows of classes that both know by name.

    Raises:
        ConfigError: no network of transformers' there, or nothing in it fits.
    """
    try:  # through their own loader: files may have other names for weights than modules do
        source = AutoModelForObjectDetection.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"there are no weights of a detector: {error}",
            where=str(folder),
            expected="a folder with config.json and model.safetensors",
            fix="correct model.pretrained",
        ) from error
    weights, state = source.state_dict(), network.state_dict()
    ours, theirs = _class_names(network.config.id2label), _class_names(source.config.id2label)
    fitting = {name: w for name, w in weights.items() if name in state and state[name].shape == w.shape}
    if not fitting:
        raise ConfigError(f"no weight fits {network.config.model_type}", where=str(folder), fix="model.architecture")
    shared = [(ours.index(name), theirs.index(name)) for name in ours if name in theirs]
    for name in filter(_is_class_head, weights if ours != theirs else ()):
        fitting.pop(name, None)
        if name in state and state[name].shape[1:] == weights[name].shape[1:]:
            for row, their_row in shared:
                state[name][row] = weights[name][their_row]
    network.load_state_dict(state | fitting)


def _class_names(id2label: Mapping[Any, str] | None) -> list[str]:
    """In order of label."""
    return [name for _, name in sorted((id2label or {}).items())]


def _is_class_head(name: str) -> bool:
    """Tensors with a row a class: classifiers, score heads, and the embedding of denoised labels."""
    return any(part in name for part in ("class_labels_classifier", "class_embed", "enc_score_head"))


def _set_trainable(network: PreTrainedModel, train: TrainConfig) -> None:
    """Undo what transformers freezes unasked, which is fatal from scratch.

    It replaces BatchNorm by a frozen one, and in DETR, Conditional, Deformable and Table-Transformer the whole native
    ResNet gets no gradient.
    """
    if not train.freeze_batch_norm:
        _thaw_batch_norm(network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not (train.freeze_backbone and "backbone" in name))


def _thaw_batch_norm(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__.endswith("FrozenBatchNorm2d"):
                live = nn.BatchNorm2d(len(child.state_dict()["weight"]))
                live.load_state_dict(child.state_dict(), strict=False)  # a frozen one does not count batches
                setattr(module, name, live)
