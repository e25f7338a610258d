"""MLflow pyfunc of a detector: encoded images in, boxes out. Stands alone - it is copied into the model's artifact.

The artifact holds a folder with `config.json`, `model.safetensors` (transformers'), `lakesight.json` (classes, input
size, thresholds), and `backbone.py` where transformers does not have the backbone. Nothing is pickled. An image that
cannot be decoded gives an `error` and empty lists; its neighbours are scored. Training imports `normalise` and
`detections` from here, so that what is evaluated is what is served.
"""

import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from PIL import Image

if TYPE_CHECKING:
    import torch

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, for pixels in [0, 1]: what pretrained backbones were trained with."""
Array = np.ndarray[Any, Any]
COLUMNS = ("boxes", "scores", "labels", "category_ids", "category_names", "error")


def decode(content: bytes) -> Array:
    """An encoded image -> [H, W, 3] uint8 RGB of the stored image, as `lakesight.decode.decode`."""
    try:
        if simplejpeg.is_jpeg(content) and simplejpeg.decode_jpeg_header(content)[2] == "YCbCr":
            return simplejpeg.decode_jpeg(content, "RGB")  # type: ignore[no-any-return]  # no stubs
    except ValueError:
        pass  # Pillow has the last word: it takes some files libjpeg only warns about
    with Image.open(io.BytesIO(content)) as image:
        if image.mode.startswith(("I", "F")):
            byte = (np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8).astype(np.uint8)
            return np.repeat(byte[..., None], 3, axis=2)
        if image.mode == "P":
            return np.asarray(image.convert("RGBA").convert("RGB"))
        return np.asarray(image.convert("RGB"))


def resize(pixels: Array, size: int) -> Array:
    """[H, W, 3] -> [size, size, 3], as `features.resize.resize`."""
    if pixels.shape[:2] == (size, size):
        return pixels
    shrinks = max(pixels.shape[:2]) > size
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


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


class DetectorModel(PythonModel):
    """Column `image` (bytes) -> columns `COLUMNS`, a row an image."""

    def load_context(self, context: Any) -> None:
        """Load weights and facts from the artifact `model`."""
        from transformers import AutoModelForObjectDetection

        folder = Path(context.artifacts["model"])
        _register_backbone(folder / "backbone.py")
        self._facts = json.loads((folder / "lakesight.json").read_text())
        self._categories = sorted(self._facts["categories"], key=lambda category: category["label"])
        self._network = AutoModelForObjectDetection.from_pretrained(folder, local_files_only=True).eval()

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Boxes are xywh in pixels of the stored image; best first; `params`: `score_threshold`, `nms_iou`."""
        limits = self._facts | (params or {})
        pixels, errors = zip(*(_try_decode(content) for content in model_input["image"]), strict=True)
        good = [i for i, image in enumerate(pixels) if image is not None]
        rows = [dict[str, Any]({name: [] for name in COLUMNS[:-1]}, error=error) for error in errors]
        if good:
            for i, (scores, labels, boxes) in zip(good, self._detect([pixels[i] for i in good]), strict=True):
                keep = counting(scores, labels, boxes, threshold=limits["score_threshold"], nms_iou=limits["nms_iou"])
                rows[i].update(self._row(scores[keep], labels[keep], boxes[keep], pixels[i].shape))
        return pd.DataFrame(rows, columns=list(COLUMNS), index=model_input.index)

    def _detect(self, images: list[Array]) -> Any:
        """Scores [K], labels [K] and boxes [K, 4] (cxcywh in [0, 1]) of each image."""
        import torch

        size = self._facts["image_size"]
        batch = torch.from_numpy(np.stack([resize(image, size) for image in images]))
        with torch.inference_mode():
            out = self._network(pixel_values=normalise(batch))
            found = detections(
                out.logits,
                out.pred_boxes,
                softmax=self._facts["softmax"],
                num_labels=len(self._categories),
                most=self._facts["max_detections"],
            )
        return zip(*(tensor.numpy() for tensor in found), strict=True)

    def _row(self, scores: Array, labels: Array, boxes: Array, shape: tuple[int, ...]) -> dict[str, list[Any]]:
        classes = [self._categories[label] for label in labels]
        return {
            "boxes": to_xywh(boxes, shape[0], shape[1]).tolist(),
            "scores": scores.astype(np.float64).tolist(),
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
    set_model(DetectorModel())
