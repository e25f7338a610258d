"""COCO's numbers - AP and AR - from ground truth and detections (pure).

hotcoco does the matching; every number equals pycocotools' to the last bit, with one exception that is on purpose:
pycocotools reads a match with annotation id 0 as no match; here an annotation counts whatever its id is.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import hotcoco
import msgspec
import numpy as np
from numpy.typing import NDArray

from lakesight.errors import FormatError, UserError

IouType = Literal["bbox", "segm", "keypoints"]
IOU_RANGE = "0.50:0.95"
NO_MASK = (None, "", "[]")
"""What `annotations.segmentation` says of an object without a mask; COCO writes `[]`."""
_IOUS: dict[str, slice] = {IOU_RANGE: slice(None), "0.50": slice(0, 1), "0.75": slice(5, 6)}

Question = tuple[str, str, str, int]
"""metric, iou, area range, detections an image."""
_BOX_QUESTIONS: tuple[Question, ...] = (
    ("AP", IOU_RANGE, "all", 100), ("AP", "0.50", "all", 100), ("AP", "0.75", "all", 100),
    ("AP", IOU_RANGE, "small", 100), ("AP", IOU_RANGE, "medium", 100), ("AP", IOU_RANGE, "large", 100),
    ("AR", IOU_RANGE, "all", 1), ("AR", IOU_RANGE, "all", 10), ("AR", IOU_RANGE, "all", 100),
    ("AR", IOU_RANGE, "small", 100), ("AR", IOU_RANGE, "medium", 100), ("AR", IOU_RANGE, "large", 100),
)  # fmt: skip
_KEYPOINT_QUESTIONS: tuple[Question, ...] = (
    ("AP", IOU_RANGE, "all", 20), ("AP", "0.50", "all", 20), ("AP", "0.75", "all", 20),
    ("AP", IOU_RANGE, "medium", 20), ("AP", IOU_RANGE, "large", 20),
    ("AR", IOU_RANGE, "all", 20), ("AR", "0.50", "all", 20), ("AR", "0.75", "all", 20),
    ("AR", IOU_RANGE, "medium", 20), ("AR", IOU_RANGE, "large", 20),
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """One number, named as the `evaluations` table names it; `value` is None where there is nothing to find."""

    metric: str
    iou: str | None
    area_range: str
    max_detections: int
    category_id: int | None
    value: float | None


@dataclass(frozen=True)
class Stats:
    """All numbers of one evaluation: COCO's 12 (10 for keypoints) over all classes, then the same for each class.

    Of `class` (classes of whole images): those of `quality.classification`.
    """

    iou_type: IouType | Literal["class"]
    metrics: tuple[Metric, ...]

    @property
    def overall(self) -> tuple[Metric, ...]:
        """COCO's summary, in COCO's order."""
        return tuple(m for m in self.metrics if m.category_id is None)

    @property
    def ap(self) -> float | None:
        """Mean AP over IoU .50 to .95."""
        return self.overall[0].value

    @property
    def ap50(self) -> float | None:
        """Mean AP at IoU .50."""
        return self.overall[1].value

    def per_category(self, metric: str = "AP", iou: str | None = IOU_RANGE) -> dict[int, float | None]:
        """`category_id` -> value, over all areas and the most detections an image."""
        most = self.overall[0].max_detections
        wanted = (metric, iou, "all", most)
        return {
            m.category_id: m.value
            for m in self.metrics
            if m.category_id is not None and (m.metric, m.iou, m.area_range, m.max_detections) == wanted
        }


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Ground-truth boxes in columns; `xywh` in pixels."""

    image_id: NDArray[np.int64]  # [N]
    category_id: NDArray[np.int64]  # [N]
    xywh: NDArray[np.float64]  # [N, 4]
    area: NDArray[np.float64]  # [N], of the mask where there is one
    iscrowd: NDArray[np.int64]  # [N], 0 or 1


def coco_stats(
    ground_truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    iou_type: IouType = "bbox",
    *,
    sigmas: Sequence[float] | None = None,
) -> Stats:
    """COCO's numbers for a ground truth (as `instances_*.json`) and results (as COCO's results format).

    The order of detections inside an image decides ties of score, as in COCO. `sigmas`: keypoint falloffs of another
    skeleton than COCO's 17 points (CrowdPose: 14).

    Raises:
        FormatError: a record that cannot be read as COCO.
        UserError: detections of images that are not in the ground truth.
    """
    try:
        _refuse_unknown_images(
            (detection["image_id"] for detection in detections), {image["id"] for image in ground_truth["images"]}
        )
        classes = {category["id"] for category in ground_truth["categories"]}
        truth = hotcoco.COCO({"info": {}, **ground_truth})
        # A class without ground truth has no AP: COCO never looks at its detections.
        found = truth.load_res([dict(detection) for detection in detections if detection["category_id"] in classes])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError("the records cannot be read as COCO", where=str(error)) from error
    return _stats(truth, found, iou_type, sigmas)


def box_stats(
    image_ids: Sequence[int], categories: Sequence[Mapping[str, Any]], truth: Truth, detections: NDArray[np.float64]
) -> Stats:
    """The same for boxes in columns, which is how tables hold them.

    `image_ids`: all images that were looked at; `categories`: COCO's records; `detections`: [N, 7] of image_id, x, y,
    width, height, score, category_id. Ties as in `coco_stats`.
    """
    _refuse_unknown_images(detections[:, 0].astype(np.int64).tolist(), set(image_ids))
    gt = hotcoco.COCO.from_arrays(
        [{"id": image_id} for image_id in image_ids],
        [dict(category) for category in categories],
        truth.image_id,
        truth.category_id,
        truth.xywh,
        area=truth.area,
        iscrowd=truth.iscrowd,
    )
    return _stats(gt, gt.load_res(detections), "bbox", None)


def mask_stats(
    images: Sequence[Mapping[str, Any]],
    categories: Sequence[Mapping[str, Any]],
    truth: Sequence[Mapping[str, Any]],
    detections: Sequence[Mapping[str, Any]],
) -> Stats:
    """The same for masks as tables hold them: `segmentation` is COCO's JSON, polygons or RLE of the stored image.

    `images`: id, height, width; `truth`: image_id, category_id, bbox, area, iscrowd, segmentation, those without a mask
    do not count; `detections`: image_id, category_id, score, segmentation.
    """
    keys = ("image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")
    masks = [
        {key: row[key] for key in keys} | {"id": number, "segmentation": msgspec.json.decode(row["segmentation"])}
        for number, row in enumerate(truth, 1)
        if row["segmentation"] not in NO_MASK
    ]
    found = [dict(row) | {"segmentation": msgspec.json.decode(row["segmentation"])} for row in detections]
    return coco_stats({"images": images, "annotations": masks, "categories": categories}, found, "segm")


def _refuse_unknown_images(found: Iterable[Any], known: set[Any]) -> None:
    unknown = dict.fromkeys(image_id for image_id in found if image_id not in known)
    if unknown:
        names = ", ".join(repr(image_id) for image_id in list(unknown)[:5])
        raise UserError(
            f"the detections name {len(unknown)} images that are not in the ground truth",
            where=f"image_id {names}{', ...' if len(unknown) > 5 else ''}",
            expected=f"ids of its {len(known)} images, such as {next(iter(known), None)!r}",
            fix="score the images of this ground truth, or evaluate against the one these results belong to",
        )


def _stats(truth: hotcoco.COCO, found: hotcoco.COCO, iou_type: IouType, sigmas: Sequence[float] | None) -> Stats:
    evaluation = hotcoco.COCOeval(truth, found, iou_type)
    if sigmas is not None:
        evaluation.params.kpt_oks_sigmas = list(sigmas)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that these sigmas are not COCO's is what the caller asked for
        evaluation.evaluate()
        evaluation.accumulate()
    params = evaluation.params
    tables = evaluation.eval or {}
    reader = _Reader(
        precision=np.asarray(tables["precision"]),
        recall=np.asarray(tables["recall"]),
        areas=list(params.area_rng_lbl),
        limits=list(params.max_dets),
    )
    questions = _KEYPOINT_QUESTIONS if iou_type == "keypoints" else _BOX_QUESTIONS
    overall = [Metric(*question, None, reader.value(question)) for question in questions]
    each = [
        Metric(*question, category_id, reader.value(question, k))
        for k, category_id in enumerate(params.cat_ids)
        for question in questions
    ]
    return Stats(iou_type, tuple(overall + each))


@dataclass(frozen=True)
class _Reader:
    """COCO's accumulated tables; -1 stands for nothing to find."""

    precision: NDArray[np.float64]  # [iou, recall, category, area, max detections]
    recall: NDArray[np.float64]  # [iou, category, area, max detections]
    areas: list[str]
    limits: list[int]

    def value(self, question: Question, category: int | None = None) -> float | None:
        """One number as `COCOeval.summarize` takes it; over one class if `category` (its position) is given."""
        metric, iou, area, limit = question
        table = self.precision if metric == "AP" else self.recall
        cells = table[_IOUS[iou], ..., self.areas.index(area), self.limits.index(limit)]  # [..., category]
        if category is not None:
            cells = cells[..., category]
        cells = cells[cells > -1]
        return float(np.mean(cells)) if cells.size else None
