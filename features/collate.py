"""Ray Data and torch glue: an Arrow batch of encoded images -> a batch of tensors. The hot loop of training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from ray.data.collate_fn import ArrowBatchCollateFn

from features.reference import GONE
from features.resize import resize
from features.targets import draw_flips, flip, targets
from lakesight.decode import DecodeError, decode
from lakesight.errors import FormatError


@dataclass
class Batch:
    """B images of one size, and what is on them."""

    pixels: torch.Tensor
    """[B, H, W, 3] uint8 RGB; normalised on the model's device."""
    labels: list[dict[str, torch.Tensor]]
    """Of each image: `boxes` [N, 4] float32 cxcywh in [0, 1], `class_labels` [N] int64; no crowd boxes."""
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
    """Decode, resize, flip."""

    def __init__(self, size: int, *, flip: bool = False, seed: int = 0) -> None:
        """`size`: side of the square input, pixels. `flip`: mirror at random, by (seed, epoch, image)."""
        self._size = size
        self._flip = flip
        self._seed = seed

    def __call__(self, batch: pa.Table) -> Batch:  # type: ignore[override]  # Ray passes on what it does not know
        """Rows of `features.datasource.dataset` -> tensors.

        Raises:
            FormatError: an image that does not decode, by its id.
        """
        rows = batch.to_pylist()
        pairs = [self._example(row) for row in rows]
        return Batch(
            pixels=torch.from_numpy(np.stack([pixels for pixels, _ in pairs])),
            labels=[labels for _, labels in pairs],
            image_ids=[row["image_id"] for row in rows],
            sizes=[(row["height"], row["width"]) for row in rows],
            annotations=[row["annotations"] for row in rows],
        )

    def _example(self, row: Mapping[str, Any]) -> tuple[np.ndarray[Any, Any], dict[str, torch.Tensor]]:
        if row["content"] is None:
            raise FormatError(
                GONE,
                where=f"samples, image_id={row['image_id']}",
                fix="put the file back; or ingest and build again, with ingest.content=table to hold bytes",
            )
        try:
            pixels = decode(row["content"])
        except DecodeError as error:
            raise FormatError(
                f"an image in `samples` cannot be decoded: {error}",
                where=f"samples, image_id={row['image_id']}",
                fix="run `lakesight check` and `lakesight build` again: ingest refuses such images",
            ) from error
        boxes, labels = targets(row["annotations"], *pixels.shape[:2])
        pixels = resize(pixels, self._size)
        if self._flip:
            pixels, boxes = flip(pixels, boxes, *draw_flips(self._seed, row["epoch"], row["image_id"]))
        return pixels, {"boxes": torch.from_numpy(boxes).float(), "class_labels": torch.from_numpy(labels)}
