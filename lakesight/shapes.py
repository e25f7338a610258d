"""A seeded COCO data set of shapes on noise: what the demo and the tests learn from.

Circles, squares and triangles of random colour on blurred colour noise with distractor lines; real JPEGs and an
`instances_<split>.json`. A small detector learns it in minutes on a CPU, from scratch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CATEGORIES = ("circle", "square", "triangle")
MAX_SHAPES = 4
SIDE = (0.14, 0.42)
"""Smallest and largest shape, as a share of the image's side."""
LARGE = (0.4, 0.9)
"""The same where the image is of one shape."""

Xyxy = tuple[float, float, float, float]


@dataclass(frozen=True)
class Shape:
    """One drawn shape: `label` indexes `CATEGORIES`, `box` is xyxy in pixels, `polygon` its border: x, y, x, y, ..."""

    label: int
    box: Xyxy
    polygon: tuple[float, ...]


def draw(
    rng: np.random.Generator, size: int, most: int = MAX_SHAPES, side: tuple[float, float] = SIDE
) -> tuple[Image.Image, list[Shape]]:
    """One square RGB image of `size` pixels a side, and the shapes on it: at most `most`, `side` as `SIDE`."""
    image = _background(rng, size)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 4)):
        pen.line(rng.integers(0, size, 4).tolist(), fill=_colour(rng), width=1)
    shapes: list[Shape] = []
    for _ in range(rng.integers(1, most + 1)):
        place = _free_place(rng, size, side, [shape.box for shape in shapes])
        if place is not None:
            shapes.append(_draw_shape(pen, rng, place))
    return image, shapes


def darken(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The same scene at night: a third of the light, more noise."""
    pixels = np.asarray(image, dtype=np.float32) * 0.35
    return _to_image(pixels + rng.normal(0, 14, pixels.shape))


def _background(rng: np.random.Generator, size: int) -> Image.Image:
    coarse = rng.integers(0, 256, (max(size // 16, 2), max(size // 16, 2), 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    return _to_image(0.6 * smooth + 50 + rng.normal(0, 12, smooth.shape))


def _to_image(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return red, green, blue


def _free_place(rng: np.random.Generator, size: int, sides: tuple[float, float], taken: list[Xyxy]) -> Xyxy | None:
    for _ in range(20):
        side = rng.uniform(*sides) * size
        x, y = rng.uniform(side / 2, size - side / 2, 2)
        box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        if not any(_overlap(box, other) for other in taken):
            return box
    return None


def _overlap(a: Xyxy, b: Xyxy) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _draw_shape(pen: ImageDraw.ImageDraw, rng: np.random.Generator, place: Xyxy) -> Shape:
    label = int(rng.integers(0, len(CATEGORIES)))
    fill = _colour(rng)
    outline = tuple(255 - channel for channel in fill)
    left, top, right, bottom = place
    squeeze = (right - left) * (1 - rng.uniform(0.7, 1.0)) / 2
    if label == 0:
        box = (left, top + squeeze, right, bottom - squeeze)
        pen.ellipse(box, fill=fill, outline=outline)
        border = _ellipse(box)
    elif label == 1:
        box = (left + squeeze, top, right - squeeze, bottom)
        pen.rectangle(box, fill=fill, outline=outline)
        border = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]
    else:
        box = place
        base, tip = (bottom, top) if rng.random() < 0.5 else (top, bottom)
        border = [(left, base), (right, base), (rng.uniform(left, right), tip)]
        pen.polygon(border, fill=fill, outline=outline)
    polygon = tuple(float(side) for corner in border for side in corner)
    return Shape(label, (float(box[0]), float(box[1]), float(box[2]), float(box[3])), polygon)


def _ellipse(box: Xyxy) -> list[tuple[float, float]]:
    """24 corners of the ellipse in a box."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    x = (box[0] + box[2]) / 2 + (box[2] - box[0]) / 2 * np.cos(angles)
    y = (box[1] + box[3]) / 2 + (box[3] - box[1]) / 2 * np.sin(angles)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def write_coco(
    folder: Path,
    *,
    split: str,
    num_images: int,
    seed: int,
    size: int = 96,
    first_id: int = 1,
    night_camera: bool = False,
    masks: bool = False,
) -> Path:
    """Write `folder/<split>/*.jpg` and `folder/instances_<split>.json`; returns the JSON's path.

    With `night_camera` every second image comes from camera `yard`, darkened and noisier; all others from `gate`.
    With `masks` annotations have polygons.
    Image `i` depends on `seed` and `i` only.
    """
    images = folder / split
    images.mkdir(parents=True, exist_ok=True)
    coco = _empty_coco()
    for i in range(num_images):
        night = night_camera and i % 2 == 1
        image, shapes = _scene(np.random.default_rng([seed, i]), size, night)
        record = _image_record(first_id + i, split, size, "yard" if night else "gate")
        image.save(images / record["file_name"], quality=92)
        coco["images"].append(record)
        coco["annotations"].extend(_annotations(shapes, record["id"], len(coco["annotations"]) + first_id, masks))
    path = folder / f"instances_{split}.json"
    path.write_text(json.dumps(coco))
    return path


def write_folders(folder: Path, *, split: str, num_images: int, seed: int, size: int = 64) -> Path:
    """Write `folder/<split>/<class>/*.jpg`, one shape an image, as `lakesight ingest folders` reads them; `folder`.

    Image `i` depends on `seed` and `i` only.
    """
    for i in range(num_images):
        image, (shape,) = draw(np.random.default_rng([seed, i]), size, most=1, side=LARGE)
        of_class = folder / split / CATEGORIES[shape.label]
        of_class.mkdir(parents=True, exist_ok=True)
        image.save(of_class / f"{i:06d}.jpg", quality=92)
    return folder


def _scene(rng: np.random.Generator, size: int, night: bool) -> tuple[Image.Image, list[Shape]]:
    image, shapes = draw(rng, size)
    return (darken(image, rng) if night else image), shapes


def _empty_coco() -> dict[str, Any]:
    categories = [{"id": i + 1, "name": name, "supercategory": "shape"} for i, name in enumerate(CATEGORIES)]
    info = {"description": "Generated shapes", "version": "1.0"}
    return {"info": info, "licenses": [], "images": [], "annotations": [], "categories": categories}


def _image_record(image_id: int, split: str, size: int, camera: str) -> dict[str, Any]:
    captured = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=image_id)
    return {
        "id": image_id,
        "file_name": f"{split}_{image_id:06d}.jpg",
        "width": size,
        "height": size,
        "date_captured": captured.strftime("%Y-%m-%d %H:%M:%S"),
        "camera": camera,
    }


def _annotations(shapes: list[Shape], image_id: int, first_id: int, masks: bool) -> Iterator[dict[str, Any]]:
    for annotation_id, shape in enumerate(shapes, first_id):
        left, top, right, bottom = shape.box
        bbox = [left, top, right - left, bottom - top]
        area = bbox[2] * bbox[3]
        yield {
            "id": annotation_id,
            "image_id": image_id,
            "category_id": shape.label + 1,
            "bbox": bbox,
            "area": area,
            "iscrowd": 0,
            "segmentation": [shape.polygon] if masks else [],
        }


def plant_defects(instances: Path) -> dict[str, int]:
    """Break a written data set in known ways, in place; what was planted, by name of the rule that finds it.

    The last images and boxes are used, so that a data set of 20 images or more stays a data set.
    """
    coco = json.loads(instances.read_text())
    images = instances.parent / instances.stem.removeprefix("instances_")
    truncated, duplicate, original = (coco["images"][i]["file_name"] for i in (-1, -2, -3))
    (images / truncated).write_bytes((images / truncated).read_bytes()[:900])
    (images / duplicate).write_bytes((images / original).read_bytes())
    zero, outside, unknown, twice = coco["annotations"][:4]
    zero["bbox"][2] = 0.0
    outside["bbox"][0] += coco["images"][0]["width"]
    unknown["category_id"] = 99
    coco["annotations"].append(dict(coco["annotations"][4], id=twice["id"]))
    instances.write_text(json.dumps(coco))
    return {
        "image_decodes": 1,
        "image_unique": 1,
        "annotation_box_positive": 1,
        "annotation_box_inside": 1,
        "annotation_category_known": 1,
        "annotation_id_unique": 1,
    }
