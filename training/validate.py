"""torch glue: the numbers of a network on validation batches, scored as the registered model scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from features.collate import Batch
from lakesight.sections import ModelConfig
from quality.classification import class_stats
from quality.coco import Stats, Truth, box_stats, mask_stats
from training.architectures import ARCHITECTURES
from training.classes import Category
from training.export import serving_facts
from training.pyfunc import Found, find
from training.targets import class_of


@dataclass(frozen=True)
class Scored:
    """An image with what is on it and what was found."""

    image_id: int
    size: tuple[int, int]
    annotations: list[dict[str, Any]]
    found: Found


def validate(
    network: PreTrainedModel, batches: Iterable[Batch], model: ModelConfig, categories: Sequence[Category]
) -> Stats:
    """Over all images of the batches: box AP, mask AP or accuracy, as the task is; thresholds are those of serving."""
    scored = [
        Scored(*image)
        for batch in batches
        for image in zip(
            batch.image_ids, batch.sizes, batch.annotations, detect(network, batch, model, categories), strict=True
        )
    ]
    return _STATS[ARCHITECTURES[model.architecture].task](scored, categories)


def detect(network: PreTrainedModel, batch: Batch, model: ModelConfig, categories: Sequence[Category]) -> list[Found]:
    """What is found on each image, in pixels of the stored image."""
    was_training = network.training
    network.train(False)
    facts = serving_facts(model, categories)
    found = find(network, batch.pixels.to(network.device), batch.sizes, facts)
    network.train(was_training)
    return found


def _box_stats(scored: Sequence[Scored], categories: Sequence[Category]) -> Stats:
    truth = [a | {"image_id": one.image_id} for one in scored for a in one.annotations if a["bbox"] is not None]
    columns = Truth(
        image_id=np.array([a["image_id"] for a in truth], dtype=np.int64),
        category_id=np.array([a["category_id"] for a in truth], dtype=np.int64),
        xywh=np.array([a["bbox"] for a in truth], dtype=np.float64).reshape(-1, 4),
        area=np.array([a["area"] for a in truth], dtype=np.float64),
        iscrowd=np.array([a["iscrowd"] for a in truth], dtype=np.int64),
    )
    ids = np.array([category.category_id for category in categories])
    found = np.concatenate([_columns(one, ids) for one in scored])
    return box_stats([one.image_id for one in scored], _records(categories), columns, found)


def _columns(one: Scored, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """[N, 7] of image_id, xywh, score, category_id."""
    found = one.found
    assert found.boxes is not None  # a detector gives them
    return np.column_stack([np.full(len(found.scores), one.image_id), found.boxes, found.scores, ids[found.labels]])


def _mask_stats(scored: Sequence[Scored], categories: Sequence[Category]) -> Stats:
    ids = [category.category_id for category in categories]
    sizes = [{"id": one.image_id, "height": one.size[0], "width": one.size[1]} for one in scored]
    truth = [a | {"image_id": one.image_id} for one in scored for a in one.annotations]
    found = [
        {"image_id": one.image_id, "category_id": ids[label], "score": float(score), "segmentation": mask}
        for one in scored
        for label, score, mask in zip(one.found.labels, one.found.scores, one.found.masks or (), strict=True)
    ]
    return mask_stats(sizes, _records(categories), truth, found)


def _class_stats(scored: Sequence[Scored], categories: Sequence[Category]) -> Stats:
    ids = np.array([category.category_id for category in categories])
    truth = ids[[class_of(one.annotations) for one in scored]]
    return class_stats(truth, ids[[one.found.labels[0] for one in scored]], ids)


def _records(categories: Sequence[Category]) -> list[dict[str, Any]]:
    return [{"id": category.category_id, "name": category.name} for category in categories]


_STATS = {"detection": _box_stats, "segmentation": _mask_stats, "classification": _class_stats}
