"""Plain torch: a detector of each family over-fits four images, and is the same after it was saved."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForObjectDetection

from features.collate import Collate
from lakesight import config as configuration
from lakesight import shapes
from lakesight.errors import FormatError, UserError
from training.architectures import build_network
from training.classes import Category
from training.detector import Detector
from training.export import export
from training.pyfunc import normalise
from training.validate import validate

CONFIGS = Path(__file__).parents[2] / "configs"
CLASSES = [Category(i, 10 * (i + 1), name) for i, name in enumerate(shapes.CATEGORIES)]


def rows(num_images):
    import io

    for i in range(num_images):
        image, drawn = shapes.draw(np.random.default_rng([7, i]), 96)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        boxes = [[s.box[0], s.box[1], s.box[2] - s.box[0], s.box[3] - s.box[1]] for s in drawn]
        yield {
            "image_id": i,
            "content": buffer.getvalue(),
            "width": 96,
            "height": 96,
            "epoch": 0,
            "annotations": [
                {"label": s.label, "category_id": 10 * (s.label + 1), "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
                for s, b in zip(drawn, boxes, strict=True)
            ],
        }


@pytest.fixture(scope="module", params=["demo", "detr"])
def overfitted(request):
    """configuration, network, first and last loss, the batch."""
    settings = configuration.load(
        CONFIGS / f"{request.param}.yaml", ["model.image_size=96", "model.config.num_queries=12"]
    )
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_network(settings.model, settings.train, CLASSES)
    batch = Collate(settings.model.input_size)(pa.Table.from_pylist(list(rows(4))))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(40):
        loss = network(pixel_values=normalise(batch.pixels), labels=batch.labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return settings, network, losses, batch


def test_the_loss_falls(overfitted):
    _, _, losses, _ = overfitted
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_a_saved_network_is_the_same_network(overfitted, tmp_path):
    settings, network, _, batch = overfitted
    export(network, tmp_path, settings.model, CLASSES)
    again = AutoModelForObjectDetection.from_pretrained(tmp_path, local_files_only=True).eval()
    network.eval()
    with torch.inference_mode():
        ours, theirs = (n(pixel_values=normalise(batch.pixels)) for n in (network, again))
    assert torch.allclose(ours.logits, theirs.logits, atol=1e-5)
    assert torch.allclose(ours.pred_boxes, theirs.pred_boxes, atol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "lakesight.json"}


def test_validation_leaves_the_mode_alone_and_gives_coco_numbers(overfitted):
    settings, network, _, batch = overfitted
    network.train()
    stats = validate(network, [batch], settings.model, CLASSES)
    assert network.training
    assert 0 <= stats.ap <= stats.ap50 <= 1


def test_validation_without_a_detection_is_zero():
    settings = configuration.load(CONFIGS / "demo.yaml", ["model.score_threshold=0.99"])
    network = build_network(settings.model, settings.train, CLASSES)
    batch = Collate((96, 96))(pa.Table.from_pylist(list(rows(2))))
    assert validate(network, [batch], settings.model, CLASSES).ap == 0


@pytest.fixture(params=["demo", "detr"])
def fresh(request):
    """Configuration, network and a batch of two images."""
    settings = configuration.load(CONFIGS / f"{request.param}.yaml", ["model.image_size=96"])
    network = build_network(settings.model, settings.train, CLASSES)
    return settings, network, Collate((96, 96))(pa.Table.from_pylist(list(rows(2))))


def test_a_loss_that_is_not_finite_names_the_images(fresh):
    settings, network, batch = fresh
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "enc_score_head" in name or "class_labels_classifier" in name:
                parameter.fill_(float("nan"))
    with pytest.raises(UserError, match=r"(?s)not finite at step 0.*image_ids \[0, 1\]"):
        Detector(network, settings.model, settings.train).training_step(batch, 0)


@pytest.mark.parametrize("side", [-0.2, float("nan")])
def test_a_box_that_is_none_names_the_images(fresh, side):
    settings, network, batch = fresh
    batch.labels[1]["boxes"][0, 2] = side
    with pytest.raises(UserError, match=r"(?s)not finite at step 0: .* NaN.*image_ids \[0, 1\]"):
        Detector(network, settings.model, settings.train).training_step(batch, 0)


def test_an_image_that_does_not_decode_is_named():
    (row,) = rows(1)
    with pytest.raises(FormatError, match="image_id=0"):
        Collate((96, 96))(pa.Table.from_pylist([row | {"content": row["content"][:300]}]))
