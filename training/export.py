"""transformers glue: a network -> the folder a registered model is made of. Safetensors and JSON, no pickle."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForObjectDetection, PreTrainedModel

from lakesight.config import ModelConfig
from training.architectures import ARCHITECTURES
from training.classes import Category


def export(network: PreTrainedModel, folder: Path, model: ModelConfig, categories: Sequence[Category]) -> None:
    """Write `config.json`, `model.safetensors` and `lakesight.json`, which is all `training/pyfunc.py` needs."""
    # Whoever loads it builds what transformers builds: where that is frozen BatchNorm, no batches are counted.
    with torch.device("meta"):
        again = AutoModelForObjectDetection.from_config(network.config)  # type: ignore[no-untyped-call]  # theirs
    weights = {name: weight for name, weight in network.state_dict().items() if name in again.state_dict()}
    network.save_pretrained(folder, state_dict=weights)
    facts = {
        "image_size": model.image_size,
        "score_threshold": model.score_threshold,
        "max_detections": model.max_detections,
        "softmax": ARCHITECTURES[model.architecture].softmax,
        "categories": [dataclasses.asdict(category) for category in categories],
    }
    (folder / "lakesight.json").write_text(json.dumps(facts, indent=1))
