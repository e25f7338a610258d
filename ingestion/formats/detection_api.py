"""A `tf.train.Example` of TensorFlow's Object Detection API -> an image, its pixels and its objects (pure).

Boxes are stated as fractions of the image, `xmin`, `ymin`, `xmax`, `ymax`, and stay fractions here (`xywh`).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import msgspec

from ingestion.formats.broken import Broken
from ingestion.formats.tfrecord import Features, Values

NO_CLASS = "object"
"""Of boxes that state none."""
CORNERS = ("xmin", "ymin", "xmax", "ymax")
BOX, OBJECT, WHOLE = "image/object/bbox/", "image/object/", "image/class/"
CLASS = ("class/text", "class/label")
MAX_LABEL = 2**31
MAX_BINARY = 1_000
"""Bytes of a feature that is no text and stays one: of what is longer - a depth map - only its size is kept."""


@dataclass(frozen=True)
class Example:
    """One image; width and height in pixels, where it states them."""

    file_name: str
    """POSIX path, that leads nowhere else than down."""
    content: bytes
    width: int | None
    height: int | None
    metadata: dict[str, str]
    objects: list["Stated"]
    no_masks: str | None
    """Why its masks are of no use, if they are not."""


@dataclass(frozen=True)
class Stated:
    """A box (`xywh`, fractions of the image; None: the whole of it), or why it has none; class by name and number."""

    name: str | None
    label: int | None
    bbox: list[float] | None
    iscrowd: int
    attributes: dict[str, str]
    broken: str | None = None
    mask: bytes | None = None
    """PNG."""


def example(features: Features, unnamed: str) -> Example:
    """`unnamed`: what to call an image that states no name, before its suffix.

    Raises:
        Broken: no image or several, a name that leads out, or lists of different lengths.
    """
    content = _first(features, "image/encoded")
    if not isinstance(content, bytes) or not content:
        raise Broken("it has no pixels (`image/encoded`)")
    if (count := len(features["image/encoded"])) > 1:
        raise Broken(f"it has {count:,} images (`image/encoded`), and one was expected")
    boxes, further = _boxes(features)
    masks, no_masks = _masks(features, len(boxes))
    masked = [replace(box, mask=mask) for box, mask in zip(boxes, masks, strict=True)]
    rest = {key: values for key, values in features.items() if not key.startswith((OBJECT, WHOLE))} | further
    return Example(
        file_name=_file_name(features, unnamed),
        content=content,
        width=_side(features, "image/width"),
        height=_side(features, "image/height"),
        metadata={key.removeprefix("image/"): _text(values) for key, values in sorted(rest.items()) if key not in _OWN},
        objects=[*masked, *_classes(features)],
        no_masks=no_masks,
    )


_OWN = ("image/encoded", "image/filename", "image/width", "image/height")


def _boxes(features: Features) -> tuple[list[Stated], Features]:
    """(one each, what else is stated of objects, but not one value each: of keypoints)."""
    corners = [features.get(BOX + corner, []) for corner in CORNERS]
    count = len(corners[0])
    names, labels = (features.get(OBJECT + key, []) for key in CLASS)
    stated = dict(zip([*CORNERS, *CLASS], [*corners, names, labels], strict=True))
    lengths = {key: len(values) for key, values in stated.items() if values or key in CORNERS}
    if set(lengths.values()) - {count}:
        said = ", ".join(f"{length} {key}" for key, length in lengths.items())
        raise Broken(f"its lists of objects have different lengths: {said}")
    known = {BOX + corner for corner in CORNERS} | {OBJECT + key for key in CLASS} | {OBJECT + "mask"}
    others = {k: values for k, values in sorted(features.items()) if k.startswith(OBJECT) and k not in known}
    each = {key.removeprefix(OBJECT): values for key, values in others.items() if len(values) == count}
    boxes = [
        _box([c[i] for c in corners], _at(names, i), _at(labels, i), {k: v[i] for k, v in each.items()})
        for i in range(count)
    ]
    return boxes, {key: values for key, values in others.items() if values and len(values) != count}


def _box(corners: list[Any], name: Any, label: Any, others: dict[str, Any]) -> Stated:
    crowd = others.pop("is_crowd") if isinstance(others.get("is_crowd"), int | float) else 0
    attributes = {key: _text([value]) for key, value in others.items()}
    numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in corners)
    broken = _no_class(name, label) if numbers else f"its corners are no numbers: {corners}"
    xmin, ymin, xmax, ymax = corners
    bbox = [xmin, ymin, xmax - xmin, ymax - ymin] if numbers else None
    number = _label(label) or None  # 0 is the background's
    return Stated(_name(name), number, bbox, int(crowd == 1), attributes, broken)


def masks_of(features: Features) -> list[bytes]:
    """The PNGs of its objects, in their order; empty where one has none."""
    return [mask for mask in features.get(OBJECT + "mask", []) if isinstance(mask, bytes)]


def _masks(features: Features, count: int) -> tuple[list[bytes | None], str | None]:
    """(PNG of each of so many boxes, why there are none)."""
    stated, pngs = features.get(OBJECT + "mask", []), masks_of(features)
    if len(pngs) < len(stated):
        return [None] * count, "its masks are numbers, and only PNGs are read"
    if pngs and len(pngs) != count:
        return [None] * count, f"it has {len(pngs):,} masks for {count:,} boxes"
    return [mask or None for mask in pngs] or [None] * count, None


def _classes(features: Features) -> list[Stated]:
    """Classes of the whole image."""
    names, labels = (features.get("image/" + key, []) for key in CLASS)
    stated = [(_at(names, i), _at(labels, i)) for i in range(max(len(names), len(labels)))]
    return [Stated(_name(name), _label(label), None, 0, {}, _no_class(name, label)) for name, label in stated]


def _at(values: Values, place: int) -> Any:
    return values[place] if place < len(values) else None


def _name(stated: Any) -> str | None:
    return stated.decode(errors="replace").strip() or None if isinstance(stated, bytes) else None


def _label(stated: Any) -> int | None:
    whole = isinstance(stated, int) or (isinstance(stated, float) and stated.is_integer())
    return int(stated) if whole and 0 <= stated < MAX_LABEL else None


def _no_class(name: Any, label: Any) -> str | None:
    """What is wrong with a class as it is stated."""
    if not isinstance(name, bytes | None):
        return f"its class is no text: {name}"
    if label is not None and _label(label) is None and _name(name) is None:
        return f"its class is no whole number from 0 to {MAX_LABEL - 1:,}: {label}"
    return None


def _first(features: Features, key: str) -> Any:
    return _at(features.get(key, []), 0)


def _side(features: Features, key: str) -> int | None:
    side = _first(features, key)
    return side if isinstance(side, int) and 0 < side < 2**31 else None


def _file_name(features: Features, unnamed: str) -> str:
    stated = _first(features, "image/filename")
    if not isinstance(stated, bytes) or not stated:
        kind = _first(features, "image/format")
        suffix = re.sub(r"[^a-z0-9]", "", kind.decode(errors="replace").lower()) if isinstance(kind, bytes) else ""
        return f"{unnamed}.{suffix or 'img'}"
    try:
        path = PurePosixPath(re.sub(r"^[A-Za-z]:", "", stated.decode().replace("\\", "/")).lstrip("/"))
    except UnicodeDecodeError:
        raise Broken(f"its file name is not UTF-8: {stated[:50]!r}") from None
    if ".." in path.parts or not path.name or "\0" in str(path):
        raise Broken(f"its file name leads out of the folder: {stated[:50]!r}")
    return str(path)


def _text(values: Sequence[Any]) -> str:
    plain = [_plain(value) if isinstance(value, bytes) else value for value in values]
    one = plain[0] if len(plain) == 1 else plain
    return one if isinstance(one, str) else msgspec.json.encode(one).decode()


def _plain(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode(errors="replace") if len(value) <= MAX_BINARY else f"{len(value):,} bytes that are no text"
