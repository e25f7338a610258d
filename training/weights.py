"""transformers glue: start a network from weights that somebody trained: a folder, a file, or a name on the hub."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, PreTrainedModel

from lakesight.errors import ConfigError
from training.pyfunc import auto_class
from training.tasks import Task

log = logging.getLogger(__name__)
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """What came from pretrained weights."""

    kept: int
    """Tensors that were copied."""
    fresh: tuple[str, ...]
    """Tensors without a counterpart of equal name and shape."""
    classes: tuple[str, ...]
    """Classes whose rows of the heads were copied, by name."""

    def __str__(self) -> str:
        heads = f"the heads of {', '.join(self.classes)}" if self.classes else "no class of the heads"
        return f"{self.kept} tensors are pretrained, {len(self.fresh)} are fresh; {heads} came along"


def load_weights(network: PreTrainedModel, source: str, task: Task = "detection") -> Loaded:
    """Copy weights of equal name and shape; class heads keep the rows of classes that both know by name.

    `source`: a folder with `config.json` and `model.safetensors`; a `.safetensors` file (its classes are those of the
    `config.json` beside it, if there is one); or a model's name on the hub, where there is a network.

    Raises:
        ConfigError: no network of transformers' there, or nothing in it fits.
    """
    weights, theirs = _file(Path(source)) if source.endswith(".safetensors") else _network(source, task)
    state = network.state_dict()
    ours = _class_names(network.config.id2label)
    fitting = {name: w for name, w in weights.items() if name in state and state[name].shape == w.shape}
    if not fitting:
        raise ConfigError(f"no weight fits {network.config.model_type}", where=source, fix="correct model.architecture")
    shared = [(ours.index(name), theirs.index(name)) for name in ours if name in theirs]
    for name in [name for name, w in weights.items() if ours != theirs and _is_class_head(name, w, len(theirs))]:
        fitting.pop(name, None)
        if name in state and state[name].shape[1:] == weights[name].shape[1:]:
            for row, their_row in shared:
                state[name][row] = weights[name][their_row]
    network.load_state_dict(state | fitting)
    fresh = tuple(name for name in state if name not in fitting)
    loaded = Loaded(len(fitting), fresh, tuple(ours[row] for row, _ in shared))
    log.warning("%s: %s", source, loaded)
    return loaded


def _network(source: str, task: Task) -> tuple[Weights, list[str]]:
    """Through transformers' own loader: files may have other names for weights than modules do."""
    try:
        found = auto_class(task).from_pretrained(source, local_files_only=Path(source).is_dir())
    except (OSError, ValueError) as error:
        raise _nothing(source, error) from error
    return found.state_dict(), _class_names(found.config.id2label)


def _file(path: Path) -> tuple[Weights, list[str]]:
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _nothing(str(path), error) from error
    if not (path.parent / "config.json").exists():
        return weights, []
    return weights, _class_names(AutoConfig.from_pretrained(path.parent, local_files_only=True).id2label)


def _nothing(source: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"there are no weights of such a model: {str(error).splitlines()[0]}",
        where=source,
        expected="a folder with config.json and model.safetensors, a .safetensors file, or a name on the hub",
        fix="correct model.pretrained",
    )


def _class_names(id2label: Mapping[Any, str] | None) -> list[str]:
    """In order of label."""
    return [name for _, name in sorted((id2label or {}).items())]


def _is_class_head(name: str, weight: torch.Tensor, num_classes: int) -> bool:
    """Tensors with a row a class, perhaps one for none: classifiers, score heads, the embedding of denoised labels."""
    heads = ("class_labels_classifier", "class_embed", "enc_score_head", "class_predictor", "classifier")
    return any(part in name for part in heads) and weight.shape[0] in (num_classes, num_classes + 1)
