"""How well an epoch is shuffled: neighbours in the order of reading, by where they were ingested."""

import importlib.util
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.frame import Result, counted
from benchmarks.shuffled_bytes import mds, version_of
from features.plan import Rows, shuffled
from ingestion.source import shuffle_key

ROW_GROUP = 64
"""Rows of a row group: what a reader of ours holds."""
GOAL = 0.97
"""Both are as good as dice, to the noise of one epoch."""
log = logging.getLogger(__name__)


def run(num_images: int = 16_384) -> Iterator[Result]:
    """Images ingested as they were taken; nothing is decoded."""
    if importlib.util.find_spec("streaming") is None:
        log.warning("streaming is not installed: not compared")
        return
    mine = ours(num_images)
    theirs = of_mds(num_images)
    assert sorted(mine) == sorted(theirs) == list(range(num_images)), "an image is missing"
    yield counted(
        "shuffle_order",
        f"{num_images:,} images: distance of neighbours, of random ones = 1",
        ours=1 / nearness(mine),
        peer=1 / nearness(theirs),
        peer_name=version_of("streaming"),
        goal=GOAL,
        unit="",
        note="samples lie by `shuffle_key`; the same 64 stay neighbours",
    )


def ours(num_images: int, seed: int = 0) -> NDArray[np.int64]:
    """The ids in the order of an epoch over `samples` as `build` lays them: by `shuffle_key`."""
    lying = np.array(sorted(range(num_images), key=lambda image_id: shuffle_key("bench", image_id)))
    units: list[Rows] = [np.arange(min(ROW_GROUP, num_images - i)) for i in range(0, num_images, ROW_GROUP)]
    reads = shuffled(units, version=1, seed=seed, num_rows=num_images)
    return np.concatenate([lying[read.unit * ROW_GROUP + read.rows] for read in reads])


def of_mds(num_images: int) -> NDArray[np.int64]:
    """The same of MosaicML's streaming, written as they came; a shard has the images that it would have of COCO's."""
    with tempfile.TemporaryDirectory() as scratch:
        written = (image_id.to_bytes(8, "little") for image_id in range(num_images))
        samples = mds(written, Path(scratch) / "mds", shard_bytes=400 * 16)
        return np.array([int.from_bytes(sample["content"], "little") for sample in samples])


def nearness(order: NDArray[np.int64]) -> float:
    """Mean distance of neighbours over that of a random order, which is a third: 1 is perfectly mixed, 0 not at all."""
    return float(np.abs(np.diff(order)).mean() / ((len(order) + 1) / 3))
