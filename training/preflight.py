"""What is wrong with annotations, in the eyes of a model that is to learn from them (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.classes import Category
from training.labels import Labels

TINY_PIXELS = 4.0
"""Below this side, at the model's input size, a box is less than a cell of the finest feature map usually is."""
MANY = 0.05
"""Share from which something that is harmless in a few images is worth a warning."""


@dataclass(frozen=True)
class Finding:
    """The answer of one check."""

    check: str
    verdict: Literal["good", "warn", "bad"]
    what: str
    fix: str = ""


def findings(
    split: str,
    labels: Labels,
    categories: Sequence[Category],
    *,
    size: tuple[int, int],
    queries: int,
    learns_from_empty: bool,
) -> Iterator[Finding]:
    """One of each check, for one split.

    `size`: height and width of the input, pixels. `queries`: boxes the network can give an image; 0: it gives none.
    """
    yield class_ids(split, labels, categories)
    single = labels.single
    if queries:
        yield _inside(split, labels)
        yield _tiny(split, single, size)
        yield _queries(split, single, queries)
        yield _empty(split, single, learns_from_empty)
    yield _classes(split, single, categories)


def missing_classes(labels: Labels, categories: Sequence[Category]) -> list[str]:
    """Names of classes without a box."""
    there = set(labels.label.tolist())
    return [category.name for category in categories if category.label not in there]


def class_ids(split: str, labels: Labels, categories: Sequence[Category]) -> Finding:
    """Whether every box has the label of its category."""
    of_label = np.array([category.category_id for category in categories])
    known = (labels.label >= 0) & (labels.label < len(of_label))
    wrong = ~known
    wrong[known] = of_label[labels.label[known]] != labels.category_id[known]
    if not wrong.any():
        return Finding(f"{split}: class ids", "good", f"0 to {len(of_label) - 1}, as `categories` has them")
    first = int(labels.image_id[labels.row[wrong][0]])
    what = f"{int(wrong.sum())} boxes have a label that is not their category's, the first on image_id {first}"
    return Finding(f"{split}: class ids", "bad", what, "`lakesight build` again: `categories` has changed since")


def _inside(split: str, labels: Labels) -> Finding:
    x, y, w, h = labels.xywh.T
    width, height = labels.width[labels.row], labels.height[labels.row]
    if len(x) and (labels.xywh <= 1.0).all() and (labels.xywh >= 0).all():
        return Finding(f"{split}: boxes", "bad", "all boxes are within [0, 1]", "give boxes in pixels, xywh")
    wrong = (w <= 0) | (h <= 0) | (x < -1) | (y < -1) | (x + w > width + 1) | (y + h > height + 1)
    if not wrong.any():
        return Finding(f"{split}: boxes", "good", f"{len(x):,} boxes, all inside their image")
    first = int(labels.image_id[labels.row[wrong][0]])
    what = f"{int(wrong.sum())} of {len(x):,} boxes leave their image or are empty, the first on image_id {first}"
    kind: Literal["warn", "bad"] = "bad" if wrong.mean() > MANY else "warn"
    return Finding(f"{split}: boxes", kind, what, "are they xyxy, or of another image size? `lakesight check` has all")


def _tiny(split: str, labels: Labels, size: tuple[int, int]) -> Finding:
    scale = np.array(size[::-1]) / np.stack([labels.width, labels.height], axis=1)[labels.row]
    share = float(((labels.xywh[:, 2:] * scale).min(axis=1) < TINY_PIXELS).mean()) if len(labels.row) else 0.0
    what = f"{share:.0%} of the boxes have a side under {TINY_PIXELS:g} pixels in an input of {size[0]} x {size[1]}"
    if share <= MANY:
        return Finding(f"{split}: small boxes", "good", what)
    return Finding(f"{split}: small boxes", "warn", what, "a larger model.image_size")


def _queries(split: str, labels: Labels, queries: int) -> Finding:
    counts = np.bincount(labels.row, minlength=len(labels.image_id))
    over = int((counts > queries).sum())
    what = f"at most {counts.max(initial=0)} boxes an image, {queries} queries"
    if not over:
        return Finding(f"{split}: queries", "good", what)
    fix = "a larger model.config.num_queries: the loss drops the boxes that are over"
    return Finding(f"{split}: queries", "bad", f"{what}: {over} images have more", fix)


def _empty(split: str, labels: Labels, learns_from_empty: bool) -> Finding:
    share = 1 - len(np.unique(labels.row)) / len(labels.image_id)
    what = f"{share:.0%} of {len(labels.image_id):,} images have no box"
    if share > 0.5:
        return Finding(f"{split}: empty images", "warn", what, "leave some out: most batches teach only background")
    if share > MANY and not learns_from_empty:
        return Finding(f"{split}: empty images", "warn", f"{what}; this architecture learns nothing from them")
    return Finding(f"{split}: empty images", "good", what)


def _classes(split: str, labels: Labels, categories: Sequence[Category]) -> Finding:
    missing = missing_classes(labels, categories)
    if missing:
        what = f"no box of {', '.join(missing)}"
        return Finding(f"{split}: classes", "warn", what, "add examples; AP leaves out a class that is not in val")
    counts = np.bincount(labels.label, minlength=len(categories))
    rare = categories[int(counts.argmin())].name
    return Finding(f"{split}: classes", "good", f"{len(categories)} classes, the rarest {rare}: {counts.min()} boxes")
