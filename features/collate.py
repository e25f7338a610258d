"""Ray Data and torch glue: an Arrow batch of encoded images -> a batch of tensors. The hot loop of training."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from ray.data.collate_fn import ArrowBatchCollateFn

from features.reading import encoded
from features.reference import GONE
from features.transforms.augment import augmented, generator, mixed
from features.transforms.example import Example, example, move
from features.transforms.geometry import Resize, fitted
from features.transforms.masks import rasterise
from lakesight.decode import DecodeError, Pixels, decode
from lakesight.errors import FormatError
from lakesight.malloc import keep_memory
from lakesight.opencv import one_thread
from lakesight.sections import AugmentConfig


@dataclass
class Batch:
    """B images of one size, and what is on them."""

    pixels: torch.Tensor
    """[B, H, W, 3] uint8 RGB; normalised on the model's device."""
    labels: list[dict[str, torch.Tensor]]
    """Of each image: `boxes` [N, 4] float32 cxcywh in [0, 1], `class_labels` [N] int64; no crowd boxes. Where
    asked for or known: `masks` [N, H, W] uint8 0 or 1, `keypoints` [N, K, 3] float32 x, y in [0, 1], visibility."""
    image_ids: list[int]
    sizes: list[tuple[int, int]]
    """Of each stored image: height, width in pixels."""
    annotations: list[list[dict[str, Any]]]
    """Of each image: as in `samples` (xywh in pixels, crowd included); what validation compares with."""

    def to(self, device: torch.device) -> "Batch":
        """The same with its tensors on a device."""
        labels = [{name: value.to(device) for name, value in one.items()} for one in self.labels]
        return replace(self, pixels=self.pixels.to(device), labels=labels)


class Collate(ArrowBatchCollateFn):
    """Decode, augment, resize, mix."""

    def __init__(
        self,
        size: tuple[int, int],
        *,
        resize: Resize = "stretch",
        augment: AugmentConfig | None = None,
        seed: int = 0,
        masks: bool = False,
    ) -> None:
        """`size`: height and width of the input, pixels; `resize`: how images come to it.

        `augment`: by (seed, epoch, image); None: resize only. `masks`: also masks; the rows must have segmentations.
        """
        self._size = size
        self._resize = resize
        self._augment = augment
        self._seed = seed
        self._masks = masks

    def __call__(self, batch: pa.Table) -> Batch:  # type: ignore[override]  # Ray passes on what it does not know
        """Rows of `features.reading.read_rows` -> tensors.

        Raises:
            FormatError: an image that does not decode, by its id.
        """
        keep_memory()
        one_thread()
        rows = batch.drop_columns(["content"]).to_pylist()
        examples = self._examples(rows, encoded(batch["content"]))
        return Batch(
            pixels=torch.from_numpy(np.stack([one.pixels for one in examples])),
            labels=[self._labels(one) for one in examples],
            image_ids=[row["image_id"] for row in rows],
            sizes=[(row["height"], row["width"]) for row in rows],
            annotations=[row["annotations"] for row in rows],
        )

    def _examples(self, rows: list[dict[str, Any]], contents: list[memoryview | None]) -> list[Example]:
        stored = (
            example(_decoded(content, row["image_id"]), row["annotations"], masks=self._masks)
            for row, content in zip(rows, contents, strict=True)
        )
        if self._augment is None:
            return [move(one, fitted(one.pixels.shape[:2], self._size, self._resize)) for one in stored]
        rngs = [generator(self._seed, row["epoch"], row["image_id"]) for row in rows]
        changed = [
            augmented(one, rng, self._size, self._augment, self._resize) for one, rng in zip(stored, rngs, strict=True)
        ]
        return mixed(changed, rngs, self._augment)

    def _labels(self, one: Example) -> dict[str, torch.Tensor]:
        labels = {"boxes": torch.from_numpy(one.boxes).float(), "class_labels": torch.from_numpy(one.labels)}
        if one.keypoints.shape[1]:
            labels["keypoints"] = torch.from_numpy(one.keypoints).float()
        if one.shapes is not None:
            masks = [rasterise(shape, *self._size) for shape in one.shapes]
            labels["masks"] = torch.from_numpy(np.stack(masks) if masks else np.zeros((0, *self._size), np.uint8))
        return labels


def _decoded(content: memoryview | None, image_id: int) -> Pixels:
    """The pixels of an image; one that cannot be had is told by its id."""
    if content is None:
        raise FormatError(
            GONE,
            where=f"samples, image_id={image_id}",
            fix="put the file back; or ingest and build again, with ingest.content=table to hold bytes",
        )
    try:
        return decode(content)
    except DecodeError as error:
        raise FormatError(
            f"an image in `samples` cannot be decoded: {error}",
            where=f"samples, image_id={image_id}",
            fix="run `lakesight check` and `lakesight build` again: ingest refuses such images",
        ) from error
