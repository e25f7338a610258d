"""transformers glue: a network -> the folder a registered model is made of. Safetensors and JSON, no pickle."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lakesight.sections import ModelConfig
from training import efficientnet
from training.architectures import ARCHITECTURES
from training.classes import Category
from training.pyfunc import auto_class


def export(
    network: PreTrainedModel, folder: Path, model: ModelConfig, categories: Sequence[Category], *, weights: str = "raw"
) -> None:
    """Write `config.json`, `model.safetensors` and `lakesight.json`, which is all `training/pyfunc.py` needs.

    A backbone that transformers does not have comes along as code, `backbone.py`.

    `weights`: `raw`, or `average` (of `train.ema_decay`): a note of which they are.
    """
    # Whoever loads it builds what transformers builds: where that is frozen BatchNorm, no batches are counted.
    with torch.device("meta"):
        again = auto_class(ARCHITECTURES[model.architecture].task).from_config(network.config)
    built = again.state_dict()  # once: of a large network it takes as long as a training step
    state = {name: weight for name, weight in network.state_dict().items() if name in built}
    network.save_pretrained(folder, state_dict=state)
    if any(isinstance(module, efficientnet.EfficientNetLite) for module in network.modules()):
        shutil.copyfile(efficientnet.__file__, folder / "backbone.py")
    facts = serving_facts(model, categories) | {"weights": weights}
    (folder / "lakesight.json").write_text(json.dumps(facts, indent=1))


def serving_facts(model: ModelConfig, categories: Sequence[Category]) -> dict[str, Any]:
    """What `training.pyfunc.find` has to know of a model."""
    facts = ARCHITECTURES[model.architecture]
    return {
        "task": facts.task,
        "image_size": list(model.input_size),
        "resize": model.resize,
        "score_threshold": model.score_threshold,
        "max_detections": model.max_detections,
        "nms_iou": model.nms_iou,
        "softmax": facts.softmax,
        "categories": [dataclasses.asdict(category) for category in categories],
    }
