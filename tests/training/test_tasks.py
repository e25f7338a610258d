"""Plain torch: segmentation and classification over-fit four images of different sizes, by the numbers of serving."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from features.collate import Collate
from lakesight import shapes
from lakesight.sections import ModelConfig, TrainConfig
from training.architectures import ARCHITECTURES, build_network
from training.classes import Category
from training.pictures import sheet
from training.pyfunc import normalise
from training.targets import targets
from training.validate import detect, validate

pytestmark = pytest.mark.slow
CLASSES = [Category(i, 10 * (i + 1), name) for i, name in enumerate(shapes.CATEGORIES)]
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
CONFIGS = {
    "mask2former": {
        "backbone_config": RESNET | {"model_type": "resnet", "out_features": [f"stage{i}" for i in range(1, 5)]},
        "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 64,
        "dim_feedforward": 64, "encoder_layers": 1, "decoder_layers": 3, "num_attention_heads": 4, "num_queries": 10,
        "train_num_points": 512,
    },
    "resnet": RESNET,
}  # fmt: skip
STEPS = {"mask2former": 80, "resnet": 30}


def row(i):
    """A scene stretched to a size of its own."""
    image, drawn = shapes.draw(np.random.default_rng([7, i]), 96)
    width, height = 96 + 24 * i, 96 + 10 * (i % 3)
    scale = np.array([width / 96, height / 96])
    buffer = io.BytesIO()
    image.resize((width, height)).save(buffer, "PNG")
    annotations = []
    for shape in drawn:
        (x, y), (right, bottom) = np.reshape(shape.box, (2, 2)) * scale
        polygon = (np.reshape(shape.polygon, (-1, 2)) * scale).ravel().tolist()
        annotations.append(
            {
                "bbox": [x, y, right - x, bottom - y],
                "area": (right - x) * (bottom - y),
                "iscrowd": 0,
                "label": shape.label,
            }
            | {"category_id": CLASSES[shape.label].category_id, "segmentation": json.dumps([polygon])}
        )
    whole = {"bbox": None, "area": None, "iscrowd": None, "label": i % 3, "category_id": CLASSES[i % 3].category_id}
    shared = {"width": width, "height": height, "epoch": 0, "image_id": i, "content": buffer.getvalue()}
    return shared | {"annotations": [*annotations, whole | {"segmentation": None}]}


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def overfitted(request):
    """Model configuration, network, the batch."""
    model = ModelConfig(architecture=request.param, image_size=96, config=CONFIGS[request.param])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_network(model, TrainConfig(), CLASSES)
    task = ARCHITECTURES[model.architecture].task
    batch = Collate((96, 96), masks=task == "segmentation")(pa.Table.from_pylist([row(i) for i in range(4)]))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(STEPS[request.param]):
        loss = network(pixel_values=normalise(batch.pixels), **targets(batch, task)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return model, network, batch


def test_what_was_learned_is_found(overfitted):
    model, network, batch = overfitted
    stats = validate(network, [batch], model, CLASSES)
    if model.architecture == "resnet":
        assert (stats.iou_type, stats.overall[0].metric, stats.overall[0].value) == ("class", "accuracy", 1.0)
    else:
        assert stats.iou_type == "segm"
        assert stats.ap50 >= 0.8


def test_masks_are_of_the_stored_image_and_boxes_their_extents(overfitted):
    model, network, batch = overfitted
    for found, (height, width) in zip(detect(network, batch, model, CLASSES), batch.sizes, strict=True):
        assert (np.diff(found.scores) <= 0).all()
        if model.architecture == "resnet":
            assert found.boxes is None
            assert found.masks is None
            assert len(found.scores) >= 1
            continue
        assert len(found.masks) == len(found.boxes) == len(found.labels) > 0
        for text, (x, y, w, h) in zip(found.masks, found.boxes, strict=True):
            assert json.loads(text)["size"] == [height, width]
            assert 0 <= x < x + w <= width
            assert 0 <= y < y + h <= height


def test_the_picture_of_a_validation_shows_them(overfitted):
    model, network, batch = overfitted
    bare = sheet(
        batch, [found._replace(scores=found.scores * 0) for found in detect(network, batch, model, CLASSES)], CLASSES
    )
    drawn = sheet(batch, detect(network, batch, model, CLASSES), CLASSES)
    assert drawn.shape == bare.shape == (320, 4 * 320, 3)
    assert (drawn != bare).any()
