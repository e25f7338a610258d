"""MLflow pyfunc of a model: images in; boxes, masks or classes out. Stands alone: it is copied into the artifact.

The artifact holds a folder with `config.json`, `model.safetensors` (transformers'), `lakesight.json` (task, classes,
input size, thresholds), and `backbone.py` where transformers does not have the backbone. Nothing is pickled. An image
that cannot be decoded gives an `error` and empty lists; its neighbours are scored. Training imports `normalise` and
`find` from here, so that what is evaluated is what is served.
"""

import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, for pixels in [0, 1]: what pretrained backbones were trained with."""
GREY = 114
"""Around an image whose aspect ratio is kept."""
Array = np.ndarray[Any, Any]
COLUMNS = ("boxes", "masks", "scores", "labels", "category_ids", "category_names", "error")


class Found(NamedTuple):
    """What was found on an image, best first."""

    scores: Array
    """[N]."""
    labels: Array
    """[N]."""
    boxes: Array | None = None
    """[N, 4] xywh, pixels of the stored image; None: they are classes of the whole image."""
    masks: "Sequence[str] | None" = None
    """N masks of the stored image as COCO JSON (compressed RLE); None: the model gives none."""


def decode(content: bytes) -> Array:
    """An encoded image -> [H, W, 3] uint8 RGB of the stored image, as `lakesight.decode.decode`."""
    try:
        if simplejpeg.is_jpeg(content) and simplejpeg.decode_jpeg_header(content)[2] == "YCbCr":
            return simplejpeg.decode_jpeg(content, "RGB")  # type: ignore[no-any-return]  # no stubs
    except ValueError:
        pass  # Pillow has the last word: it takes some files libjpeg only warns about
    with Image.open(io.BytesIO(content)) as image:
        if image.mode.startswith(("I", "F")):
            gray = np.asarray(image)
            if image.mode == "F":
                gray = np.where(np.isfinite(gray), gray, 0).astype(np.float64)
                gray = gray * (65535 if gray.max() <= 1 else 257 if gray.max() <= 255 else 1)
            byte = (np.clip(gray.astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
            return np.repeat(byte[..., None], 3, axis=2)
        if image.mode == "P":
            return np.asarray(image.convert("RGBA").convert("RGB"))
        return np.asarray(image.convert("RGB"))


class Place(NamedTuple):
    """Where an image is in the input, whole pixels."""

    x: int
    y: int
    width: int
    height: int


def place(height: int, width: int, size: "Sequence[int]", how: str) -> Place:
    """The place of an image of `height` x `width` in an input of `size`, as `features.transforms.geometry`."""
    if how == "stretch":
        return Place(0, 0, size[1], size[0])
    scale = min(size[0] / height, size[1] / width)
    across, down = max(round(width * scale), 1), max(round(height * scale), 1)
    return Place((size[1] - across) // 2, (size[0] - down) // 2, across, down)


def resize(pixels: Array, size: "Sequence[int]", how: str = "stretch") -> Array:
    """[H, W, 3] -> [*size, 3], in its place and grey around it, as `features.transforms.geometry`."""
    x, y, width, height = place(pixels.shape[0], pixels.shape[1], size, how)
    if pixels.shape[:2] != (height, width):
        shrinks = pixels.shape[0] > height or pixels.shape[1] > width
        mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        cv2.ipp.setUseIPP_NotExact(True)
        try:
            pixels = cv2.resize(pixels, (width, height), interpolation=mode)
        finally:
            cv2.ipp.setUseIPP_NotExact(False)
    if (height, width) == tuple(size):
        return pixels
    canvas = np.full((*size, 3), GREY, np.uint8)
    canvas[y : y + height, x : x + width] = pixels
    return canvas


def of_image(boxes: Array, size: "Sequence[int]", there: Place) -> Array:
    """[N, 4] cxcywh in [0, 1] of the input -> of the image that is `there` in it."""
    sides: Array = np.array([size[1], size[0]] * 2)
    shift = np.array([there.x, there.y, 0, 0]) / sides
    return (boxes.astype(np.float64) - shift) / (np.array([there.width, there.height] * 2) / sides)


def normalise(pixels: "torch.Tensor") -> "torch.Tensor":
    """[B, H, W, 3] uint8 -> [B, 3, H, W] float32 as backbones want it, on the same device.

    In memory the channels stay last: convolutions keep that order, and a training step takes a tenth less time.
    """
    pixels = pixels.float()
    mean, std = pixels.new_tensor(MEAN) * 255, pixels.new_tensor(STD) * 255
    return ((pixels - mean) / std).permute(0, 3, 1, 2)


def detections(
    logits: "torch.Tensor", boxes: "torch.Tensor", *, softmax: bool, num_labels: int, most: int
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """The `most` best of [B, Q, C] logits and [B, Q, 4] boxes: scores [B, K], labels [B, K], boxes [B, K, 4].

    Best first. With `softmax` the last class is "no object" and a query gives its best class (DETR); otherwise classes
    are independent and a query may give several (RT-DETR, D-FINE).
    """
    if softmax:
        scores, labels = logits.softmax(-1)[..., :num_labels].max(-1)  # [B, Q]
        scores, query = scores.topk(min(most, scores.shape[1]))
        labels = labels.gather(1, query)
    else:
        flat = logits.sigmoid()[..., :num_labels].flatten(1)  # [B, Q * C]
        scores, index = flat.topk(min(most, flat.shape[1]))
        query, labels = index // num_labels, index % num_labels
    return scores, labels, boxes.gather(1, query[..., None].expand(-1, -1, 4))


def counting(scores: Array, labels: Array, boxes: Array, *, threshold: float, nms_iou: float) -> Array:
    """Which of an image's detections count, as indices [N]: those that score at least `threshold`, in their order.

    Below 1, `nms_iou` leaves only those that no better one of their class overlaps by more. `boxes` [K, 4] is cxcywh in
    [0, 1].
    """
    good: Array = np.flatnonzero(scores >= threshold)
    if nms_iou < 1 and len(good):
        rectangles = to_xywh(boxes[good], 1, 1).tolist()
        best = cv2.dnn.NMSBoxesBatched(rectangles, scores[good].tolist(), labels[good].tolist(), -1.0, nms_iou)
        good = good[np.sort(np.array(best))]
    return good


def to_xywh(boxes: Array, height: int, width: int) -> Array:
    """[N, 4] cxcywh in [0, 1] -> [N, 4] xywh in pixels of an image of `height` x `width`."""
    scaled = boxes.astype(np.float64) * np.array([width, height, width, height])
    return np.concatenate([scaled[:, :2] - scaled[:, 2:] / 2, scaled[:, 2:]], axis=1)


def instances(
    logits: "torch.Tensor", areas: "torch.Tensor", *, num_labels: int, most: int
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """The `most` best of [B, Q, C + 1] class and [B, Q, H, W] mask logits: scores, labels, queries, each [B, K].

    Best first. A score is the class' times the mean of the mask inside itself (Cheng et al. 2022, Mask2Former).
    """
    there = areas > 0
    sure = (areas.sigmoid() * there).sum((2, 3)) / there.sum((2, 3)).clamp(min=1)  # [B, Q]
    flat = (logits.softmax(-1)[..., :num_labels] * sure[..., None]).flatten(1)  # [B, Q * C]
    scores, index = flat.topk(min(most, flat.shape[1]))
    return scores, index % num_labels, index // num_labels


def inside(area: Array, size: "Sequence[int]", there: Place) -> Array:
    """[h, w] logits over the input -> those over the image that is `there` in it, at some resolution."""
    if (there.height, there.width) == tuple(size):
        return area
    whole = cv2.resize(area, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return whole[there.y : there.y + there.height, there.x : there.x + there.width]


def to_rle(area: Array, height: int, width: int) -> tuple[str, list[float]] | None:
    """[h, w] logits of a mask, stretched over an image -> COCO JSON and the extent (xywh); None: it has no pixel."""
    from hotcoco import mask as coco

    pixels = cv2.resize(area, (width, height), interpolation=cv2.INTER_LINEAR) > 0
    if not pixels.any():
        return None
    rle = coco.encode(np.asfortranarray(pixels, dtype=np.uint8))
    text = json.dumps({"counts": rle["counts"].decode(), "size": rle["size"]}, separators=(",", ":"))
    return text, [float(side) for side in coco.to_bbox(rle)]


def find(
    network: Any, pixels: "torch.Tensor", sizes: "Sequence[tuple[int, int]]", facts: "Mapping[str, Any]"
) -> "list[Found]":
    """What a network finds on [B, H, W, 3] uint8 images, with scores of `facts["score_threshold"]` or more.

    `sizes`: height and width of the stored images. `facts`: those of `lakesight.json`.
    """
    import torch

    with torch.inference_mode():
        out = network(pixel_values=normalise(pixels))
        return list(_DECODERS[facts["task"]](out, sizes, facts))


def _find_boxes(out: Any, sizes: "Sequence[Any]", facts: "Mapping[str, Any]") -> "Iterator[Found]":
    best = {"num_labels": len(facts["categories"]), "most": facts["max_detections"]}
    found = _numpy(*detections(out.logits, out.pred_boxes, softmax=facts["softmax"], **best))
    for size, scores, labels, boxes in zip(sizes, *found, strict=True):
        keep = counting(scores, labels, boxes, threshold=facts["score_threshold"], nms_iou=facts["nms_iou"])
        there = place(size[0], size[1], facts["image_size"], facts["resize"])
        yield Found(scores[keep], labels[keep], to_xywh(of_image(boxes[keep], facts["image_size"], there), *size))


def _find_masks(out: Any, sizes: "Sequence[Any]", facts: "Mapping[str, Any]") -> "Iterator[Found]":
    logits, areas = out.class_queries_logits, out.masks_queries_logits
    found = instances(logits, areas, num_labels=len(facts["categories"]), most=facts["max_detections"])
    for size, scores, labels, queries, area in zip(sizes, *_numpy(*found, areas), strict=True):
        keep = np.flatnonzero(scores >= facts["score_threshold"])
        there = place(size[0], size[1], facts["image_size"], facts["resize"])
        wanted = set(queries[keep].tolist())
        drawn = {query: to_rle(inside(area[query], facts["image_size"], there), *size) for query in wanted}
        masks = [(at, *mask) for at in keep if (mask := drawn[queries[at]])]
        keep = np.array([at for at, _, _ in masks], dtype=np.int64)
        boxes = np.array([box for _, _, box in masks], dtype=np.float64).reshape(-1, 4)
        yield Found(scores[keep], labels[keep], boxes, [text for _, text, _ in masks])


def _find_classes(out: Any, sizes: "Sequence[Any]", facts: "Mapping[str, Any]") -> "Iterator[Found]":
    """The best class always, whatever its score."""
    scores, labels = out.logits.softmax(-1).sort(-1, descending=True)
    for one, of in zip(*_numpy(scores, labels), strict=True):
        num = min(max(int((one >= facts["score_threshold"]).sum()), 1), facts["max_detections"])
        yield Found(one[:num], of[:num])


_DECODERS = {"detection": _find_boxes, "segmentation": _find_masks, "classification": _find_classes}


def _numpy(*tensors: "torch.Tensor") -> list[Array]:
    return [tensor.cpu().numpy() for tensor in tensors]


def auto_class(task: str) -> Any:
    """The class of transformers' that builds and loads networks for a task."""
    import transformers

    return {
        "detection": transformers.AutoModelForObjectDetection,
        "segmentation": transformers.AutoModelForUniversalSegmentation,
        "classification": transformers.AutoModelForImageClassification,
    }[task]


class VisionModel(PythonModel):
    """Column `image` (bytes) -> columns `COLUMNS`, a row an image."""

    def load_context(self, context: Any) -> None:
        """Load weights and facts from the artifact `model`."""
        folder = Path(context.artifacts["model"])
        _register_backbone(folder / "backbone.py")
        self._facts = json.loads((folder / "lakesight.json").read_text())
        self._categories = sorted(self._facts["categories"], key=lambda category: category["label"])
        self._network = auto_class(self._facts["task"]).from_pretrained(folder, local_files_only=True).eval()

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Best first; see `Found`; what a model does not give is empty. `params`: `score_threshold`, `nms_iou`."""
        facts = self._facts | (params or {})
        pixels, errors = zip(*(_try_decode(content) for content in model_input["image"]), strict=True)
        good = [i for i, image in enumerate(pixels) if image is not None]
        rows = [dict[str, Any]({name: [] for name in COLUMNS[:-1]}, error=error) for error in errors]
        if good:
            for i, found in zip(good, self._find([pixels[i] for i in good], facts), strict=True):
                rows[i].update(self._row(found))
        return pd.DataFrame(rows, columns=list(COLUMNS), index=model_input.index)

    def _find(self, images: list[Array], facts: dict[str, Any]) -> list[Found]:
        import torch

        batch = torch.from_numpy(np.stack([resize(image, facts["image_size"], facts["resize"]) for image in images]))
        return find(self._network, batch, [image.shape[:2] for image in images], facts)

    def _row(self, found: Found) -> dict[str, list[Any]]:
        classes = [self._categories[label] for label in found.labels]
        return {
            "boxes": [] if found.boxes is None else found.boxes.tolist(),
            "masks": list(found.masks or ()),
            "scores": found.scores.astype(np.float64).tolist(),
            "labels": [category["label"] for category in classes],
            "category_ids": [category["category_id"] for category in classes],
            "category_names": [category["name"] for category in classes],
        }


def _register_backbone(path: Path) -> None:
    """Make a backbone that came along known to transformers."""
    if path.exists():
        spec = importlib.util.spec_from_file_location("lakesight_backbone", path)
        assert spec is not None
        assert spec.loader is not None  # it is a Python file
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)  # transformers looks classes up there
        spec.loader.exec_module(module)
        module.register()


def _try_decode(content: Any) -> tuple[Array | None, str | None]:
    if not isinstance(content, bytes):
        return None, f"not bytes but {type(content).__name__}"
    try:
        return decode(content), None
    except Exception as error:  # a damaged file makes Pillow raise anything from OSError to SyntaxError
        return None, f"{type(error).__name__}: {error}"


if __name__ != "training.pyfunc":  # MLflow executes this file under a name of its own; importing it does nothing
    set_model(VisionModel())
