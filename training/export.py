"""transformers glue: a network -> the folder a registered model is made of. Safetensors and JSON, no pickle."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from lakesight.config import ModelConfig
from training.architectures import ARCHITECTURES
from training.classes import Category


def export(network: PreTrainedModel, folder: Path, model: ModelConfig, categories: Sequence[Category]) -> None:
    """Write `config.json`, `model.safetensors` and `lakesight.json`, which is all `training/pyfunc.py` needs."""
    # transformers will build frozen BatchNorm again, which counts no batches; in evaluation both are the same.
    weights = {name: w for name, w in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    network.save_pretrained(folder, state_dict=weights)
    facts = {
        "image_size": model.image_size,
        "score_threshold": model.score_threshold,
        "max_detections": model.max_detections,
        "softmax": ARCHITECTURES[model.architecture].softmax,
        "categories": [dataclasses.asdict(category) for category in categories],
    }
    (folder / "lakesight.json").write_text(json.dumps(facts, indent=1))
