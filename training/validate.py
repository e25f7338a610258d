"""torch glue: COCO's numbers of a network on validation batches, scored as the registered model scores."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from features.collate import Batch
from lakesight.sections import ModelConfig
from quality.coco import Stats, Truth, box_stats
from training.architectures import ARCHITECTURES
from training.classes import Category
from training.pyfunc import counting, detections, normalise, to_xywh


def validate(
    network: PreTrainedModel, batches: Iterable[Batch], model: ModelConfig, categories: Sequence[Category]
) -> Stats:
    """Box AP over all images of the batches; thresholds are those of serving (`model`)."""
    image_ids: list[int] = []
    truth: list[dict[str, Any]] = []
    found: list[NDArray[np.float64]] = []
    for batch in batches:
        image_ids += batch.image_ids
        truth += [a | {"image_id": i} for i, rows in zip(batch.image_ids, batch.annotations, strict=True) for a in rows]
        found += detect(network, batch, model, categories)
    classes = [{"id": category.category_id, "name": category.name} for category in categories]
    return box_stats(image_ids, classes, _columns(truth), np.concatenate(found))


@torch.inference_mode()
def detect(
    network: PreTrainedModel, batch: Batch, model: ModelConfig, categories: Sequence[Category]
) -> list[NDArray[np.float64]]:
    """Of each image: [N, 7] of image_id, x, y, width, height (pixels of the stored image), score, category_id."""
    was_training = network.training
    network.train(False)
    out = network(pixel_values=normalise(batch.pixels.to(network.device)))
    network.train(was_training)
    scores, labels, boxes = (
        tensor.cpu().numpy()
        for tensor in detections(
            out.logits,
            out.pred_boxes,
            softmax=ARCHITECTURES[model.architecture].softmax,
            num_labels=len(categories),
            most=model.max_detections,
        )
    )
    ids = np.array([category.category_id for category in categories])
    rows = []
    for i, (image_id, size) in enumerate(zip(batch.image_ids, batch.sizes, strict=True)):
        keep = counting(scores[i], labels[i], boxes[i], threshold=model.score_threshold, nms_iou=model.nms_iou)
        columns = (np.full(len(keep), image_id), to_xywh(boxes[i][keep], *size), scores[i][keep], ids[labels[i][keep]])
        rows.append(np.column_stack(columns).astype(np.float64))
    return rows


def _columns(truth: Sequence[dict[str, Any]]) -> Truth:
    return Truth(
        image_id=np.array([a["image_id"] for a in truth], dtype=np.int64),
        category_id=np.array([a["category_id"] for a in truth], dtype=np.int64),
        xywh=np.array([a["bbox"] for a in truth], dtype=np.float64).reshape(-1, 4),
        area=np.array([a["area"] for a in truth], dtype=np.float64),
        iscrowd=np.array([a["iscrowd"] for a in truth], dtype=np.int64),
    )
