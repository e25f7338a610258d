"""The registered model's own code: which detections count, and that what is served is what was validated."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

from features.collate import Collate
from features.transforms.geometry import fitted
from lakesight import config as configuration
from lakesight.boxes import iou
from training import pyfunc
from training.architectures import build_network
from training.classes import Category
from training.export import export
from training.pyfunc import VisionModel, counting, normalise
from training.validate import detect

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
CLASSES = [Category(0, 10, "circle"), Category(1, 20, "square"), Category(2, 30, "triangle")]
A, NEAR_A, ELSEWHERE = [0.5, 0.5, 0.2, 0.2], [0.51, 0.5, 0.2, 0.2], [0.2, 0.2, 0.1, 0.1]


@pytest.mark.parametrize(
    ("scores", "labels", "boxes", "nms_iou", "expected"),
    [
        pytest.param([], [], [], 0.7, [], id="nothing"),
        pytest.param([0.9, 0.2], [0, 0], [A, ELSEWHERE], 1.0, [0], id="threshold"),
        pytest.param([0.9, 0.8, 0.7], [0, 0, 0], [A, NEAR_A, ELSEWHERE], 1.0, [0, 1, 2], id="without"),
        pytest.param([0.9, 0.8, 0.7], [0, 0, 0], [A, NEAR_A, ELSEWHERE], 0.7, [0, 2], id="the better one stays"),
        pytest.param([0.9, 0.8, 0.7], [0, 1, 0], [A, NEAR_A, ELSEWHERE], 0.7, [0, 1, 2], id="of another class"),
        pytest.param([0.9, 0.8], [0, 0], [A, NEAR_A], 0.95, [0, 1], id="does not overlap by so much"),
        pytest.param([0.9, 0.3], [2, 2], [A, A], 0.7, [0], id="the same box twice"),
        pytest.param([0.2, 0.1], [0, 0], [A, NEAR_A], 0.7, [], id="none scores enough"),
    ],
)
def test_what_counts(scores, labels, boxes, nms_iou, expected):
    arrays = np.array(scores, np.float32), np.array(labels, np.int64), np.array(boxes, np.float32).reshape(-1, 4)
    assert counting(*arrays, threshold=0.25, nms_iou=nms_iou).tolist() == expected


def test_suppression_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, labels = np.sort(rng.random(100))[::-1], rng.integers(3, size=100)
        boxes = np.concatenate([rng.uniform(0.4, 0.6, (100, 2)), rng.uniform(0.1, 0.4, (100, 2))], axis=1)
        kept = []
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
        overlaps = iou(corners, corners)
        for i in range(100):
            if not any(labels[j] == labels[i] and overlaps[j, i] > 0.5 for j in kept):
                kept.append(i)
        assert 10 < len(kept) < 90
        assert counting(scores, labels, boxes, threshold=0.0, nms_iou=0.5).tolist() == kept


@pytest.mark.parametrize(
    ("nms_iou", "how", "size"),
    [(1.0, "stretch", 96), (0.02, "stretch", 96), (1.0, "letterbox", 96), (1.0, "letterbox", [64, 160])],
)
def test_what_is_served_is_what_was_validated(tmp_path, nms_iou, how, size):
    settings = configuration.load(DEMO, ["model.score_threshold=0.0", f"model.image_size={size}"])
    model = replace(settings.model, nms_iou=nms_iou, resize=how)
    torch.manual_seed(0)
    network = build_network(model, settings.train, CLASSES).eval()
    export(network, tmp_path, model, CLASSES)
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 120, 3), np.uint8)).save(content, "PNG")
    image = {"image_id": 7, "content": content.getvalue(), "height": 80, "width": 120, "annotations": [], "epoch": 0}
    (validated,) = detect(network, Collate(model.input_size, resize=how)(pa.Table.from_pylist([image])), model, CLASSES)
    served = VisionModel()
    served.load_context(SimpleNamespace(artifacts={"model": str(tmp_path)}))
    found = served.predict(None, pd.DataFrame({"image": [image["content"]]})).iloc[0]
    np.testing.assert_allclose(found["boxes"], validated.boxes, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["scores"], validated.scores, rtol=1e-5)
    assert found["labels"] == validated.labels.tolist()
    assert (len(validated.scores) == 60) == (nms_iou == 1)  # 20 queries, 3 classes


@pytest.mark.parametrize("how", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(96, 96), (64, 160)])
@pytest.mark.parametrize("source", [(80, 120), (120, 80), (33, 200), (7, 5), (96, 96)])
def test_the_way_into_the_input_and_back_is_that_of_training(source, size, how):
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(*source, 3), dtype=np.uint8)
    geometry = fitted(source, size, how)
    np.testing.assert_array_equal(pyfunc.resize(pixels, size, how), geometry.warp(pixels))
    boxes = np.concatenate([rng.uniform(0.3, 0.7, (20, 2)), rng.uniform(0.05, 0.6, (20, 2))], axis=1)
    there = pyfunc.place(*source, size, how)
    back = pyfunc.of_image(geometry.boxes(boxes), size, there)
    np.testing.assert_allclose(back, boxes, rtol=0, atol=0 if how == "stretch" else 1e-12)


@pytest.mark.parametrize("size", [(96, 96), (160, 96), (64, 160)])
def test_a_mask_comes_back_from_where_the_image_lies_in_the_input(size):
    source = (60, 120)
    drawn = np.zeros(source, np.uint8)
    drawn[10:50, 30:90] = 1
    logits = fitted(source, size, "letterbox").warp(drawn * 200, fill=0).astype(np.float32) - 100
    there = pyfunc.place(*source, size, "letterbox")
    _, extent = pyfunc.to_rle(pyfunc.inside(logits, size, there), *source)
    np.testing.assert_allclose(extent, [30, 10, 60, 40], atol=1.5)


def test_pixels_keep_their_channels_last_in_memory():
    pixels = normalise(torch.randint(0, 256, (2, 4, 6, 3), dtype=torch.uint8))
    assert pixels.shape == (2, 3, 4, 6)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
