"""transformers glue: a network -> the folder a registered model is made of. Safetensors and JSON, no pickle."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForObjectDetection, PreTrainedModel

from lakesight.sections import ModelConfig
from training import efficientnet
from training.architectures import ARCHITECTURES
from training.classes import Category


def export(
    network: PreTrainedModel, folder: Path, model: ModelConfig, categories: Sequence[Category], *, weights: str = "raw"
) -> None:
    """Write `config.json`, `model.safetensors` and `lakesight.json`, which is all `training/pyfunc.py` needs.

    A backbone that transformers does not have comes along as code, `backbone.py`.

    `weights`: `raw`, or `average` (of `train.ema_decay`): a note of which they are.
    """
    # Whoever loads it builds what transformers builds: where that is frozen BatchNorm, no batches are counted.
    with torch.device("meta"):
        again = AutoModelForObjectDetection.from_config(network.config)  # type: ignore[no-untyped-call]  # theirs
    state = {name: weight for name, weight in network.state_dict().items() if name in again.state_dict()}
    network.save_pretrained(folder, state_dict=state)
    if any(isinstance(module, efficientnet.EfficientNetLite) for module in network.modules()):
        shutil.copyfile(efficientnet.__file__, folder / "backbone.py")
    facts = {
        "image_size": model.image_size,
        "score_threshold": model.score_threshold,
        "max_detections": model.max_detections,
        "nms_iou": model.nms_iou,
        "weights": weights,
        "softmax": ARCHITECTURES[model.architecture].softmax,
        "categories": [dataclasses.asdict(category) for category in categories],
    }
    (folder / "lakesight.json").write_text(json.dumps(facts, indent=1))
