"""Every architecture of the table, tiny: builds offline, learns four images, is the same after it was saved."""

import copy
import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from features.collate import Batch, Collate
from features.transforms.masks import parse, rasterise
from lakesight import shapes
from lakesight.boxes import xywh_to_cxcywh
from lakesight.sections import ModelConfig, TrainConfig
from training.architectures import ARCHITECTURES, build_network, network_config, num_queries
from training.classes import Category
from training.criterion import weigh_classes
from training.detector import Detector
from training.export import export
from training.groups import trainable_counts
from training.per_box import shared
from training.pyfunc import auto_class, normalise, to_rle, to_xywh
from training.targets import targets
from training.validate import detect

CLASSES = [Category(i, 10 * (i + 1), name) for i, name in enumerate(shapes.CATEGORIES)]
RESNET = {
    "model_type": "resnet", "embedding_size": 16, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1],
    "layer_type": "basic", "out_features": ["stage4"],
}  # fmt: skip
PYRAMID = RESNET | {"out_features": ["stage2", "stage3", "stage4"]}
COUNTS = {
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "decoder_layers": 2, "num_queries": 12,
}  # fmt: skip
DETR = COUNTS | {"encoder_layers": 1, "d_model": 32, "backbone_config": RESNET}
RT_DETR = COUNTS | {
    "backbone_config": PYRAMID | {"model_type": "rt_detr_resnet"}, "d_model": 32, "encoder_hidden_dim": 32,
    "encoder_in_channels": [16, 32, 32], "decoder_in_channels": [32, 32, 32], "num_denoising": 4,
    "freeze_backbone_batch_norms": False,
}  # fmt: skip
D_FINE = RT_DETR | {"decoder_n_points": [2, 2, 2], "depth_mult": 0.34, "hidden_expansion": 0.5}
VIT = {
    "model_type": "lw_detr_vit", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
    "pretrain_image_size": 64, "window_block_indices": [0], "out_indices": [1, 2], "num_windows": 4,
}  # fmt: skip
LW_DETR = {
    "d_model": 32, "decoder_layers": 2, "num_queries": 12, "decoder_ffn_dim": 32, "decoder_self_attention_heads": 2,
    "decoder_cross_attention_heads": 2, "group_detr": 2, "projector_scale_factors": [1.0], "backbone_config": VIT,
}  # fmt: skip
YOLOS = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": [64, 64],
    "num_detection_tokens": 12, "use_mid_position_embeddings": False,
}  # fmt: skip
MASK2FORMER = {
    "backbone_config": RESNET | {"out_features": ["stage1", "stage2", "stage3", "stage4"]}, "feature_size": 32,
    "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 64, "dim_feedforward": 64, "encoder_layers": 1,
    "decoder_layers": 3, "num_attention_heads": 2, "num_queries": 12, "train_num_points": 256,
}  # fmt: skip
CONVNEXT = {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]}
TINY = {
    "mask2former": MASK2FORMER, "convnextv2": CONVNEXT,
    "vit": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "resnet": {key: value for key, value in RESNET.items() if key not in ("model_type", "out_features")},
    "d_fine": D_FINE, "deimv2": D_FINE, "rt_detr": RT_DETR, "rt_detr_v2": RT_DETR, "detr": DETR,
    "table-transformer": DETR, "conditional_detr": DETR, "yolos": YOLOS, "lw_detr": LW_DETR,
    "deformable_detr": DETR | {"backbone_config": PYRAMID, "num_feature_levels": 3},
    "dab-detr": {key: value for key, value in DETR.items() if key != "d_model"} | {"hidden_size": 32},
}  # fmt: skip
SIDE = 64
DETECTORS = sorted(name for name, facts in ARCHITECTURES.items() if facts.task == "detection")
LEARN_FROM_OBJECTS = sorted(name for name, facts in ARCHITECTURES.items() if facts.task != "classification")
OUTPUTS = {
    "detection": ("logits", "pred_boxes"),
    "segmentation": ("class_queries_logits", "masks_queries_logits"),
    "classification": ("logits",),
}


def test_every_architecture_of_the_table_is_tested():
    assert TINY.keys() == ARCHITECTURES.keys()


@pytest.fixture(scope="module", params=sorted(TINY))
def learned(request):
    """Model configuration, trained network, losses, the batch."""
    model = ModelConfig(architecture=request.param, image_size=SIDE, config=TINY[request.param])
    train = TrainConfig(lr=2e-3, weight_decay=0, warmup_steps=0)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_network(model, train, CLASSES)
    task = ARCHITECTURES[model.architecture].task
    batch = Collate((SIDE, SIDE), masks=task == "segmentation")(pa.Table.from_pylist([row(i) for i in range(4)]))
    (optimizer,) = [Detector(network, model, train).configure_optimizers()["optimizer"]]
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = network(pixel_values=normalise(batch.pixels), **targets(batch, task)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return model, network, losses, batch


def row(i):
    image, drawn = shapes.draw(np.random.default_rng([7, i]), SIDE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    annotations = [
        {
            "label": s.label,
            "category_id": CLASSES[s.label].category_id,
            "bbox": [s.box[0], s.box[1], s.box[2] - s.box[0], s.box[3] - s.box[1]],
            "area": 100.0,
            "iscrowd": 0,
            "segmentation": json.dumps([s.polygon]),
        }
        for s in drawn
    ]
    whole = {"label": drawn[0].label, "category_id": CLASSES[drawn[0].label].category_id, "bbox": None, "iscrowd": None}
    return {
        "image_id": i,
        "content": buffer.getvalue(),
        "width": SIDE,
        "height": SIDE,
        "epoch": 0,
        "annotations": [*annotations, {**whole, "area": None, "segmentation": None}],
    }


def test_the_loss_falls(learned):
    _, _, losses, _ = learned
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_all_of_it_learns_unless_the_backbone_is_frozen(learned):
    model, network, _, _ = learned
    backbone = ARCHITECTURES[model.architecture].backbone
    for learns, every in trainable_counts(network, backbone).values():
        assert learns == every > 0
    frozen = build_network(model, TrainConfig(freeze_backbone="all"), CLASSES)
    counts = trainable_counts(frozen, backbone)
    assert counts["backbone"][0] == 0 < counts["head"][0]
    stem = build_network(model, TrainConfig(freeze_backbone="stem"), CLASSES)
    assert 0 < trainable_counts(stem, backbone)["backbone"][0] < counts["backbone"][1]


def test_a_saved_network_is_the_same_network(learned, tmp_path):
    model, network, _, batch = learned
    export(network, tmp_path, model, CLASSES)
    facts = ARCHITECTURES[model.architecture]
    again = auto_class(facts.task).from_pretrained(tmp_path, local_files_only=True).eval()
    ours, theirs = scored(network, batch), scored(again, batch)
    for name in OUTPUTS[facts.task]:
        assert torch.allclose(ours[name], theirs[name], atol=1e-5)
    logits = ours[OUTPUTS[facts.task][0]]
    if facts.task == "classification":
        assert logits.shape == (4, len(CLASSES))
    else:
        assert logits.shape == (4, 12, len(CLASSES) + facts.softmax)
        assert num_queries(network.config) == 12


@pytest.mark.parametrize("architecture", sorted(TINY))
def test_images_need_not_be_square(architecture):
    task = ARCHITECTURES[architecture].task
    shape = {"image_size": (SIDE, SIDE + 32), "score_threshold": 0.0}
    model = ModelConfig(architecture=architecture, config=TINY[architecture], **shape)
    network = build_network(model, TrainConfig(), CLASSES)
    batch = Collate(model.input_size, masks=task == "segmentation")(pa.Table.from_pylist([row(i) for i in range(2)]))
    assert batch.pixels.shape == (2, SIDE, SIDE + 32, 3)
    out = network(pixel_values=normalise(batch.pixels), **targets(batch, task))
    assert out.loss.isfinite()
    for found, (height, width) in zip(detect(network.eval(), batch, model, CLASSES), batch.sizes, strict=True):
        if found.boxes is not None:
            x, y, w, h = found.boxes.T
            assert ((x + w / 2 <= width) & (y + h / 2 <= height) & (x + w / 2 >= 0) & (y + h / 2 >= 0)).all()
        assert len(found.scores)


def scored(network, batch):
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        out = network(pixel_values=normalise(batch.pixels))
    network.train(was_training)
    return out


@pytest.mark.parametrize("learned", LEARN_FROM_OBJECTS, indirect=True)
def test_batches_without_a_box_do_what_the_table_says(learned):
    model, network, losses, batch = learned
    facts = ARCHITECTURES[model.architecture]
    nothing = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.int64)}
    nothing["masks"] = torch.zeros(0, SIDE, SIDE, dtype=torch.uint8)
    empty = replace(batch, labels=[nothing] * 4)
    network.zero_grad(set_to_none=True)
    loss = network(pixel_values=normalise(batch.pixels), **targets(empty, facts.task)).loss
    loss.backward()
    assert (loss.item() > 0.01 * losses[0]) == facts.learns_from_empty
    assert facts.unused_parameters or all(parameter.grad is not None for parameter in network.parameters())


SWIN = {"model_type": "swin", "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}


@pytest.mark.parametrize("architecture", ["detr", "conditional_detr", "mask2former"])
def test_what_a_backbone_leaves_unused_is_in_the_table(architecture):
    facts, tiny = ARCHITECTURES[architecture], TINY[architecture]
    stages = {"out_features": tiny["backbone_config"]["out_features"]}
    config = tiny | {"backbone_config": SWIN | stages}
    model = ModelConfig(architecture=architecture, image_size=SIDE, config=config)
    network = build_network(model, TrainConfig(), CLASSES)
    labels = {"boxes": torch.full((2, 4), 0.5), "class_labels": torch.zeros(2, dtype=torch.int64)}
    labels["masks"] = torch.ones(2, SIDE, SIDE, dtype=torch.uint8)
    batch = Batch(torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8), [labels] * 2, [1, 2], [(SIDE, SIDE)] * 2, [[], []])
    network(pixel_values=normalise(batch.pixels), **targets(batch, facts.task)).loss.backward()
    assert facts.unused_parameters or all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("learned", DETECTORS, indirect=True)
def test_a_class_counts_as_its_weight_says_on_the_queries_that_are_matched_with_it(learned):
    model, network, _, batch = learned
    weighted = copy.deepcopy(network)
    weigh_classes(weighted, ARCHITECTURES[model.architecture].criterion, (3.0, 1.0, 0.5))
    (loss, plain), (same, scaled) = (logit_gradient(one, batch) for one in (network, weighted))
    assert same == pytest.approx(loss, rel=1e-6)
    times = (scaled.norm(dim=-1) / plain.norm(dim=-1)).flatten()
    times = times[torch.isfinite(times)]  # queries that are for denoising only have no part in this loss
    labels = torch.cat([own["class_labels"] for own in batch.labels])
    groups = model.config.get("group_detr", 1)
    for label, weight in ((0, 3.0), (2, 0.5)):
        assert torch.isclose(times, torch.tensor(weight), rtol=1e-3).sum() == groups * (labels == label).sum() > 0
    assert set(times.mul(1000).round().div(1000).tolist()) == {3.0, 1.0, 0.5}


def logit_gradient(network, batch):
    """The loss, and its gradient at the last layer's logits: [B, Q, C]."""
    torch.manual_seed(0)
    out = network(pixel_values=normalise(batch.pixels), labels=batch.labels)
    out.logits.retain_grad()
    network.zero_grad()
    out.loss.backward()
    return out.loss.item(), out.logits.grad


@pytest.mark.parametrize("learned", DETECTORS, indirect=True)
def test_workers_with_half_a_batch_each_have_the_loss_of_the_batch(learned):
    """As far as it is divided by boxes: a mean over queries of a part is not a part of the mean."""
    model, network, _, batch = learned
    facts = ARCHITECTURES[model.architecture]
    if facts.counts_all_boxes:
        return
    network.eval()  # BatchNorm and denoising look at the batch
    boxes = [len(one["boxes"]) for one in batch.labels]
    halves = [slice(0, 2), slice(2, 4)]
    assert sum(boxes[:2]) != sum(boxes[2:])

    def loss(part, mean_boxes):
        with torch.no_grad():
            out = network(pixel_values=normalise(batch.pixels[part]), labels=batch.labels[part])
        means = sum(value for name, value in out.loss_dict.items() if name.startswith(facts.means))
        return shared(out.loss, out.loss_dict, sum(boxes[part]), mean_boxes, facts.means) - means

    found = np.mean([loss(half, sum(boxes) / 2).item() for half in halves])
    close = 0.03 if model.architecture == "deimv2" else 1e-4  # it matches a box several times, and divides by that
    assert found == pytest.approx(loss(slice(0, 4), sum(boxes)).item(), rel=close)
    alone = np.mean([loss(half, sum(boxes[half])).item() for half in halves])
    assert alone != pytest.approx(found, rel=1e-4)
    network.train()


def test_the_side_must_be_as_the_table_says(learned):
    model, network, _, _ = learned
    facts = ARCHITECTURES[model.architecture]
    odd = torch.zeros(1, 3, SIDE + 8, SIDE + 8)
    network.eval()
    with torch.inference_mode():
        if facts.multiple == 1 and not facts.one_size:
            network(pixel_values=odd)
        else:
            with pytest.raises((RuntimeError, ValueError)):
                network(pixel_values=odd)
    network.train()


@pytest.mark.parametrize(
    "architecture", sorted(name for name, facts in ARCHITECTURES.items() if facts.default_backbone)
)
def test_a_backbone_need_not_be_named(architecture):
    backbone = network_config(ModelConfig(architecture=architecture), CLASSES).backbone_config
    assert backbone.model_type == "resnet"


def test_boxes_come_back_exactly():
    xywh = np.array([[3.0, 5.0, 20.0, 11.0], [0.0, 0.0, 64.0, 48.0]])
    np.testing.assert_allclose(to_xywh(xywh_to_cxcywh(xywh, 48, 64), 48, 64), xywh, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(24, 24), (48, 24), (24, 72), (72, 48)])
def test_masks_come_back_exactly(height, width):
    area = np.full((24, 24), -1, np.float32)
    area[3:9, 5:20] = 1
    text, box = to_rle(area, height, width)
    expected = (area > 0).repeat(height // 24, axis=0).repeat(width // 24, axis=1)
    found = rasterise(parse(text, height, width), height, width)
    # A corner of one stored pixel is what a straight line through four values cuts off.
    assert (found != expected).sum() <= 4
    assert box == [5 * width // 24, 3 * height // 24, 15 * width // 24, 6 * height // 24]
    assert to_rle(np.full((24, 24), -1, np.float32), height, width) is None
