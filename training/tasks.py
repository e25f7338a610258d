"""What a model is for, and the number it is chosen by (light: Ray's driver imports it).

The task follows from `model.architecture`: `training.architectures.ARCHITECTURES` has it.
"""

from typing import Literal

Task = Literal["detection", "segmentation", "classification"]
SCORES: dict[Task, str] = {
    "detection": "val_AP",
    "segmentation": "val_mask_AP",
    "classification": "val_accuracy",
}
"""The metric that the best checkpoint, early stopping and a sweep go by."""
LEARNED_FROM: dict[Task, str] = {
    "detection": "boxes",
    "segmentation": "masks",
    "classification": "images of one class",
}
